"""The base of what is stored as JSON."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """A model that refuses unknown fields and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
