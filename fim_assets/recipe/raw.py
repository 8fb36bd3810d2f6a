"""The section `raw`: which shards, and where a document's parts stand in its line."""

import operator
import sys
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from fim_assets.languages.names import canonical
from fim_assets.recipe.schemas import LANGUAGE_IS_FOLDER, SCHEMAS, Schema
from fim_assets.recipe.values import FieldPath, Probability, Section, Token, field_names, one_of

_NAMES = AfterValidator(lambda names: tuple(sorted({*names})))
"""A set: columns go on in the order of the file, so that another order here is the same recipe."""

SchemaName = Annotated[str, one_of(SCHEMAS.keys)]


class Raw(Section):
    """Which shards, and where a document's parts stand in its line, see `field_names`.

    Attributes:
        documents: Globs of shards.
        schema_name: `schema` in YAML, a name that pydantic's models have a method of: one of
            `SCHEMAS`, which names the four fields; languages are then compared by what their names
            mean. None: the fields are named one by one, and names of languages are compared as they
            are written.
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

    model_config = ConfigDict(serialize_by_alias=True)

    documents: Annotated[tuple[Token, ...], Field(min_length=1, strict=False)] = ("raw/**/*.json*",)
    schema_name: SchemaName | None = Field(default=None, alias="schema", exclude_if=operator.not_)
    text_field: FieldPath = "text"
    id_field: FieldPath = "id"
    language_field: FieldPath = "metadata.language"
    path_field: FieldPath = "metadata.path"
    keep_fields: Annotated[tuple[FieldPath, ...], Field(strict=False), _NAMES] | None = Field(
        default=None, exclude_if=lambda kept: kept is None
    )
    max_line_bytes: Annotated[int, Field(ge=1, le=1 << 31)] = 1 << 26
    max_rejected_share: Probability = 0.001
    max_empty_share: Probability | None = None

    @classmethod
    def allowed_names(cls) -> list[str]:
        """Its fields, as a recipe names them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @model_validator(mode="before")
    @classmethod
    def _name_fields(cls, content: Any) -> Any:
        """Put the fields that a schema names in their places."""
        name = content.get("schema") if isinstance(content, dict) else None
        if not isinstance(name, str) or name not in SCHEMAS:
            return content
        fields = SCHEMAS[name]._asdict()
        both = sorted(fields.keys() & content.keys())
        if both:
            raise ValueError(f"schema = {name} and {', '.join(both)} say the same; give one")
        return fields | content

    @model_serializer(mode="wrap")
    def _leave_named_fields_out(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A recipe that can be read again: next to a schema its fields are not written."""
        fields: dict[str, Any] = write(self)
        named = Schema._fields if "schema" in fields else ()
        return {name: value for name, value in fields.items() if name not in named}

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

    @property
    def document_fields(self) -> tuple[str, ...]:
        """Where the parts of a document stand."""
        return self.text_field, self.id_field, self.language_field, self.path_field

    def of_stage(self) -> Self:
        """How lines that a stage wrote are read: longer than what it read, deeper, and no rows."""
        return self.model_copy(update={"max_line_bytes": sys.maxsize, "keep_fields": None})

    @property
    def is_of_stage(self) -> bool:
        """Whether it is `of_stage`: no recipe may name such a bound."""
        return self.max_line_bytes == sys.maxsize

    def identity(self) -> dict[str, Any]:
        """What of it decides the bytes of every stage, for fingerprints: no paths, no bounds."""
        left_out = {"documents", "schema_name", "path_field"}
        left_out |= {"max_rejected_share", "max_empty_share"}
        identity = self.model_dump(exclude_defaults=True, exclude=left_out)
        return identity | ({"language_is_folder": True} if self.language_is_folder else {})

    @property
    def language_is_folder(self) -> bool:
        """Whether a Parquet file's folder names the language of rows that have no such column."""
        return self.schema_name in LANGUAGE_IS_FOLDER

    def language_key(self, language: str) -> str:
        """What a language's name is compared by: with a schema, Linguist's name if it has one."""
        return language if self.schema_name is None else canonical(language) or language
