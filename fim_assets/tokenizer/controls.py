"""Control tokens: the ids that the recipe places, and the refusal of those that it cannot place.

Control tokens are placed and never matched in text, so that no text may give their ids.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from fim_assets.recipe import Recipe
from fim_assets.tokenizer.find import TokenizerError

Content = int | str
"""A control's id, or a text."""


class Controls(NamedTuple):
    """Ids that are placed; `bos` is None where nothing begins a document.

    Attributes:
        sentinels: By name: prefix, middle, suffix, end; those that the recipe has.
        boundaries: Of the file separator and the repository tokens, by their text; those that the
            tokenizer has an id for.
        separator: The file separator, None where there is none.
        repository: What a repository's name stands behind where files were joined, if anything.
    """

    sentinels: dict[str, int]
    boundaries: dict[str, int]
    bos: int | None
    eos: int
    separator: str | None = None
    repository: str | None = None

    def boundary(self, token: str) -> Content:
        """A file separator or repository token: its id, or its text where it has none."""
        return self.boundaries.get(token, token)

    def lead(self, text: str) -> list[Content]:
        """What stands before a file: a repository token and the name behind it, a separator.

        They are where the layout puts them, and are not searched for: a name may hold either.
        """
        token, separator = self.repository, self.separator
        if text == (separator or ""):  # what stands before most files
            return [self.boundary(text)] if text else []
        behind: list[Content] = []
        # First the separator: it may begin as the token does.
        if separator and text.endswith(separator):
            text, behind = text.removesuffix(separator), [self.boundary(separator)]
        before: list[Content] = []
        if token and text.startswith(token):
            text, before = text.removeprefix(token), [self.boundary(token)]
        return [*before, *filter(None, [text]), *behind]

    def all(self) -> Iterator[int]:
        """Every id that is placed."""
        yield from (*self.sentinels.values(), *self.boundaries.values(), self.eos)
        if self.bos is not None:
            yield self.bos


class _AddedToken(msgspec.Struct):
    content: str
    id: int


class _TokenizerJson(msgspec.Struct):
    """The part of a tokenizer.json that is read: skipping the rest takes a tenth of the time."""

    added_tokens: list[_AddedToken]


_tokenizer_json = msgspec.json.Decoder(_TokenizerJson)


def refuse_missing_controls(recipe: Recipe, folder: Path) -> None:
    """Refuse sentinels, BOS, EOS and padding that are no added tokens of a tokenizer.

    `load_tokenizer` looks at far more, and takes far longer. A folder without a readable
    tokenizer.json is passed over: whoever loads it says what is wrong.
    """
    try:
        tokens = _tokenizer_json.decode((folder / "tokenizer.json").read_bytes()).added_tokens
    except (OSError, msgspec.DecodeError):
        return
    find_controls(recipe, {token.content: token.id for token in tokens})


def find_controls(recipe: Recipe, added: dict[str, int]) -> Controls:
    """The ids of the recipe's control tokens, by the tokenizer's added ones: ids by content.

    Raises:
        TokenizerError: If one is no added token, or stands for two things.
    """
    settings = recipe.tokens.tokenizer
    named = recipe.fim.sentinels._asdict().items()
    sentinels = {part: token for part, token in named if token is not None}
    for part, token in sentinels.items():
        if token not in added:
            problem, where = f"not one id in {settings.name_or_path}", f"fim.fim_{part}_token"
            known = f"its added tokens are {', '.join(added)}"
            raise TokenizerError(problem, known, f"{where} = {token}")
    repository_tokens = [*recipe.fim.repository_tokens, recipe.repository_token]
    boundaries = [token for token in (*repository_tokens, recipe.fim.file_separator_token) if token]
    controls = Controls(
        sentinels={part: added[token] for part, token in sentinels.items()},
        boundaries={token: added[token] for token in boundaries if token in added},
        bos=settings.bos_token_id,
        eos=settings.eos_token_id,
        separator=recipe.fim.file_separator_token,
        repository=recipe.repository_token,
    )
    names = {number: token for token, number in added.items()}
    inside = {*controls.sentinels.values(), *controls.boundaries.values()}
    for field in ("bos_token_id", "eos_token_id", "pad_token_id"):
        number = getattr(settings, field)
        fault = ""
        if number is not None and number not in names:
            fault = f"no added token of {settings.name_or_path} has this id"
        elif number in inside:
            fault = f"it is {names[number]}, which stands inside documents"
        if fault:
            raise TokenizerError(f"tokens.tokenizer.{field} = {number}: {fault}")
    return controls
