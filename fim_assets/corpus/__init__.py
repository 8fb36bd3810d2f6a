"""Which files there are, and when a partition is complete."""
