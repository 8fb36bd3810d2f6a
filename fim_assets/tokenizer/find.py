"""Where a tokenizer's files are: in the package, in a folder, or in a commit on the Hub.

Only files are looked at here: what their ids stand for, `load` reads.
"""

import socket
import time
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from fim_assets.errors import UserError
from fim_assets.io.hub import how_to_pin, usable_token
from fim_assets.io.machine_folders import cache_folders
from fim_assets.recipe.tokens import Tokenizer
from fim_assets.settings import named_path

DOLMA2 = Path(__file__).parent / "data" / "dolma2"

BUNDLED = {"allenai/dolma2-tokenizer": DOLMA2}
"""Folders of the tokenizers that come with the package, by name on the Hub."""

_FILES = (
    *("added_tokens.json", "config.json", "merges.txt", "special_tokens_map.json", "spiece.model"),
    *("tekken.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    *("vocab.json", "vocab.txt"),
)
_TRIES = 3
_SECONDS_TO_CONNECT = 3.0


class TokenizerError(UserError):
    """A tokenizer that cannot be used; the message names it and what is wrong."""


def find_tokenizer(tokenizer: Tokenizer) -> Path:
    """The folder with a tokenizer's files; those of a commit are downloaded first.

    A TokenizerError is raised if there is none, or a name on the Hub comes without a commit.
    """
    name, revision = tokenizer.name_or_path, tokenizer.revision
    if revision is None and name in BUNDLED:
        return BUNDLED[name]
    try:
        folder = named_path(name)
        is_folder = folder.is_dir()
    except OSError as error:
        raise TokenizerError(f"tokens.tokenizer.name_or_path = {name[:200]}: {error}") from error
    if is_folder:
        if revision is not None:
            problem, where = f"{folder} is a folder, which has none", "tokens.tokenizer.revision"
            raise TokenizerError(problem, "take the field away", f"{where} = {revision}")
        if not any((folder / file).is_file() for file in _FILES):
            raise TokenizerError(f"{folder}: holds none of a tokenizer's files")
        return folder
    if revision is None:
        pin = f"pin it: tokens.tokenizer.revision takes the commit's {how_to_pin()}"
        advice, where = f"if it is a name on the Hub, {pin}", "tokens.tokenizer.name_or_path"
        raise TokenizerError("no folder of this name", advice, f"{where} = {name}")
    from huggingface_hub.errors import LocalEntryNotFoundError

    unreachable = _why_unreachable()
    try:
        return _from_hub(name, revision, offline=unreachable is not None)
    except Exception as error:
        reason, advice = f"the Hub did not give it: {error}", ""
        if unreachable is not None and isinstance(error, LocalEntryNotFoundError):
            reason = f"not in this machine's cache, and the Hub cannot be asked: {unreachable}"
            advice = "name a folder that holds it"
        where = f"tokens.tokenizer.name_or_path = {name}, revision {revision}"
        raise TokenizerError(reason, advice, where) from error


def _from_hub(name: str, revision: str, *, offline: bool) -> Path:
    """A commit's files, in the Hub's own cache, or in ours where that cannot be used."""
    from huggingface_hub import constants, snapshot_download

    options = {"local_files_only": offline, "token": usable_token()}
    download = partial(snapshot_download, allow_patterns=list(_FILES), **options)
    folders = [Path(constants.HF_HUB_CACHE), *(folder / "hub" for folder in cache_folders())]
    if folders[0].parts[0] == "~":
        del folders[0]  # no home is known: the Hub's client would make a folder of this name here
    for number, folder in enumerate(folders, 1):
        try:
            return Path(download(name, revision=revision, cache_dir=folder))
        except OSError as error:
            # The next folder helps against an error of the disk, which has a number, and where
            # this cache lacks the files; against what the Hub answers, it does not.
            if number == len(folders) or (error.errno is None and not offline):
                raise
    raise TokenizerError(f"{name}: no cache folder can be written; set HF_HOME to one")


def _why_unreachable() -> str | None:
    """Why the Hub is not asked, None where it answers; its own client would try half a minute."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    url = urlsplit(constants.ENDPOINT)
    host, port = url.hostname or "", url.port or (80 if url.scheme == "http" else 443)
    if {"http", "https", "all"} & getproxies().keys() and not proxy_bypass(host):
        return None  # the proxy is asked instead
    reason = ""
    for attempt in range(_TRIES):
        time.sleep(attempt)
        try:
            socket.create_connection((host, port), _SECONDS_TO_CONNECT).close()
        except OSError as error:
            reason = f"{constants.ENDPOINT}: {error}"
        else:
            return None
    return reason


def content_hash(folder: Path) -> str:
    """Hash a tokenizer's files, names and contents: 32 hex digits.

    The version of transformers is hashed too where it makes the tokenizer from these files.
    """
    digest = blake2b(digest_size=16)
    if not (folder / "tokenizer.json").is_file():
        digest.update(f"transformers {version('transformers')}\n".encode())
    for name in _FILES:
        path = folder / name
        if path.is_file():
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
