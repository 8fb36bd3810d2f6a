"""Array layouts: how trainers find documents in arrays of ids; one module a layout."""
