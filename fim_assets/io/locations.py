"""Locations: paths of this machine and URLs of object storage, told apart and refused.

Nothing is read or written here: `storage` does that.
"""

import os
import re
from pathlib import Path

from typing_extensions import TypeIs
from upath import UPath

Location = Path | UPath
"""A file or folder: of this machine, or, as a `UPath`, of object storage."""

WILDCARD = re.compile(r"[*?\[]")
"""What makes a name a glob."""

_CHAIN = "::"
"""What links URLs for fsspec, and would lead to another file than the one that is named."""

_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "abfs": "azure", "abfss": "azure", "az": "azure"}
"""Extras of the package that serve a kind of object storage."""


class StorageError(OSError):
    """Object storage that does not do what it is asked; the message names the URL."""


def expand_home(text: str) -> Path:
    """A path as a person writes it: `~` and `~name` before the first slash are home folders.

    A FileNotFoundError is raised if there is no such home.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - pathlib takes `./~name` for a home too
    if text.startswith("~") and path == text:
        name = text.partition("/")[0]
        advice = f"name an absolute path, or ./{name} for a folder of this name"
        raise FileNotFoundError(f"{text}: no home folder is known for {name}; {advice}")
    return Path(path)


def is_url(text: str) -> bool:
    """Whether a text is a URL, and not a path."""
    return "://" in text


def url_of_storage(text: str) -> str:
    """A URL, if it is one of object storage.

    A StorageError is raised if there is no such kind of storage, or it names no bucket or what no
    URL can hold.
    """
    protocol, _, path = text.partition("://")
    if protocol not in _EXTRAS:
        raise StorageError(f"{text}: {protocol}:// is not supported; s3://, gs:// and abfs:// are")
    if not path.partition("/")[0]:
        raise StorageError(f"{text}: names no bucket")
    refuse_chain(text)
    return text


def parse_url(text: str) -> UPath:
    """The location that a URL names; a StorageError if nothing that is installed serves it."""
    protocol = url_of_storage(text).partition("://")[0]
    try:
        # Other processes write there too: no listing is kept.
        location = UPath(text.rstrip("/"), use_listings_cache=False)
        _ = location.fs
    except ImportError as error:
        how = f"pip install 'fim_assets[{_EXTRAS[protocol]}]'"
        raise StorageError(f"{text}: what serves {protocol}:// is not installed: {how}") from error
    return location


def refuse_chain(text: str) -> None:
    """Refuse a URL that fsspec would take for several."""
    if _CHAIN in text:
        raise StorageError(f"{text}: {_CHAIN} in a name cannot be told from a chain of URLs")


def is_remote(location: Location) -> TypeIs[UPath]:
    """Whether it is on object storage."""
    return not isinstance(location, Path)
