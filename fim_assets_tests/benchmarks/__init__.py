"""Time and memory on real code: `make bench`."""
