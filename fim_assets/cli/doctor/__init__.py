"""`fim-assets doctor`: whether a run can start, and what it would take."""
