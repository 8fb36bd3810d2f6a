"""Which fields the sampled lines have, and which of them a recipe should name.

Lines are looked at, not shards: whatever a shard is made of, its excerpt is JSON lines. A field is
guessed only where its values leave no doubt; among several that could be it, the names that public
corpora use decide.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from statistics import median_low
from typing import Any, NamedTuple

import orjson

from fim_assets.cli.doctor.findings import Finding
from fim_assets.languages.names import canonical
from fim_assets.parsing.grammars import find_grammar
from fim_assets.raw_shards.documents import MAX_DEPTH
from fim_assets.raw_shards.rejections import NORMAL_EMPTY_SHARE
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.values import field_names, field_path
from fim_assets.wording import plural, shortened, shown_name

_WRITE = "write as the section raw of the recipe, a YAML file that FIM_RECIPE names:"

Values = Sequence[Any]
"""A field's values in the lines that have it, none of them null or an object."""

_FIELDS_KEPT = 1000  # where keys are data, there is no end of them
_FIELDS_SHOWN = 40

_MOST, _NEARLY_ALL = 0.5, 0.99  # shares of lines
_BY_FAR = 3  # times the characters of any other field
_FEW_LANGUAGES = 1000
_LANGUAGE_CHARS, _ID_CHARS = 40, 200

_HASH = re.compile(r"[0-9a-fA-F-]{16,}")
_OF_A_REPOSITORY = re.compile(r"repo|commit|head|revision|parent|tree|snapshot|directory")
_PATH = re.compile(r"(?!\w+://)[^\n]*[^\s/]\.[A-Za-z][\w+#-]{0,11}")

_ID_NAMES = (
    *("id", "_id", "doc_id", "document_id", "file_id", "blob_id", "content_id", "hexsha", "sha"),
    *("sha1", "sha256", "hash", "uuid", "guid", "uid"),
)
_LANGUAGE_NAMES = ("language", "lang", "programming_language", "program_lang")
_PATH_NAMES = ("path", "file_path", "filepath", "max_stars_repo_path", "filename", "file_name")
_ENDING_NAMES = ("ext", "extension", "suffix")
"""What fields are called that hold `py`, which is a name of a language too."""


class Fields(NamedTuple):
    """The fields of some lines by their paths, as a recipe names them, and how many lines."""

    values: Mapping[str, Values]
    lines: int


def read_fields(excerpts: Iterable[Path]) -> Fields:
    """The fields of all lines that are JSON objects; those that no recipe can name left out."""
    values: dict[str, list[Any]] = {}
    count = 0

    def walk(content: dict[str, Any], names: tuple[str, ...]) -> None:
        for name, value in content.items():
            if not name or value is None or len(names) == MAX_DEPTH:
                continue
            if isinstance(value, dict):
                walk(value, (*names, name))
            else:
                path = field_path((*names, name))
                if path in values or len(values) < _FIELDS_KEPT:
                    values.setdefault(path, []).append(value)

    for excerpt in excerpts:
        with excerpt.open("rb") as lines:
            for line in lines:
                try:
                    content = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue
                if isinstance(content, dict):
                    count += 1
                    walk(content, ())
    return Fields(values, count)


def fields_finding(
    fields: Fields, raw: Raw, schemas: Mapping[str, Mapping[str, str]]
) -> Finding | None:
    """Say which fields the lines have, and what a recipe should name; None where there are none.

    `schemas` are the fields that each schema of a recipe names, by their parts. What is to be
    written is the whole section, with what the recipe's has besides.
    """
    if not fields.values:
        return None
    text = "\n".join([f"of {plural(fields.lines, 'line')}:", *_listed(fields, raw)])
    fitting = {part: _named(raw, part) for part in _GUESSES if _fits(fields, raw, part)}
    guesses = {part: guess(fields) for part, guess in _GUESSES.items() if part not in fitting}
    if not any(guesses.values()) and "text_field" in fitting:
        return Finding("ok", "fields", text)
    clear = {part: names[0] for part, names in guesses.items() if len(names) == 1}
    named = fitting | clear
    empty = _empty_texts(fields, raw, named.get("text_field"))
    bounds = {"max_empty_share": NORMAL_EMPTY_SHARE} if empty else {}
    of_empty = f"{plural(empty, 'empty text')}, which raw.max_empty_share lets pass"
    write = f"{of_empty}: {_WRITE}" if empty else _WRITE
    if schema := matching_schema(named, schemas):
        return Finding("look", "fields", text, write, _section(raw, {"schema": schema} | bounds))
    advice = [
        f"which field is raw.{part} is not clear: {shortened([*map(shown_name, names)])}"
        for part, names in guesses.items()
        if len(names) > 1
    ]
    if not guesses.get("text_field", True):
        advice.append("no field holds a text of several lines in most of them")
    if not clear:
        return Finding("look", "fields", text, "; ".join(advice))
    section = _section(raw, named | bounds)
    return Finding("look", "fields", text, "; ".join([*advice, write]), section)


def _empty_texts(fields: Fields, raw: Raw, text_field: str | None) -> int:
    """How many empty texts there are, where a run would refuse them and code may well have them."""
    empty = fields.values.get(text_field or "", []).count("")
    refused = raw.max_empty_share is None and empty > raw.max_rejected_share * fields.lines
    return empty if refused and empty <= NORMAL_EMPTY_SHARE * fields.lines else 0


def _section(raw: Raw, named: Mapping[str, Any]) -> dict[str, Any]:
    """A section `raw` that names fields as it should, and is else as it was."""
    defaults = Raw()
    others = raw.model_dump(mode="json", exclude_defaults=True, exclude={"schema_name", *_GUESSES})
    changed = {name: field for name, field in named.items() if getattr(defaults, name, "") != field}
    return {"raw": others | changed}


