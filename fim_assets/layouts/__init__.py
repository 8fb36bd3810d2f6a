"""How trainers find documents in an array of ids: one module a file format."""
