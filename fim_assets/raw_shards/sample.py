"""The sample corpus: the running Python's own standard library, as shards of real code."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import orjson

from fim_assets.io.hashing import HashingWriter
from fim_assets.io.shard_writer import ShardWriter

SHARDS = 8

_LANGUAGES = {".bat": "Batchfile", ".c": "C", ".css": "CSS", ".csh": "Tcsh", ".fish": "fish"}
_LANGUAGES |= {".h": "C", ".html": "HTML", ".js": "JavaScript", ".ps1": "PowerShell"}
_LANGUAGES |= {".py": "Python", ".pyi": "Python", ".sh": "Shell", ".toml": "TOML", ".xml": "XML"}


def write_sample(folder: Path) -> list[Path]:
    """Write the sample's shards, `stdlib-0.jsonl.zst` and on: the same bytes on every run.

    Raises:
        FileExistsError: If the folder holds anything else: the sample would mix with it.
    """
    paths = [folder / f"stdlib-{number}.jsonl.zst" for number in range(SHARDS)]
    folder.mkdir(parents=True, exist_ok=True)
    others = sorted(set(folder.iterdir()) - set(paths))
    if others:
        raise FileExistsError(
            f"{others[0]} is not of the sample, which would mix with it; "
            "set FIM_DATA_ROOT to another folder"
        )
    documents = list(sample_documents())
    for number, path in enumerate(paths):
        path.unlink(missing_ok=True)
        with HashingWriter(path) as file, ShardWriter(file) as writer:
            writer.write(islice(documents, number, None, SHARDS))
    return paths


def sample_documents() -> Iterator[bytes]:
    """The standard library's source files as JSON lines, sorted by path."""
    library = Path(sysconfig.get_path("stdlib"))
    source = f"python-{sys.version_info.major}.{sys.version_info.minor}-stdlib"
    for path in sorted(_source_files(library)):
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            path_in = path.relative_to(library).as_posix()
            metadata = {"path": path_in, "language": _LANGUAGES[path.suffix]}
            line = {"id": path_in, "text": text, "source": source, "metadata": metadata}
            yield orjson.dumps(line)


def _source_files(library: Path) -> Iterator[Path]:
    # Installed packages may be many times as much, and are not looked at.
    for folder, folders, names in os.walk(library):
        folders[:] = set(folders) - {"site-packages", "__pycache__"}
        paths = (Path(folder, name) for name in names)
        yield from (path for path in paths if path.suffix in _LANGUAGES)
