"""Where a file is cut: one module a method."""
