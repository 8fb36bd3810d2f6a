"""Datasets on the Hub, against a server that refuses, cuts and delays some of its answers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from httpx2 import Request, Response
from huggingface_hub.errors import HfHubHTTPError

from fim_assets.io.hub import pause_asked, refuse_unpinned
from fim_assets_tests.end_to_end.commands import free_port
from fim_assets_tests.hub_server import COMMIT, TOKEN, Fault, Hub, Repository, hub_server

CONTENT = Random(1).randbytes(3_000_001)
SMALL = b'{"text": "a"}\n'
REQUESTS = "api/datasets|/resolve/"
AGAIN = [
    Fault("org/refused/revision", times=2, status=503),
    Fault("org/limited/revision", times=1, status=429, headers={"RateLimit": '"api";r=0;t=0'}),
    Fault("org/cut/resolve/.*lfs", times=1, cut=2_000_000),
    Fault("org/hanging/tree", times=1, delay=3),
    Fault("org/stuck/resolve", times=1, delay=3),
    Fault("org/torn/tree", times=1, cut=10),
    Fault("org/failing/resolve", times=1, status=500),
]
"""What passes: each dataset is read in the end."""

FINAL = [
    Fault("org/forbidden/revision", status=403, headers={"X-Error-Message": "not your network"}),
    Fault("org/expired/revision", status=401, headers={"X-Error-Message": "Invalid credentials"}),
    Fault("org/down/revision", status=500),
    Fault("org/busy/revision", status=429),
    Fault("org/half/resolve/.*lfs", cut=1000),
]


def named(fault: Fault) -> str:
    return fault.match.split("/")[1]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    files = folder / "files"
    (files / "data" / "C").mkdir(parents=True)
    (files / "README.md").write_text("# Of no interest\n")
    (files / "data" / "C" / "a.jsonl.zst").write_bytes(CONTENT)
    (files / "data" / "C" / ".b.jsonl").write_bytes(SMALL)
    for name in ("a? [1] #%20 ü.jsonl", "b.jsonl", "c.jsonl"):
        (files / "data" / name).write_bytes(SMALL)
    names = ["whole", *map(named, (*AGAIN, *FINAL))]
    repositories = [Repository(f"datasets/org/{name}", str(files)) for name in names]
    repositories.append(Repository("datasets/org/private", str(files), private=True))
    repositories.append(Repository("datasets/org/gated", str(files), gated=True))
    with hub_server(folder / "requests", repositories, *AGAIN, *FINAL) as server:
        yield server


_CALLS = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from fim_assets.io import storage
from fim_assets.io.locations import StorageError, parse_url
storage._LONGEST_PAUSE = 0.1
def call(number, name, url, *more):
    if name == "fetch":
        path = storage.fetch(parse_url(url), Path(sys.argv[1], str(number)))
        return [path.stat().st_size, path.read_bytes().hex()[:32]]
    if name == "read":
        return storage.read_bytes(parse_url(url), *more).hex()
    if name == "objects":
        found = storage.objects(parse_url(url), *more)
        return {str(at): [i["size"], storage.tag_of(i)] for at, i in found.items()}
    return [str(parse_url(url))]
def told(line):
    try:
        return call(line[0], *json.loads(line[1]))
    except StorageError as error:
        return [type(error).__name__, str(error)]
with ThreadPoolExecutor(8) as pool:
    for result in pool.map(told, enumerate(sys.stdin)):
        print(json.dumps(result))
"""


def calls(hub: Hub, folder: Path, *made: tuple[Any, ...], **settings: str) -> list[Any]:
    """What calls of `storage` give, or their errors, in a process that knows this Hub."""
    variables = {key: value for key, value in os.environ.items() if key != "HF_TOKEN"}
    (folder / "fetched").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _CALLS, str(folder / "fetched")],
        input="\n".join(map(json.dumps, made)),
        env=variables | hub.settings(folder / "home") | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "%|" not in done.stderr, "no progress bars"
    return [json.loads(line) for line in done.stdout.splitlines()]


def url(name: str, path: str = "data/C/a.jsonl.zst", commit: str = COMMIT) -> str:
    return f"hf://datasets/org/{name}@{commit}/{path}"


def test_no_path_leads_out_of_the_commit(hub: Hub, tmp_path: Path) -> None:
    outside = [f"{url('whole', 'data')}/../../main/data", f"{url('whole', 'data')}/.."]
    asked = [("read", f"{outside[0]}/b.jsonl"), ("read", f"{outside[1]}/README.md")]
    for (kind, message), place in zip(calls(hub, tmp_path, *asked), outside, strict=True):
        assert kind == "StorageError"
        assert message.startswith(place)
        assert message.endswith(": `..` would lead out of the commit")


