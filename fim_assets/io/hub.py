"""Datasets on the Hugging Face Hub: what a URL of one must say, and what the Hub's answers mean.

They are only read, and at a commit, whose files never change. The Hub's client is loaded where a
shard on the Hub is looked at, and not before.
"""

import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from upath import UPath

PROTOCOL = "hf"
COMMIT = re.compile(r"[0-9a-f]{40}")

_NAME = r"[\w.-]+/[\w.-]+"
_PINNED = re.compile(rf"hf://datasets/{_NAME}@{COMMIT.pattern}(?:/|$)")
_DATASET = re.compile(
    rf"hf://datasets/(?P<name>{_NAME})"
    r"(?:@(?P<revision>refs/(?:convert|pr)/[^/*?\[]+|[^/*?\[]*))?(?:/(?P<path>.*))?"
)
_FORM = "hf://datasets/<org>/<name>@<commit>/<path or glob>"

_COPIED_AT_ONCE = 1 << 20
_LONGEST_PAUSE = 300.0  # the Hub counts requests for five minutes
_TOO_MANY = 429
_MAY_PASS = {408, 425, _TOO_MANY}


def how_to_pin(repository: str = "<name>") -> str:
    """What pins a repository on the Hub, as text; datasets are `datasets/<org>/<name>`."""
    return (
        "40 hex digits, since a branch or a tag may move; "
        f"`git ls-remote https://huggingface.co/{repository}` prints them"
    )


def refuse_unpinned(url: str) -> None:
    """Raise a ValueError for a URL that names no dataset at a commit, with the URL to write.

    Only then is the Hub asked, for the commit.
    """
    if ".." in url.split("/"):
        raise ValueError("`..` would lead out of the commit")
    if _PINNED.match(url):
        return
    dataset = _DATASET.fullmatch(url)
    if dataset is None:
        raise ValueError(f"shards on the Hub are {_FORM}, and only the path has wildcards")
    name, path = dataset["name"], dataset["path"]
    try:
        commit = _commit_now(name, unquote(dataset["revision"] or "") or None)
    except Exception as error:
        reason = explain(error, f"datasets/{name}") or str(error)
        problem = f"names no commit, and the Hub did not tell it: {reason}"
        how = f"name the commit's {how_to_pin(f'datasets/{name}')}"
        raise ValueError(f"{problem}; {how}") from error
    written = f"hf://datasets/{name}@{commit}" + (f"/{path}" if path else "")
    raise ValueError(f"names no commit, and a branch or a tag may move; write {written}")


def _commit_now(name: str, revision: str | None) -> str:
    from huggingface_hub import HfApi, constants

    api = HfApi(token=usable_token())
    seconds = constants.HF_HUB_ETAG_TIMEOUT
    told = api.dataset_info(name, revision=revision, timeout=seconds, expand=["sha"]).sha
    if not told:
        raise ValueError("its answer holds none")
    return told


def usable_token() -> Literal[False] | None:
    """How the Hub's client is told of a token: None has it look itself, False to have none.

    It would fail where the home that would hold the token is a file, or cannot be read.
    """
    from huggingface_hub import get_token

    try:
        get_token()
    except OSError:
        return False
    return None


def file_system_options() -> dict[str, Any]:
    """Options of the Hub's file system; from here on, its client waits for no answer forever."""
    _bound_waiting()
    return {"token": usable_token()}


@cache
def _bound_waiting() -> None:
    """Have the Hub's client time out where it would not: it lists folders without a limit."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def bound(request: Any) -> None:
        limits = request.extensions["timeout"]
        for name in limits:
            limits[name] = limits[name] or constants.HF_HUB_DOWNLOAD_TIMEOUT

    def make_client() -> Any:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = hooks | {"request": [*hooks["request"], bound]}
        return client

    set_client_factory(make_client)


def copy(location: UPath, path: Path) -> None:
    """Copy a file of the Hub to one of this machine, as a stream.

    `get_file` would hand it to Xet's client, whose memory depends on the file and which keeps a
    cache, or show a progress bar.
    """
    with location.fs.open(location.path, "rb", block_size=0) as remote, path.open("wb") as file:
        shutil.copyfileobj(remote, file, _COPIED_AT_ONCE)


def tag_of(info: Any) -> str:
    """The tag of a file's content: the hash of its LFS object, or of its blob."""
    return str(info["lfs"].sha256 if info.get("lfs") else info.get("blob_id") or "")


def explain(error: BaseException, path: str) -> str | None:
    """What an answer of the Hub means, and what to do.

    Args:
        error: What its client raised.
        path: What was asked for, from `datasets/`.

    Returns:
        None for other errors, and where the file alone is not there.
    """
    from huggingface_hub import constants
    from huggingface_hub import errors as of_hub

    page = "/".join([constants.ENDPOINT, *path.partition("@")[0].split("/")[:3]])
    answer = error.__cause__ if isinstance(error, FileNotFoundError) else error
    meaning = None
    match answer:
        case of_hub.OfflineModeIsEnabled():
            meaning = "HF_HUB_OFFLINE is set: unset it, or name shards of this machine"
        case of_hub.GatedRepoError():
            meaning = f"accept the terms on {page}, and set HF_TOKEN to a token of that account"
        case of_hub.RepositoryNotFoundError():
            meaning = (
                f"there is no {page}, or it is private: set HF_TOKEN to a token that may read it"
            )
        case of_hub.RevisionNotFoundError():
            meaning = f"{page} has no such commit"
        case of_hub.HfHubHTTPError():
            status, message = answer.response.status_code, answer.server_message or ""
            meaning = f"the Hub answered {status} {answer.response.reason_phrase}"
            meaning += f" ({' '.join(message.split())})" if message else ""
            if status in (401, 403):
                meaning += f": set HF_TOKEN to a valid token that may read {page}"
            elif status == _TOO_MANY:
                meaning += ": with HF_TOKEN set, it allows more requests"
        case json.JSONDecodeError():
            meaning = f"{constants.ENDPOINT} answered no JSON: does a proxy stand in between?"
        case Exception() if type(answer).__module__.startswith("httpx"):
            meaning = f"{constants.ENDPOINT}: {answer or type(answer).__name__}"
    return meaning


def is_final(error: BaseException) -> bool:
    """Whether an answer of the Hub will be the same when it is asked again."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return 400 <= status < 500 and status not in _MAY_PASS
    return isinstance(error, OfflineModeIsEnabled)


def pause_asked(error: BaseException | None) -> float:
    """The seconds that the Hub asks to wait before another request, 0 where it does not."""
    from huggingface_hub.errors import HfHubHTTPError

    if not isinstance(error, HfHubHTTPError) or error.response.status_code not in (_TOO_MANY, 503):
        return 0.0
    headers = error.response.headers
    asked = re.fullmatch(r"\d+", headers.get("retry-after", "")) or re.search(
        r"(?<=\bt=)\d+", headers.get("ratelimit", "")
    )
    return min(float(asked[0]) + 1, _LONGEST_PAUSE) if asked else 0.0
