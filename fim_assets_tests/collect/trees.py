"""Trees of files made in a test, and what Git says of them."""

import os
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import zstandard

from fim_assets.collect.collect import LeftOut, collect_files
from fim_assets.collect.judge import Document

_ALONE = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
"""No rules of the user or of the machine."""


def write_tree(root: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def write_zip(path: Path, folder: Path, top: str = "") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in sorted(folder.rglob("*"), reverse=True):
            file.write(member, top + member.relative_to(folder).as_posix())


def git(root: Path, *arguments: str, given: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=os.environ | _ALONE,
        input=given,
        capture_output=True,
        check=True,
    ).stdout


def checkout(root: Path, files: Mapping[str, str | bytes], origin: str | None = None) -> Path:
    root.mkdir(parents=True)
    git(root, "init", "--quiet")
    if origin is not None:
        git(root, "remote", "add", "origin", origin)
    return write_tree(root, files)


def collected(*paths: Path, most: int = 10**6) -> list[dict[str, Any] | LeftOut]:
    """Every file of sources: the document that it is, or why it is none; the path from there."""
    files = list(collect_files(paths, Path("/nowhere"), most))
    return [orjson.loads(f.line) if isinstance(f, Document) else f for f in files]


def paths_and_reasons(source: Path, most: int = 10**6) -> dict[str, str]:
    """The reason why each file of a source is left out, `document` where it is one."""
    judged = {}
    for file in collected(source, most=most):
        if isinstance(file, LeftOut):
            judged[file.name.removeprefix(f"{source}/")] = str(file.reason)
        else:
            judged[file["metadata"]["path"]] = "document"
    return judged


def read_shards(folder: Path) -> list[dict[str, Any]]:
    shards = sorted(folder.glob("*.jsonl.zst"))
    contents = (zstandard.ZstdDecompressor().stream_reader(p.open("rb")).read() for p in shards)
    return [orjson.loads(line) for content in contents for line in content.splitlines()]
