"""Locations: paths of this machine and URLs of object storage, told apart and refused.

Nothing is read or written here: `storage` does that. Datasets on the Hub count as object storage
that is only read.
"""

import os
import re
from pathlib import Path

from typing_extensions import TypeIs
from upath import UPath

from fim_assets.io import hub

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

    A StorageError is raised if there is no such kind of storage, or it names no bucket, no dataset
    at a commit, or what no URL can hold.
    """
    protocol, _, path = text.partition("://")
    if protocol == hub.PROTOCOL:
        try:
            hub.refuse_unpinned(text)
        except ValueError as error:
            raise StorageError(f"{text}: {error}") from error
    elif protocol not in _EXTRAS:
        supported = "s3://, gs://, abfs:// and, to read, hf:// are"
        raise StorageError(f"{text}: {protocol}:// is not supported; {supported}")
    elif not path.partition("/")[0]:
        raise StorageError(f"{text}: names no bucket")
    refuse_chain(text)
    return text


def parse_url(text: str) -> UPath:
    """The location that a URL names; a StorageError if nothing that is installed serves it."""
    protocol = url_of_storage(text).partition("://")[0]
    # Other processes write to a bucket too: no listing is kept.
    kept = {"use_listings_cache": False}
    options = hub.file_system_options() if protocol == hub.PROTOCOL else kept
    try:
        location = UPath(text.rstrip("/"), protocol=protocol, **options)
        _ = location.fs
    except ImportError as error:
        how = f"pip install 'fim_assets[{_EXTRAS[protocol]}]'"
        raise StorageError(f"{text}: what serves {protocol}:// is not installed: {how}") from error
    return location


def parse_output_url(text: str) -> UPath:
    """The location that a URL names, if outputs can be written there; see `parse_url`."""
    if text.startswith(f"{hub.PROTOCOL}://"):
        raise StorageError(f"{text}: hf:// is only read; name a folder, or a URL of a bucket")
    return parse_url(text)


def split_url(location: UPath) -> tuple[UPath, str] | None:
    """The bucket, or the dataset at its commit, that a glob is in, and the glob from there.

    None if it names none in full, or nothing in it.
    """
    depth, top = (3, -4) if on_hub(location) else (1, -1)
    *names, rest = [*location.path.split("/", depth), ""][: depth + 1]
    if not rest or any(map(WILDCARD.search, names)):
        return None
    return location.parents[top], rest


def on_hub(location: UPath) -> bool:
    """Whether it is in a dataset on the Hub."""
    return location.protocol == hub.PROTOCOL


def refuse_chain(text: str) -> None:
    """Refuse a URL that fsspec would take for several."""
    if _CHAIN in text:
        raise StorageError(f"{text}: {_CHAIN} in a name cannot be told from a chain of URLs")


def is_remote(location: Location) -> TypeIs[UPath]:
    """Whether it is on object storage."""
    return not isinstance(location, Path)
