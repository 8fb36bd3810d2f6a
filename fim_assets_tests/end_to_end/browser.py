"""Chromium, the UI that `make dev` starts, and the steps that a person takes in it."""

import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from playwright.sync_api import (
    BrowserContext,
    Dialog,
    Locator,
    Page,
    expect,
    sync_playwright,
)

from fim_assets_tests.end_to_end.commands import environment, free_port, running

MILLISECONDS = 90_000
"""After which a step has failed: much more than a slow machine needs."""

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def browser_program() -> str | None:
    """The browser of this machine, None if it has none."""
    return next(filter(None, map(shutil.which, _BROWSERS)), None)


@contextmanager
def chromium(program: str) -> Iterator[BrowserContext]:
    """A browser without a window, whose pages share what was loaded and compiled once."""
    expect.set_options(timeout=MILLISECONDS)
    with sync_playwright() as playwright:
        # Only a browser with a profile keeps compiled code; an empty name is a temporary one's.
        session = playwright.chromium.launch_persistent_context(
            "",
            executable_path=program,
            args=["--no-sandbox", "--disable-background-networking"],
            viewport={"width": 1500, "height": 1000},
            locale="en-US",
            timezone_id="UTC",
        )
        session.set_default_timeout(MILLISECONDS)
        yield session
        session.close()


@contextmanager
def visit(session: BrowserContext, pictures: Path, name: str) -> Iterator[Page]:
    """An empty page, which may ask no other host for anything and open no dialog of the browser's.

    What it shows in the end is kept as `<name>.png`; if the visit fails, as `<name>.failed.png`,
    with a log of its console and requests beside it.

    Args:
        session: Where the page is opened.
        pictures: A folder.
        name: Of the picture.
    """
    for old in pictures.glob(f"{name}.*"):
        old.unlink()
    page = session.new_page()
    console, requests, dialogs = console_of(page), requests_of(page), dialogs_of(page)
    try:
        yield page
        assert dialogs == []
        assert {urlsplit(url).hostname for url in requests} <= {"127.0.0.1", None}
    except BaseException:
        log = [page.url, *console, *dialogs, *requests]
        (pictures / f"{name}.failed.log").write_text("\n".join(log) + "\n")
        page.screenshot(path=pictures / f"{name}.failed.png")
        raise
    else:
        page.screenshot(path=pictures / f"{name}.png")
    finally:
        page.close()


def console_of(page: Page) -> list[str]:
    """What a page will write to its console, errors that no script catches among it."""
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    return said


def requests_of(page: Page) -> list[str]:
    """The URLs that a page will ask for."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    return asked


def dialogs_of(page: Page) -> list[str]:
    """What a page will say in dialogs of the browser's, which are dismissed."""
    said: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        said.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    return said


@contextmanager
def dagster_ui(checkout: Path, settings: dict[str, str] | None = None) -> Iterator[str]:
    """The UI and its daemon, by `make dev` on a free port; yields its URL.

    Args:
        checkout: The project, which is `DAGSTER_HOME` too and takes the server's log.
        settings: More variables of the environment.
    """
    port = free_port()
    command = ["make", "dev", f"PORT={port}"]
    variables = environment(checkout, {"DAGSTER_HOME": str(checkout)} | (settings or {}))
    # Asked to end, it takes a quarter of a minute, for nothing that is looked at.
    with running(command, checkout / "server.log", variables, checkout, stop=signal.SIGKILL):
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        yield url


def _wait_for(url: str) -> None:
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"{url}/server_info", timeout=5) as answer:
                assert b"dagster_webserver" in answer.read()
                return
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def open_lineage(page: Page, url: str) -> Locator:
    """Open the graph of all assets and wait until it is drawn."""
    page.goto(f"{url}/asset-groups")
    graph = page.locator("svg:has(foreignObject)")
    expect(graph.get_by_text("corpus_report")).to_be_visible()
    return graph


def open_partition(page: Page, url: str, asset: str, key: str) -> None:
    """Open what the UI shows of a partition of an asset."""
    page.goto(f"{url}/assets/{asset}?view=partitions&partition={quote(key)}")
    expect(page.get_by_text("Latest materialization")).to_be_visible()


def plotted(page: Page) -> dict[str, dict[str, float]]:
    """Each plot's values by partition: what React gave to the canvases, in the page's order."""
    given: list[dict[str, Any]] = page.locator("canvas").evaluate_all(
        """canvases => canvases.map(canvas => {
            const key = Object.keys(canvas).find(key => key.startsWith("__reactFiber"));
            for (let fiber = canvas[key]; fiber; fiber = fiber.return)
                if (fiber.memoizedProps?.data?.datasets) return fiber.memoizedProps.data;
        })"""
    )
    return {
        plot["datasets"][0]["label"]: {
            key: point["y"]
            for key, point in zip(plot["labels"], plot["datasets"][0]["data"], strict=True)
            if isfinite(point["y"])
        }
        for plot in given
    }


def open_plot(page: Page, url: str, asset: str, name: str) -> Locator:
    """Open an asset's plots over its partitions, and wait until the line of one is drawn."""
    page.goto(f"{url}/assets/{asset}")
    page.get_by_role("button", name="Plots").click()
    expect(page.locator("canvas").first).to_be_visible()
    canvas = page.locator("canvas").nth(list(plotted(page)).index(name))
    canvas.scroll_into_view_if_needed()
    # In Dagster's blue.
    page.wait_for_function(
        """canvas => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            for (let at = 0; at < data.length; at += 4)
                if (data[at + 3] > 200 && data[at + 2] > 180 && data[at + 1] < 120) return true;
        }""",
        arg=canvas.element_handle(),
    )
    return canvas


def metadata(page: Page, name: str) -> Locator:
    """The value that a partition's metadata hold under a name."""
    entry = page.get_by_role("cell", name=name, exact=True)
    return page.get_by_role("row").filter(has=entry).first.get_by_role("cell").nth(1)


def launch_backfill(page: Page, url: str, assets: Iterable[str], keys: Iterable[str]) -> str:
    """Choose assets in the graph and partitions in the dialog, and launch; the backfill's URL."""
    graph = open_lineage(page, url)
    for number, asset in enumerate(assets):
        graph.get_by_text(asset, exact=True).click(modifiers=["Shift"] if number else None)
    page.get_by_role("button", name="Materialize selected").click()
    page.get_by_text("Select a partition").click()
    for key in keys:
        page.get_by_role("menuitem").filter(has=page.get_by_title(key, exact=True)).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Launch backfill").click()
    created = page.get_by_text(re.compile(r"^Created backfill \w+$"))
    return f"{url}/runs/b/{created.inner_text().split()[-1]}"
