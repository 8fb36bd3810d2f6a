"""The section `raw`: which shards, and where a document's parts stand in its line."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from fim_assets.recipe.values import FieldPath, Probability, Section, Token, field_names


class Raw(Section):
    """Which shards, and where a document's parts stand in its line, see `field_names`.

    Attributes:
        documents: Globs of shards.
        path_field: The file's path, if there is one; its ending tells the language where
            `language_field` names none that `syntax` knows.
        keep_fields: The fields of a Parquet file's rows that go on, besides those above; None: all.
            Lines of JSON go on as they are.
        max_line_bytes: The longest line that is read, of a row the longest text; a longer one is
            rejected. Working on a document takes about six times its size in memory.
        max_rejected_share: Share of a shard's lines, blank ones left out, that may be rejected
            before the partition fails.
        max_empty_share: The same for lines with an empty text, which then do not count against
            `max_rejected_share`; None: they do.
    """

    documents: Annotated[tuple[Token, ...], Field(min_length=1, strict=False)] = ("raw/**/*.json*",)
    text_field: FieldPath = "text"
    id_field: FieldPath = "id"
    language_field: FieldPath = "metadata.language"
    path_field: FieldPath = "metadata.path"
    keep_fields: Annotated[tuple[FieldPath, ...], Field(strict=False)] | None = Field(
        default=None, exclude_if=lambda kept: kept is None
    )
    max_line_bytes: Annotated[int, Field(ge=1, le=1 << 31)] = 1 << 26
    max_rejected_share: Probability = 0.001
    max_empty_share: Probability | None = None

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        text = field_names(self.text_field)
        for name in ("id_field", "language_field", "path_field"):
            value = getattr(self, name)
            shorter, longer = sorted((field_names(value), text), key=len)
            if longer[: len(shorter)] == shorter:
                raise ValueError(
                    f"{name} = {value} and text_field = {self.text_field} stand in one another"
                )
        return self

    def identity(self) -> dict[str, Any]:
        """What of it decides the bytes of every stage, for fingerprints: no paths, no bounds."""
        elsewhere = {"documents", "path_field", "max_rejected_share", "max_empty_share"}
        return self.model_dump(exclude_defaults=True, exclude=elsewhere)
