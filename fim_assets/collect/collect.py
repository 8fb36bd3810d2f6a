"""All files of several sources, each judged: one at a time is held in memory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fim_assets.collect.judge import Document, Reason, judge, reason_of_path
from fim_assets.collect.sources import Source, archive_ending, ending_of_archive, open_source
from fim_assets.collect.walk import File, walk
from fim_assets.errors import UserError


class LeftOut(NamedTuple):
    """A file that is no document, and what it is called."""

    reason: Reason
    name: str


def collect_files(paths: Sequence[Path], output: Path, most: int) -> Iterator[Document | LeftOut]:
    """Every file of the sources, in their order and that of their paths' bytes.

    `output`, a folder, is not looked into; files of more than `most` bytes are left out.

    Raises:
        UserError: If a source cannot be used, is the output itself, or is there twice.
    """
    for path in paths:
        archive_ending(path)  # a source that cannot be used is told before an hour of work
    _refuse_doubled(paths)
    places = [_place_in(path, output) for path in paths]
    for path, place in zip(paths, places, strict=True):
        with open_source(path, most) as source:
            yield from (LeftOut("outside", f"{path}/{name}") for name in source.outside)
            for file in walk(source, place):
                judged = _judged(source, file, most)
                if isinstance(judged, Document):
                    yield judged
                else:
                    yield LeftOut(judged, f"{path}/{os.fsdecode(file.place)}")


def _refuse_doubled(paths: Sequence[Path]) -> None:
    """Refuse sources of which files would be documents twice: one named twice, or in another."""
    sources: dict[Path, Path] = {}
    for path in paths:
        if sources.setdefault(path.resolve(), path) is not path:
            raise UserError("is a source twice", location=path)
    for place, path in sources.items():
        outer = next((sources[above] for above in place.parents if above in sources), None)
        if outer is not None and path.is_dir():
            problem = f"is in {outer}, a source too: its files would be documents twice"
            raise UserError(problem, "leave it out, or collect it with another --prefix", path)


def _place_in(source: Path, output: Path) -> bytes | None:
    source, output = source.resolve(), output.resolve()
    if source == output:
        raise UserError("is a source and the output too", "name a folder for shards", source)
    below = output.is_relative_to(source)
    return os.fsencode(output.relative_to(source)) if below else None


def _judged(source: Source, file: File, most: int) -> Document | Reason:
    if reason := reason_of_path(file):
        return reason
    try:
        content = source.read(file.place, most)
    except PermissionError:
        return "unreadable"
    judged = "too_large" if content is None else judge(file, content)
    if not isinstance(judged, Document) and ending_of_archive(os.fsdecode(file.path)):
        return "archive"
    return judged
