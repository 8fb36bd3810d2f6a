"""The judgement of one file: the document that it is, or why it is left out.

What is vendored or generated, and a file's language, are Linguist's to say.
"""

import codecs
from hashlib import sha1
from typing import Literal, NamedTuple

import enry
import orjson

from fim_assets.collect.rules import Attributes
from fim_assets.collect.walk import File
from fim_assets.languages.names import canonical

Reason = Literal[
    "ignored",
    "link",
    "special",
    "outside",
    "vendored",
    "unreadable",
    "archive",
    "too_large",
    "empty",
    "binary",
    "not_text",
    "generated",
]

REASONS: dict[Reason, str] = {
    "ignored": "a .gitignore says so",
    "link": "a symbolic link, or in an archive a hard one",
    "special": "a pipe, a socket or a device",
    "outside": "its name leads out of the archive",
    "vendored": "others' code by Linguist's rules or .gitattributes",
    "unreadable": "no permission to read it",
    "archive": "an archive in a source, which is not opened",
    "too_large": "larger than --max-file-size",
    "empty": "without any text",
    "binary": "holds a NUL character",
    "not_text": "neither UTF-8, nor UTF-16 with a byte-order mark; or so is its path",
    "generated": "made by a program, by Linguist's rules or .gitattributes",
}
"""Why a file is left out; where several hold, the first one counts."""

_ANSWERS = 100


class Document(NamedTuple):
    """A file as a line of a shard, with what is counted of it."""

    line: bytes
    text_bytes: int  # in UTF-8
    repository: str
    language: str | None


def reason_of_path(file: File) -> Reason | None:
    """Why a file is left out whatever it holds."""
    if file.ignored:
        return "ignored"
    if file.kind == "folder":
        return "unreadable"
    if file.kind != "file":
        return file.kind
    try:
        path = file.path.decode()
    except UnicodeDecodeError:
        return "not_text"
    said = _switched(file.attributes, "linguist-vendored")
    return "vendored" if (enry.is_vendor(path) if said is None else said) else None


def judge(file: File, content: bytes) -> Document | Reason:
    """The document that a file is by its content, or why it is none."""
    if not content:
        return "empty"
    text = _decoded(content)
    if text is None:
        return "binary" if b"\0" in content else "not_text"
    if not text or "\0" in text:
        return "binary" if text else "empty"
    path, utf_8 = file.path.decode(), text.encode()
    said = _switched(file.attributes, "linguist-generated")
    if enry.is_generated(path, utf_8) if said is None else said:
        return "generated"
    language = _language(file.attributes, path, utf_8)
    repository = file.repository
    metadata = {
        "language": language,
        "path": path,
        "repository": repository.name,
        "license_file": repository.license_file,
    }
    known = {name: value for name, value in metadata.items() if value is not None}
    line = orjson.dumps({"id": blob_id(content), "text": text, "metadata": known})
    return Document(line, len(utf_8), repository.name, language)


def blob_id(content: bytes) -> str:
    """The name that Git gives a content: 40 hex digits of SHA-1."""
    return sha1(b"blob %d\0%b" % (len(content), content), usedforsecurity=False).hexdigest()


def _decoded(content: bytes) -> str | None:
    """The text that bytes are in UTF-8, or in UTF-16 with a byte-order mark; it has no mark."""
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        if utf_16:
            return content.decode("utf-16")
        return content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError:
        return None


def _switched(attributes: Attributes, name: str) -> bool | None:
    """Whether an attribute is on or off, None where nobody says it."""
    value = attributes.get(name)
    return None if value is None else value not in {False, "false"}


def _language(attributes: Attributes, path: str, content: bytes) -> str | None:
    said = attributes.get("linguist-language")
    return canonical(said) if isinstance(said, str) else _guessed(path, content)


def _guessed(path: str, content: bytes) -> str | None:
    """Linguist's guess; of languages that are as likely by its rules, the first by name.

    The library gives any of these, each in at least a fifth of its answers: that 100 of them miss
    one has a probability of 1e-9. Several languages are left for one file in a thousand.
    """
    languages: list[str] = enry.get_languages(path, content)
    if len(languages) > 1:
        languages = min(enry.get_languages(path, content) for _ in range(_ANSWERS))
    return languages[0] if languages else None
