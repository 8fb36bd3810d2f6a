import shlex
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from fim_assets_tests.corpora import documents, write_shard
from fim_assets_tests.end_to_end.commands import (
    copy_checkout,
    environment,
    free_port,
    needed,
    run,
    running,
)

_MS = 90_000
HOSTILE_KEY = "<b>x<b>&'#?%2e ü"
HOSTILE = [
    "<script>window.forged=1</script>",
    '<img src=x onerror="window.forged=1">',
    "</script><svg onload=window.forged=1>",
    "[click](javascript:window.forged=1) ![image](http://forged.invalid/image.png)",
    "```\n<iframe src=javascript:parent.forged=1></iframe>",
    '=HYPERLINK("http://forged.invalid","x"),\r\n"\x1b]0;forged\x07\u202e',
]


def hostile_documents() -> list[dict[str, Any]]:
    """Texts, ids, languages and paths that a page or a terminal might obey."""
    return [
        {
            "id": f"{hostile} {number}",
            "text": f"{hostile}\n# {number} {hostile}",
            "metadata": {"language": hostile, "path": hostile},
        }
        for number in range(20)
        for hostile in HOSTILE
    ]


_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_checkout(tmp_path_factory.mktemp("ui") / "fim_assets")
    for key in ("a", "b"):
        write_shard(folder / "data" / "raw" / f"{key}.jsonl.zst", documents(50, key))
    write_shard(folder / "data" / "raw" / f"{HOSTILE_KEY}.jsonl", hostile_documents())
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[str]:
    """The UI and its daemon, as `make dev` starts them, on a free port."""
    port = str(free_port())
    command = [str(Path(sys.prefix) / "bin" / "dagster"), "dev", "-h", "127.0.0.1", "-p", port]
    variables = environment(checkout, {"DAGSTER_HOME": str(checkout)})
    with running(command, checkout.parent / "server.log", variables, checkout):
        yield _wait_for(f"http://127.0.0.1:{port}")


def _wait_for(url: str) -> str:
    for _ in range(120):
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
                assert b"dagster_webserver" in answer.read()
                return url
        except OSError:
            time.sleep(1)
    raise TimeoutError(url)


@pytest.fixture
def page() -> Iterator[Page]:
    browser = needed(next(filter(None, map(shutil.which, _BROWSERS)), None), "chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=browser, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = launched.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(_MS)
        yield page
        launched.close()


def test_a_partition_is_materialized_by_clicking(server: str, checkout: Path, page: Page) -> None:
    page.goto(f"{server}/asset-groups")
    for asset in ("raw_shards", "fim_shards", "token_arrays", "corpus_report"):
        expect(page.get_by_text(asset).first).to_be_visible(timeout=_MS)

    for asset, number in (("raw_shards", "text_bytes"), ("fim_shards", "fim_rate_realised")):
        page.goto(f"{server}/assets/{asset}?view=partitions&partition=b")
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_role("button", name="Launch 1 run").click()
        expect(page.get_by_text("Materialized (1)")).to_be_visible(timeout=_MS)
        page.reload()
        expect(page.get_by_text(number)).to_be_visible(timeout=_MS)
    expect(page.get_by_text("All 50 documents come back exactly.").first).to_be_visible()
    assert (checkout / "data" / "fim_shards" / "b.json").exists()
    assert not (checkout / "data" / "fim_shards" / "a.json").exists()

    page.goto(f"{server}/assets/fim_shards?view=checks")
    expect(page.get_by_text("partitions that passed: 1").first).to_be_visible(timeout=_MS)


def test_nothing_hostile_runs_in_the_ui_or_in_the_report(
    server: str, checkout: Path, page: Page
) -> None:
    done = run(
        f"dagster asset materialize -m fim_assets.definitions --select '*' "
        f"--partition {shlex.quote(HOSTILE_KEY)}",
        checkout,
        {"DAGSTER_HOME": str(checkout)},
    )
    assert done.returncode == 0, done.stderr
    asked: list[str] = []
    dialogs: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    key = quote(HOSTILE_KEY)
    for asset, shown in (("raw_shards", "languages"), ("fim_shards", "preview")):
        page.goto(f"{server}/assets/{asset}?view=partitions&partition={key}")
        expect(page.get_by_text(shown).first).to_be_visible(timeout=_MS)
        assert page.evaluate("window.forged") is None
    page.goto((checkout / "data" / "corpus_report" / "report.html").as_uri())
    expect(page.get_by_text(HOSTILE_KEY).first).to_be_visible(timeout=_MS)
    assert page.evaluate("window.forged") is None
    assert dialogs == []
    hosts = {urlsplit(url).hostname for url in asked if url.startswith(("http", "ws"))}
    assert hosts <= {"127.0.0.1"}
