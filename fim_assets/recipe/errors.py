"""What is wrong with a recipe."""


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the field and the value."""
