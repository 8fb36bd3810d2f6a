"""What a recipe does to a document, made to be looked at."""
