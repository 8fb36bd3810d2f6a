"""The bench corpus: real source files of this machine, as raw shards below `.bench/`."""

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from fim_assets.io.hashing import HashingWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.settings import REPOSITORY

BENCH_FOLDER = REPOSITORY / ".bench"
SHARDS = 16
TEXT_BYTES_AT_MOST = 270_000_000

LANGUAGES = {
    ".c": "C",
    ".cc": "C++",
    ".clj": "Clojure",
    ".cpp": "C++",
    ".cs": "C#",
    ".css": "CSS",
    ".cu": "CUDA",
    ".dart": "Dart",
    ".ex": "Elixir",
    ".f90": "Fortran",
    ".go": "Go",
    ".h": "C",
    ".hpp": "C++",
    ".hs": "Haskell",
    ".html": "HTML",
    ".java": "Java",
    ".jl": "Julia",
    ".js": "JavaScript",
    ".kt": "Kotlin",
    ".lua": "Lua",
    ".md": "Markdown",
    ".mjs": "JavaScript",
    ".ml": "OCaml",
    ".php": "PHP",
    ".pl": "Perl",
    ".py": "Python",
    ".pyi": "Python",
    ".pyx": "Cython",
    ".r": "R",
    ".rb": "Ruby",
    ".rs": "Rust",
    ".scala": "Scala",
    ".sh": "Shell",
    ".sql": "SQL",
    ".swift": "Swift",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
}
"""Languages by file ending in small letters; data formats such as JSON are left out."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceFile(_Record):
    """A document of the corpus, before it is written.

    Attributes:
        name: The document's id: its path below its root, `/` between folders.
        path: Where the file lies.
        bytes: Its size; the text in UTF-8.
        blake2b: 32 hex digits of its content's hash.
    """

    name: str
    path: Path
    bytes: int
    blake2b: str

    @property
    def language(self) -> str:
        """The language that the file's ending tells."""
        return LANGUAGES[self.path.suffix.lower()]


class BenchCorpus(_Record):
    """A corpus as it lies on disk; `corpus.json` holds it.

    Attributes:
        folder: The data root: `raw/` holds the shards, the assets' folders come beside it.
        identity: 32 hex digits of the hash of all documents' names, languages and content hashes.
        documents: Number of documents.
        bytes: Bytes of their texts in UTF-8.
        cut_at: Name of the first file that was left out for size, null if all are in.
        keys: Partition keys, one a shard.
    """

    folder: Path
    identity: str
    documents: int
    bytes: int
    cut_at: str | None
    keys: list[str]

    def shard(self, key: str) -> Path:
        """Where a partition's raw shard lies."""
        return self.folder / "raw" / f"{key}.jsonl.zst"


def build_corpus(source: Path | None, bench_folder: Path = BENCH_FOLDER) -> BenchCorpus:
    """Write the corpus, or reuse what lies there if it is of the same documents.

    Args:
        source: Folder of source files; None takes this interpreter's standard library and the
            environment's packages.
        bench_folder: Where corpora lie, each in a folder of its own.

    Raises:
        FileNotFoundError: If there is no source file.
    """
    roots = {"": source} if source else _interpreter_roots()
    documents, cut_at = select_files(find_files(roots), TEXT_BYTES_AT_MOST)
    if not documents:
        raise FileNotFoundError(f"{source}: no source file in UTF-8 with a known ending is in it")
    folder = bench_folder / _corpus_name(source)
    lines = [f"{d.name}\t{d.language}\t{d.blake2b}\n" for d in documents]
    corpus = BenchCorpus(
        folder=folder,
        identity=blake2b("".join(lines).encode(), digest_size=16).hexdigest(),
        documents=len(documents),
        bytes=sum(document.bytes for document in documents),
        cut_at=cut_at,
        keys=[f"bench-{number:02d}" for number in range(min(SHARDS, len(documents)))],
    )
    record = folder / "corpus.json"
    if _read(record) == corpus and all(corpus.shard(key).is_file() for key in corpus.keys):
        return corpus
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "raw").mkdir(parents=True)
    for key, shard in zip(corpus.keys, balance(documents, len(corpus.keys)), strict=True):
        _write_shard(corpus.shard(key), shard)
    record.write_text(corpus.model_dump_json(indent=1) + "\n", "utf-8")
    return corpus


def find_files(roots: dict[str, Path]) -> list[tuple[str, Path]]:
    """Names and paths of all source files below the roots, sorted by name.

    Hidden folders, caches and, below the standard library, installed packages are passed over.

    Args:
        roots: Folders by what their files' names begin with.
    """
    found = []
    for begin, root in roots.items():
        passed_over = {"__pycache__", "site-packages"} if begin else {"__pycache__"}
        for folder, folders, names in os.walk(root):
            folders[:] = [n for n in folders if not n.startswith(".") and n not in passed_over]
            paths = (Path(folder, name) for name in names)
            found += [
                (f"{begin}{path.relative_to(root).as_posix()}", path)
                for path in paths
                if path.suffix.lower() in LANGUAGES and path.is_file()
            ]
    return sorted(found)


def select_files(
    found: Iterable[tuple[str, Path]], at_most: int
) -> tuple[list[SourceFile], str | None]:
    """Take files that are UTF-8, not empty and not taken yet, until the next would be too much.

    Args:
        found: Names and paths.
        at_most: Bytes of all texts.

    Returns:
        The files taken, and the name of the first that was too much, None if there is none.
    """
    taken: dict[str, SourceFile] = {}
    size = 0
    for name, path in found:
        data = path.read_bytes()
        digest = blake2b(data, digest_size=16).hexdigest()
        if not data or digest in taken or not _is_utf8(data):
            continue
        if size + len(data) > at_most:
            return list(taken.values()), name
        taken[digest] = SourceFile(name=name, path=path, bytes=len(data), blake2b=digest)
        size += len(data)
    return list(taken.values()), None


def balance(documents: list[SourceFile], shards: int) -> list[list[SourceFile]]:
    """Divide documents among shards of about one size, the largest first to the smallest shard.

    Within a shard the documents keep their order.
    """
    sizes = [0] * shards
    shard_of = {}
    for document in sorted(documents, key=lambda d: (-d.bytes, d.name)):
        smallest = sizes.index(min(sizes))
        sizes[smallest] += document.bytes
        shard_of[document.name] = smallest
    return [[d for d in documents if shard_of[d.name] == number] for number in range(shards)]


def _interpreter_roots() -> dict[str, Path]:
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    roots = {"stdlib/": Path(sysconfig.get_path("stdlib"))}
    for number, path in enumerate(sorted(packages)):
        roots[f"site-packages{number or ''}/"] = Path(path)
    return roots


def _corpus_name(source: Path | None) -> str:
    if source is None:
        return f"python-{sys.version_info.major}.{sys.version_info.minor}"
    place = source.resolve()
    return f"{place.name}-{blake2b(str(place).encode(), digest_size=4).hexdigest()}"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read(record: Path) -> BenchCorpus | None:
    try:
        return BenchCorpus.model_validate_json(record.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write_shard(path: Path, documents: Iterable[SourceFile]) -> None:
    with HashingWriter(path) as file, ShardWriter(file) as writer:
        writer.write(_lines(documents))


def _lines(documents: Iterable[SourceFile]) -> Iterator[bytes]:
    for document in documents:
        yield orjson.dumps(
            {
                "id": document.name,
                "text": document.path.read_bytes().decode(),
                "metadata": {"path": document.name, "language": document.language},
            }
        )
