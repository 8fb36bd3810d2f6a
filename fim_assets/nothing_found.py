"""Where `raw.documents` matches no shard: what lies below the input root, and what to write."""

import glob
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from fim_assets.corpus.keys import shard_ending
from fim_assets.corpus.manifest import MANIFEST_SUFFIX
from fim_assets.io.locations import is_remote, is_url
from fim_assets.io.other_formats import advice_for, other_ending
from fim_assets.settings import Settings
from fim_assets.stages import STAGES
from fim_assets.wording import plural, shortened

_MOST_ENTRIES = 5000
_KINDS_SHOWN = 8


def nothing_found(documents: Sequence[str], settings: Settings) -> tuple[str, str]:
    """The message and the advice where globs match no shard.

    The first thousands of files below the input root are looked at, but no outputs; object storage
    is not.
    """
    root, listed = settings.input_root, ", ".join(documents)
    if all(is_url(name) or name.startswith(("/", "~")) for name in documents):
        return f"no shard found: {listed}", "name other globs in the recipe"
    message = f"no shard found: {listed} below {root}"
    advice = "set FIM_INPUT_ROOT, in a component input_root, or name other globs in the recipe"
    if is_remote(root):
        return message, advice
    if not root.is_dir():
        return f"{message}, which is no folder", advice
    files, complete = _files(root, _output_folders())
    shards, others = _kinds(files, shard_ending), _kinds(files, other_ending)
    others = {kind: n for kind, n in others.items() if kind[1] != MANIFEST_SUFFIX}
    # Where there are other shards, a .json is something else.
    found = {kind: n for kind, n in shards.items() if kind[1] != ".json"} or shards
    if not (found or others):
        return message, advice
    told = [
        f"{plural(count, 'file')} *{ending} in {folder or '.'}/"
        for (folder, ending), count in (found or others).items()
    ]
    more = "" if complete else f", of the first {_MOST_ENTRIES:,} files and folders"
    message += f", which holds {shortened(told, _KINDS_SHOWN)}{more}"
    if not found:
        return message, advice_for(ending for _, ending in others)
    globs = [f"{glob.escape(folder)}/**/*{end}" if folder else f"*{end}" for folder, end in found]
    listed = json.dumps(globs, ensure_ascii=False)
    where = "a YAML file that FIM_RECIPE or a component names"
    return message, f"write in the recipe, {where}: raw: {{documents: {listed}}}"


def _output_folders() -> set[str]:
    from fim_assets.corpus_report.summary import CORPUS_REPORT

    names = (name for stage in STAGES for name in (stage.name, *stage.outputs.folders))
    return {*names, CORPUS_REPORT}


def _files(root: Path, without: Collection[str]) -> tuple[list[tuple[str, str]], bool]:
    """Files below a folder, each by the first folder on the way and its name; whether it is all.

    Nothing hidden is looked at, and no folder with some names.
    """
    files: list[tuple[str, str]] = []
    folders = deque([("", root)])
    left = _MOST_ENTRIES
    while folders and left:
        first, folder = folders.popleft()
        with suppress(OSError), os.scandir(folder) as entries:
            listed = [Path(entry) for entry in islice(entries, left)]
            left -= len(listed)
            for path in sorted(listed):
                if path.name.startswith(".") or path.name in without:
                    continue
                if path.is_dir():
                    folders.append((first or path.name, path))
                elif path.is_file():
                    files.append((first, path.name))
    return files, left > 0


def _kinds(
    files: Sequence[tuple[str, str]], ending: Callable[[str], str]
) -> dict[tuple[str, str], int]:
    """How many files of each ending each folder has, the most frequent first."""
    kinds = Counter((folder, ending(name)) for folder, name in files if ending(name))
    return dict(kinds.most_common())
