"""Languages' names: one table for all spellings that data sets use."""
