"""The command `fim-assets`."""
