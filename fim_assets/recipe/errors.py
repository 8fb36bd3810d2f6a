"""What is wrong with a recipe."""

from fim_assets.errors import UserError


class RecipeError(UserError):
    """A recipe that cannot be used; the message names the file, the field and the value."""