def test_a_commit_is_listed_page_by_page_with_sizes_and_hashes(hub: Hub, tmp_path: Path) -> None:
    top = url("whole", "data")
    every, in_c, one, none, nowhere, part, odd = calls(
        hub,
        tmp_path,
        ("objects", top, "**/*"),
        ("objects", top, "C/a*.zst"),
        ("objects", top, "b.jsonl"),
        ("objects", top, "d.jsonl"),
        ("objects", url("whole", "nowhere"), "*.jsonl"),
        ("read", f"{top}/C/a.jsonl.zst", 1000),
        ("read", f"{top}/a? [1] #%20 ü.jsonl"),
    )
    # `git hash-object` says it of the file, and `sha256sum` of the one in LFS.
    blob = [14, "33157540feb8483310055d7a1e0358703c4a14b2"]
    sha256 = "7119975e534c2eb0903c1f2df729c89429e904dfeb1df1b99f40f944b8ec0a32"
    lfs = [3_000_001, sha256]
    names = ("a? [1] #%20 ü.jsonl", "b.jsonl", "c.jsonl")
    assert every == {f"{top}/C/a.jsonl.zst": lfs} | {f"{top}/{name}": blob for name in names}
    assert in_c == {f"{top}/C/a.jsonl.zst": lfs}
    assert one == {f"{top}/b.jsonl": blob}
    assert none == nowhere == {}
    assert part == CONTENT[:1000].hex()
    assert odd == SMALL.hex()


def test_what_may_pass_is_tried_again(hub: Hub, tmp_path: Path) -> None:
    """Requests are refused and limited, connections are cut, an answer does not come."""
    names = [named(fault) for fault in AGAIN]
    came = calls(
        hub, tmp_path, *(("fetch", url(name)) for name in names), HF_HUB_DOWNLOAD_TIMEOUT="1"
    )
    assert came == [[len(CONTENT), CONTENT.hex()[:32]]] * len(names)
    fetched = [path.read_bytes() for path in (tmp_path / "fetched").rglob("*.zst")]
    assert fetched == [CONTENT] * len(names)
    assert len(hub.requests("org/refused/revision")) == 3
    assert len(hub.requests("org/limited/revision")) == 2
    first, second = hub.requests("org/cut/resolve.*lfs")
    assert first.endswith("lfs=1 ")
    assert second.endswith("lfs=1 bytes=1048576-"), "what came is kept"
    for again in ("hanging/tree", "torn/tree", "failing/resolve.*zst ", "stuck/resolve.*zst "):
        assert len(hub.requests(f"org/{again}")) == 2, again
    assert hub.requests("xet") == []
    assert not (tmp_path / "home").exists(), "the client keeps nothing"


def test_what_will_not_pass_is_told_at_once_with_what_to_do(hub: Hub, tmp_path: Path) -> None:
    before = len(hub.requests(REQUESTS))
    told = calls(
        hub,
        tmp_path,
        ("fetch", url("private")),
        ("fetch", url("nobody")),
        ("fetch", url("whole", commit="f" * 40)),
        ("fetch", url("forbidden")),
        ("fetch", url("expired")),
        ("fetch", url("gated")),
        ("fetch", url("whole", "data/d.jsonl")),
    )
    page = f"{hub.endpoint}/datasets/org"
    expected = [
        ("private", f"there is no {page}/private, or it is private: set HF_TOKEN"),
        ("nobody", f"there is no {page}/nobody, or it is private: set HF_TOKEN"),
        ("whole", f"{page}/whole has no such commit"),
        ("forbidden", "the Hub answered 403 Forbidden (not your network): set HF_TOKEN"),
        ("expired", "the Hub answered 401 Unauthorized (Invalid credentials): set HF_TOKEN"),
        ("gated", f"accept the terms on {page}/gated, and set HF_TOKEN"),
    ]
    for (kind, message), (name, said) in zip(told, expected, strict=False):
        assert kind == "StorageError"
        assert f"org/{name}@" in message
        assert f"/data/C/a.jsonl.zst: could not be fetched: {said}" in message
    missing = url("whole", "data/d.jsonl")
    assert told[-1] == ["MissingError", f"{missing}: could not be fetched: there is none"]
    assert len(hub.requests("org/(private|nobody|forbidden|expired)/")) == 4
    assert len(hub.requests("org/gated/resolve")) == 1
    assert len(hub.requests(REQUESTS)) - before < 20


