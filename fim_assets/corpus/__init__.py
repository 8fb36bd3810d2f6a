"""What lies where, and when a partition is complete."""