def matching_schema(
    parts: Mapping[str, str], schemas: Mapping[str, Mapping[str, str]]
) -> str | None:
    """The only schema that names a document's parts as they are, the text among them.

    It may name more of them, which no line has; the text alone could be anybody's.

    >>> schemas = {"a": {"text_field": "code", "id_field": "sha"}, "b": {"text_field": "code"}}
    >>> matching_schema({"text_field": "code", "id_field": "sha"}, schemas)
    'a'
    """
    matching = [name for name, schema in schemas.items() if parts.items() <= schema.items()]
    enough = "text_field" in parts and len(parts) > 1
    return matching[0] if enough and len(matching) == 1 else None


def _listed(fields: Fields, raw: Raw) -> Iterator[str]:
    """The fields, a line each, and what the recipe takes them for."""
    parts = {_named(raw, part): f" (raw.{part})" for part in _GUESSES}
    for name, values in islice(fields.values.items(), _FIELDS_SHOWN):
        yield f"{shown_name(name)}: {_description(values, fields.lines)}{parts.get(name, '')}"
    if len(fields.values) > _FIELDS_SHOWN:
        yield f"and {len(fields.values) - _FIELDS_SHOWN:,} more"


def _description(values: Values, lines: int) -> str:
    kinds = Counter(map(_kind, values))
    told = " or ".join(kind for kind, _ in kinds.most_common())
    share = f"{told}, {len(values) / lines:.0%}"
    if not kinds["string"]:
        return share
    median = median_low(len(value) for value in values if isinstance(value, str))
    return f"{share}, median {plural(median, 'character')}"


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "boolean"
    return "array" if isinstance(value, list) else "number"


def _named(raw: Raw, part: str) -> str:
    """The path that a recipe names, as `field_path` writes it."""
    return field_path(field_names(getattr(raw, part)))


def _fits(fields: Fields, raw: Raw, part: str) -> bool:
    """Whether a recipe's field is there: the text in most lines, any other in some."""
    return _named(raw, part) in (string_fields(fields) if part == "text_field" else fields.values)


def _texts(fields: Fields) -> list[str]:
    """The field with by far the most characters, and the most line feeds; else all such fields."""
    strings = string_fields(fields)
    chars = {name: sum(map(len, values)) for name, values in strings.items()}
    feeds = {name: sum(v.count("\n") for v in values) for name, values in strings.items()}
    if not any(feeds.values()):
        return []
    large = {name for name, size in chars.items() if _BY_FAR * size >= max(chars.values())}
    large |= {name for name, count in feeds.items() if count == max(feeds.values())}
    return sorted(large, key=chars.__getitem__, reverse=True)


def _ids(fields: Fields) -> list[str]:
    """Fields of another word in every line: those with an id's name, else those of hashes.

    The hash of a commit is a repository's: in a sample, it may be another in every line.
    """
    found = {
        name: values
        for name, values in fields.values.items()
        if len(values) >= _NEARLY_ALL * fields.lines and _is_id(values)
    }
    hashes = [
        name
        for name, values in found.items()
        if all(_HASH.fullmatch(str(value)) for value in values)
        and not _OF_A_REPOSITORY.search(field_names(name)[-1].lower())
    ]
    return best_named(found, _ID_NAMES) or hashes


def _is_id(values: Values) -> bool:
    if not all(type(value) in {str, int} for value in values):
        return False
    words = [str(value) for value in values]
    in_one_word = all(len(word) <= _ID_CHARS and len(word.split()) == 1 for word in words)
    return in_one_word and len({*words}) >= _NEARLY_ALL * len(words)


def _languages(fields: Fields) -> list[str]:
    found = [
        name
        for name, values in string_fields(fields).items()
        if field_names(name)[-1].lower() not in _ENDING_NAMES
        and len({*values}) <= _FEW_LANGUAGES
        and max(map(len, values)) <= _LANGUAGE_CHARS
        and _share(values, canonical) >= _MOST
    ]
    return best_named(found, _LANGUAGE_NAMES) or found


def _paths(fields: Fields) -> list[str]:
    """Fields of strings that end as files do: those with a path's name, or with endings of code."""
    strings = string_fields(fields)
    found = [n for n, values in strings.items() if _share(values, _PATH.fullmatch) >= _MOST]
    of_code = [
        name
        for name in found
        if _share(strings[name], lambda value: find_grammar(None, value) is not None) >= _MOST
    ]
    return best_named(found, _PATH_NAMES) or of_code


def string_fields(fields: Fields) -> dict[str, list[str]]:
    """The fields of which most lines have a string, with these."""
    strings = {
        name: [value for value in values if isinstance(value, str)]
        for name, values in fields.values.items()
    }
    return {name: kept for name, kept in strings.items() if len(kept) > _MOST * fields.lines}


def _share(values: Sequence[str], test: Callable[[str], object]) -> float:
    return sum(bool(test(value)) for value in values) / len(values)


def best_named(found: Iterable[str], known: Sequence[str]) -> list[str]:
    """Of some fields those whose own name is known: the best known name, the least nested."""
    ranks = {
        path: (known.index(names[-1].lower()), len(names))
        for path, names in ((path, field_names(path)) for path in found)
        if names[-1].lower() in known
    }
    return [path for path, rank in ranks.items() if rank == min(ranks.values())]


_GUESSES: dict[str, Callable[[Fields], list[str]]] = {
    "text_field": _texts,
    "id_field": _ids,
    "language_field": _languages,
    "path_field": _paths,
}
"""What of a recipe's section `raw` is guessed: the field, or several if it is not clear."""
