"""Faults put in on purpose, and what became of the data; `make faults` prints the table."""
