"""The section `repositories`: how the files of a repository become one document."""

from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from fim_assets.recipe.values import FieldPath, Probability, Section, one_of

MEMBERS = "members"
"""The field of a repository document's line that holds the lines of its files, texts taken out."""

Order = Literal["given", "path", "random", "dependencies"]


class RepositoryLayout(NamedTuple):
    """How a repository's files are joined to one text.

    Attributes:
        repository_token: What the repository's name stands behind where the recipe names no
            repository token; None where no name is written.
        separator: Whether the file separator stands `between` files or `before` each one; None:
            nothing separates them.
        paths: Whether a file's path is written before its text: `line` and its line feed, or as a
            `comment` of the file's language; None where no path is written.
        path_is_text: Whether a path belongs to its file's text, so that it is cut with it.
        line_feed: What ends the repository's name, and a file that another one follows.
    """

    repository_token: str | None
    separator: Literal["between", "before"] | None
    paths: Literal["line", "comment"] | None
    path_is_text: bool
    line_feed: Literal["", "\n"]


REPOSITORY_LAYOUTS = {
    # Dolma's contrib/code-file-concat: t1<|file_sep|>t2.
    "dolma": RepositoryLayout(None, "between", None, path_is_text=True, line_feed=""),
    # StarCoder2, arXiv 2402.19173, section 5.1: <repo_name>r<file_sep>p1\nt1<file_sep>p2\nt2, or
    # <file_sep>t1<file_sep>t2.
    "starcoder2": RepositoryLayout(
        "<repo_name>", "before", "line", path_is_text=True, line_feed=""
    ),
    # Qwen2.5-Coder, arXiv 2409.12186, figure 4:
    # <|repo_name|>r\n<|file_sep|>p1\nt1\n<|file_sep|>p2\n<|fim_prefix|>…
    "qwen2.5-coder": RepositoryLayout(
        "<|repo_name|>", "before", "line", path_is_text=False, line_feed="\n"
    ),
    # DeepSeek-Coder, arXiv 2401.14196, section 2.2: each file begins with its path as a comment.
    "deepseek-coder": RepositoryLayout(None, None, "comment", path_is_text=True, line_feed="\n"),
}
"""By the names that `repositories.layout` takes."""

LayoutName = Annotated[str, one_of(REPOSITORY_LAYOUTS.keys)]
_Most = Annotated[int | None, Field(ge=1, le=1 << 40)]


class Repositories(Section):
    """How files are grouped to repositories, ordered and joined.

    Attributes:
        name_field: Where a line holds its repository's name; None: where `raw.schema` says, else
            `metadata.repo_name`.
        group: Where a repository's files are: anywhere in the `shard`, or side by side, so that a
            repository that comes again is an error.
        by_language: Whether the files of each language are a document of their own.
        order: `given`, as the lines come; `path`, depth first; `random`, drawn; `dependencies`,
            imported files before those that import them.
        layout: How files are joined, one of `REPOSITORY_LAYOUTS`.
        names: Probability that a repository is written with its name and paths; None: 1.
        max_tokens: The most ids of a document, as its files are encoded unchanged, if it has
            several files; larger repositories are divided between files. None: no bound.
        max_bytes: The same in bytes of UTF-8.
        max_repository_bytes: The largest repository that is read, in bytes of its lines. Working on
            one takes about ten times its size in memory.
    """

    name_field: FieldPath | None = None
    group: Literal["shard", "neighbours"] = "shard"
    by_language: bool = False
    order: Order = "dependencies"
    layout: LayoutName = "dolma"
    names: Probability | None = None
    max_tokens: _Most = None
    max_bytes: _Most = None
    max_repository_bytes: Annotated[int, Field(ge=1, le=1 << 40)] = 1 << 28

    @property
    def joined(self) -> RepositoryLayout:
        """How files are joined."""
        return REPOSITORY_LAYOUTS[self.layout]

    @property
    def names_rate(self) -> float:
        """The probability that a repository is written with its name and paths."""
        if self.joined.paths is None:
            return 0.0
        return 1.0 if self.names is None else self.names

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        if self.names is not None and self.joined.paths is None:
            raise ValueError(
                f"names = {self.names}: layout {self.layout} has neither names nor paths"
            )
        if self.max_tokens is not None and self.max_bytes is not None:
            raise ValueError("max_tokens and max_bytes both bound a document; give one")
        return self
