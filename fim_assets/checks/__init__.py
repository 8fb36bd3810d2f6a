"""What must be true of a finished partition: each check reads the files as they lie there."""
