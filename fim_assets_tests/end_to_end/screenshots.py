"""The pictures of the documentation, from the sample corpus: `make screenshots`."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import BrowserContext, FloatRect, Locator, expect

from fim_assets_tests.end_to_end.browser import (
    browser_program,
    chromium,
    dagster_ui,
    metadata,
    open_lineage,
    open_partition,
    open_plot,
)
from fim_assets_tests.end_to_end.commands import REPOSITORY, copy_checkout, run

NAMES = ("lineage", "partition", "plots", "report")
_PICTURES = REPOSITORY / "docs" / "pictures"
_MOST_BYTES = 200_000
_MARGIN = 24
_DEMO = (
    "fim-assets sample && dagster asset materialize -m fim_assets.definitions --select '*' "
    '--partition-range "$(fim-assets keys --range)"'
)


def take_pictures(session: BrowserContext, url: str, key: str, report: Path, folder: Path) -> None:
    """Picture the lineage, a partition, plots over the partitions and the report, as `NAMES` says.

    Args:
        session: Of a browser that shows them.
        url: Of a UI in which all is materialized.
        key: The partition.
        report: The report's page.
        folder: Where the PNG files go.
    """
    lineage, partition, plots, page_of_report = (folder / f"{name}.png" for name in NAMES)

    # Wide enough for Dagster to say in each asset what there is of it.
    page = session.new_page()
    page.set_viewport_size({"width": 1900, "height": 900})
    open_lineage(page, url)
    page.get_by_role("button", name="Hide navigation").click()
    graph = open_lineage(page, url)
    expect(graph.get_by_text("Latest event")).to_have_count(4)
    expect(graph.get_by_text("Materialized")).to_be_visible()
    page.screenshot(path=lineage, clip=_around(graph.locator("foreignObject > div").all()))

    page.set_viewport_size({"width": 1440, "height": 1150})
    open_partition(page, url, "fim_shards", key)
    expect(metadata(page, "documents")).to_be_visible()
    page.screenshot(path=partition)

    page.set_viewport_size({"width": 1280, "height": 1000})
    # With this row at the lower edge, the realised rates are two rows above it.
    canvas = open_plot(page, url, "fim_shards", "middle_chars_mean")
    canvas.evaluate("canvas => canvas.scrollIntoView({block: 'end'})")
    page.screenshot(path=plots)

    page.set_viewport_size({"width": 1200, "height": 1100})
    page.goto(report.as_uri())
    page.screenshot(path=page_of_report)
    page.close()


def _around(shown: Sequence[Locator]) -> FloatRect:
    """The rectangle around all of these, with a margin."""
    boxes = [box for its in shown if (box := its.bounding_box())]
    left = min(box["x"] for box in boxes) - _MARGIN
    top = min(box["y"] for box in boxes) - _MARGIN
    right = max(box["x"] + box["width"] for box in boxes) + _MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + _MARGIN
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}


def main() -> None:
    """Take the pictures anew."""
    program = browser_program() or sys.exit("not on this machine: chromium")
    # Pictures show paths: this one says nothing of the machine that they were taken on.
    checkout = Path(tempfile.gettempdir()) / "fim_assets"
    copy_checkout(checkout)
    try:
        made = run(_DEMO, checkout, {"DAGSTER_HOME": str(checkout)}, seconds=1200)
        if made.returncode:
            sys.exit(made.stderr)
        report = checkout / "data" / "corpus_report" / "report.html"
        _PICTURES.mkdir(exist_ok=True)
        with dagster_ui(checkout) as url, chromium(program) as session:
            take_pictures(session, url, "stdlib-0", report, _PICTURES)
    finally:
        shutil.rmtree(checkout)
    for name in NAMES:
        picture = _PICTURES / f"{name}.png"
        print(f"{picture.stat().st_size:>8,} bytes  {picture.relative_to(REPOSITORY)}")
        assert picture.stat().st_size < _MOST_BYTES


if __name__ == "__main__":
    main()
