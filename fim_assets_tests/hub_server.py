"""A Hub on the loopback, in a process of its own, that can be told to misbehave.

It serves what `huggingface_hub` asks for of models and datasets: a revision's commit, its tree page
by page, and files, which it redirects to another path where they are in LFS.
"""

import hashlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_of_somebody_who_may_read"
PAGE = 2
"""Files of a tree that one answer holds."""

_LFS = (".gz", ".zst", ".parquet")


@dataclass(frozen=True)
class Repository:
    """One commit of a repository, which is its branch `main` too.

    Attributes:
        name: As it is in URLs: a dataset's begins with `datasets/`.
        folder: Holds its files.
        private: Whether nobody without the token is told that it is there.
        gated: Whether nobody without the token gets a file of it.
    """

    name: str
    folder: str
    private: bool = False
    gated: bool = False


@dataclass(frozen=True)
class Fault:
    """What goes wrong with requests that match, such as `GET .*/tree/`.

    Attributes:
        times: With so many of them.
        status: Answers so.
        headers: With these.
        cut: Closes the connection after so many bytes of a file.
        delay: Waits for so many seconds first.
    """

    match: str
    times: int = 1 << 30
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    delay: float = 0.0


class Hub(NamedTuple):
    """A server that runs: where, and the file to which it writes every request."""

    endpoint: str
    log: Path

    def requests(self, match: str) -> list[str]:
        """The requests so far that match."""
        return [line for line in self.log.read_text().splitlines() if re.search(match, line)]

    def settings(self, home: Path, **others: str) -> dict[str, str]:
        """The variables of the environment that lead there, with a home of one's own."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "NO_PROXY": "127.0.0.1",
        } | others


@contextmanager
def hub_server(log: Path, repositories: Sequence[Repository], *faults: Fault) -> Iterator[Hub]:
    """Serve repositories until the context ends."""
    served = json.dumps([[asdict(one) for one in some] for some in (repositories, faults)])
    command = [sys.executable, "-m", __name__, served]
    with (
        log.open("wb") as requests,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=requests) as server,
    ):
        assert server.stdout is not None
        try:
            yield Hub(f"http://127.0.0.1:{int(server.stdout.readline())}", log)
        finally:
            # Not a signal that whoever started this may have had ignored.
            server.kill()


class _Served:
    """A repository's files, and what is told of them."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        kind = "" if repository.name.startswith("datasets/") else "models/"
        self.api = f"/api/{kind}{repository.name}"
        folder = Path(repository.folder)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self.files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    def entries(self, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        """The tree below a folder, as the Hub gives it."""
        begin = f"{folder}/" if folder else ""
        found = {}
        for path, data in self.files.items():
            if path.startswith(begin):
                parts = path.removeprefix(begin).split("/")
                for depth in range(1, len(parts)):
                    above = begin + "/".join(parts[:depth])
                    if recursive or depth == 1:
                        entry = {"type": "directory", "path": above, "size": 0, "oid": "0" * 40}
                        found[above] = entry
                if recursive or len(parts) == 1:
                    found[path] = _file_entry(path, data)
        return list(found.values())


def _file_entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _blob_id(data)}
    if path.endswith(_LFS):
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 130}
        entry["xetHash"] = sha256
    return entry


def _blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data), usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: Sequence[_Served]
    faults: Sequence[Fault]
    begun: dict[str, int]

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: a request is written when it comes, even if its answer is awaited by nobody."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        sys.stderr.write(f"{self.command} {self.path} {self.headers.get('Range', '')}\n")
        sys.stderr.flush()
        self.cut: int | None = None
        for fault in self.faults:
            if re.search(fault.match, f"{self.command} {self.path}"):
                self.begun[fault.match] = self.begun.get(fault.match, 0) + 1
                if self.begun[fault.match] <= fault.times:
                    time.sleep(fault.delay)
                    self.cut = fault.cut
                    if fault.status:
                        self._give(b"{}", fault.status, fault.headers)
                        return
        for served in self.served:
            if url.path.startswith((f"{served.api}/", f"/{served.repository.name}/resolve/")) or (
                url.path == served.api
            ):
                self._answer_of(served, url.path, parse_qs(url.query))
                return
        self._refuse(401, "RepoNotFound")

    def _answer_of(self, served: _Served, path: str, query: Mapping[str, list[str]]) -> None:
        repository = served.repository
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository.private and not known:
            self._refuse(401, "RepoNotFound")
            return
        action, _, rest = path.split(repository.name, 1)[1].lstrip("/").partition("/")
        revision, _, within = rest.partition("/")
        within = unquote(within)
        if action == "" or (action == "revision" and revision in (COMMIT, "main")):
            siblings = [{"rfilename": file} for file in served.files]
            told = {"id": repository.name, "sha": COMMIT, "siblings": siblings}
            self._give(json.dumps(told).encode())
        elif revision != COMMIT:
            self._refuse(404, "RevisionNotFound")
        elif action == "tree":
            self._give_tree(served, within, query)
        elif within not in served.files:
            self._refuse(404, "EntryNotFound")
        elif repository.gated and not known:
            self._refuse(403, "GatedRepo")
        elif within.endswith(_LFS) and "lfs" not in query:
            self._give(b"", 302, {"Location": f"{self.path}?lfs=1"})
        else:
            self._give_file(served.files[within])

    def _give_tree(self, served: _Served, folder: str, query: Mapping[str, list[str]]) -> None:
        entries = served.entries(folder, recursive=query.get("recursive") == ["true"])
        if folder and not entries:
            self._refuse(404, "EntryNotFound")
            return
        begin = int(query.get("cursor", ["0"])[0])
        links = {}
        if begin + PAGE < len(entries):
            asked = re.sub(r"&cursor=\d+", "", self.path)
            following = f"http://{self.headers['Host']}{asked}&cursor={begin + PAGE}"
            links["Link"] = f'<{following}>; rel="next"'
        self._give(json.dumps(entries[begin : begin + PAGE]).encode(), 200, links)

    def _give_file(self, data: bytes) -> None:
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part is None:
            self._give(data, 200, {"ETag": f'"{_blob_id(data)}"'})
            return
        begin, end = int(part[1]), min(int(part[2] or len(data) - 1), len(data) - 1)
        whole = f"bytes {begin}-{end}/{len(data)}"
        self._give(data[begin : end + 1], 206, {"Content-Range": whole})

    def _refuse(self, status: int, code: str) -> None:
        self._give(b"{}", status, {"X-Error-Code": code})

    def _give(
        self, data: bytes, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.send_response(status)
        for name, value in {"X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[: self.cut])
        self.close_connection = self.cut is not None


def _serve(repositories: list[dict[str, Any]], faults: list[dict[str, Any]]) -> None:
    _Handler.served = [_Served(Repository(**repository)) for repository in repositories]
    _Handler.faults = [Fault(**fault) for fault in faults]
    _Handler.begun = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()


if __name__ == "__main__":
    _serve(*json.loads(sys.argv[1]))