def test_what_goes_on_failing_is_told_after_five_tries(hub: Hub, tmp_path: Path) -> None:
    down, busy, half = calls(
        hub, tmp_path, *(("fetch", url(name)) for name in ("down", "busy", "half"))
    )
    assert "the Hub answered 500 Internal Server Error" in down[1]
    assert "the Hub answered 429 Too Many Requests: with HF_TOKEN set, it allows more" in busy[1]
    assert f"could not be fetched: {hub.endpoint}: peer closed connection" in half[1]
    for name in ("down", "busy"):
        assert len(hub.requests(f"org/{name}/")) == 5


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"RateLimit": '"api";r=0;t=55'}, 56),
        (429, {"RateLimit": '"api";r=0;t=900'}, 300),
        (503, {"Retry-After": "7"}, 8),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        (429, {}, 0),
        (500, {"Retry-After": "7"}, 0),
    ],
)
def test_the_pause_that_the_hub_asks_for_is_made(
    status: int, headers: dict[str, str], seconds: int
) -> None:
    request = Request("GET", "http://127.0.0.1")
    answer = Response(status, headers=headers, request=request)
    assert pause_asked(HfHubHTTPError("refused", response=answer)) == seconds


def test_a_token_is_found_where_the_client_looks(hub: Hub, tmp_path: Path) -> None:
    """In the environment, where the home may be a file, and in a file of the home."""
    asked = [("fetch", url("private")), ("fetch", url("gated"))]
    came = [[len(CONTENT), CONTENT.hex()[:32]]] * 2
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "a").mkdir()
    home = str(tmp_path / "file" / "home")
    assert calls(hub, tmp_path / "a", *asked, HF_TOKEN=TOKEN, HF_HOME=home) == came
    (tmp_path / "b" / "home").mkdir(parents=True)
    (tmp_path / "b" / "home" / "token").write_text(f"{TOKEN}\n")
    assert calls(hub, tmp_path / "b", *asked) == came
    (tmp_path / "c").mkdir()
    [public] = calls(hub, tmp_path / "c", ("fetch", url("whole")), HF_HOME=home)
    assert public == came[0]


@pytest.mark.parametrize("offline", [True, False])
def test_a_hub_that_cannot_be_asked_is_told(hub: Hub, tmp_path: Path, *, offline: bool) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    settings = {"HF_HUB_OFFLINE": "1"} if offline else {"HF_ENDPOINT": nowhere}
    said = "HF_HUB_OFFLINE is set" if offline else f"{nowhere}: [Errno 111] Connection refused"
    fetched, unpinned = calls(
        hub,
        tmp_path,
        ("fetch", url("whole")),
        ("parse", "hf://datasets/org/whole/data/*.jsonl"),
        **settings,
    )
    assert f"{url('whole')}: could not be fetched: {said}" in fetched[1]
    assert f"names no commit, and the Hub did not tell it: {said}" in unpinned[1]
    assert "`git ls-remote https://huggingface.co/datasets/org/whole` prints them" in unpinned[1]


def test_a_url_without_a_commit_is_told_the_one_to_write(hub: Hub, tmp_path: Path) -> None:
    path = "data/**/*.jsonl"
    names = ["", "@main", f"@{COMMIT[:-1]}", "@refs%2Fconvert%2Fparquet", "@refs/pr/1"]
    asked = [("parse", f"hf://datasets/org/whole{name}/{path}") for name in names]
    first, main, *others = calls(hub, tmp_path, *asked, ("parse", "hf://datasets/org/whole"))
    for (_, message), (_, text) in zip((first, main), asked, strict=False):
        assert message.startswith(f"{text}: names no commit, ")
        assert message.endswith(f"write {url('whole', path)}")
    *others, bare = others
    assert bare[1].endswith(f"write hf://datasets/org/whole@{COMMIT}")
    for (_, message), revision in zip(others, names[2:], strict=True):
        assert f"{hub.endpoint}/datasets/org/whole has no such commit; name the commit's" in message
        assert f"whole{revision}/" in message
    assert len(hub.requests("org/whole/revision/refs%2Fconvert%2Fparquet")) == 1
    assert len(hub.requests("org/whole/revision/refs%2Fpr%2F1")) == 1


@pytest.mark.parametrize(
    "refused",
    [
        f"org/name@{COMMIT}/a.jsonl",
        f"models/org/name@{COMMIT}/a.jsonl",
        f"spaces/org/name@{COMMIT}/a.jsonl",
        "buckets/org/name/a.jsonl",
        f"datasets/org/*@{COMMIT}/a.jsonl",
        "datasets/org/name@*/a.jsonl",
        "datasets/org@main/a.jsonl",
        "datasets/org",
        "",
    ],
)
def test_what_is_no_dataset_is_refused_without_asking(refused: str) -> None:
    with pytest.raises(ValueError, match="shards on the Hub are hf://datasets/<org>/<name>@<comm"):
        refuse_unpinned(f"hf://{refused}")
