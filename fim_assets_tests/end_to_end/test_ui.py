"""What a person does and sees in the UI: Chromium, at a real web server and daemon."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dagster import DagsterRunStatus
from playwright.sync_api import BrowserContext, Locator, Page, expect

from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import (
    CHECKS_OF,
    HOSTILE_KEY,
    documents,
    hostile_documents,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.end_to_end.browser import (
    dagster_ui,
    launch_backfill,
    metadata,
    open_lineage,
    open_partition,
    open_plot,
    plotted,
)
from fim_assets_tests.end_to_end.commands import copy_checkout, kill_a_command, runs_of
from fim_assets_tests.end_to_end.conftest import Visit
from fim_assets_tests.end_to_end.screenshots import NAMES, take_pictures

GOOD = [HOSTILE_KEY, "a", "b", "c"]
BAD = ["unlucky", "unreadable"]
ALONE = "d"
BACKFILL_MILLISECONDS = 400_000
"""The daemon looks after backfills twice a minute only, and their runs wait for each other."""


def unlucky_documents(folder: Path) -> list[dict[str, Any]]:
    """Documents that the draws of the partition `unlucky` all rearrange, so that a check fails.

    They are the rearranged ones of a larger shard: a draw depends on no other document.
    """
    drawn = documents(160, "unlucky")
    write_shard(folder / "raw" / "unlucky.jsonl", drawn)
    outcome = run_all(open_corpus(folder), ["fim_shards"], [])["unlucky"]
    assert outcome.failure is None
    files = pl.read_parquet(folder / "fim_shards" / "unlucky.parquet")
    rearranged = files.group_by("line", maintain_order=True).agg(pl.col("order").ne("none").all())
    return [drawn[line - 1] for line in rearranged.filter("order")["line"]]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_checkout(tmp_path_factory.mktemp("ui") / "fim_assets")
    raw = folder / "data" / "raw"
    for key in ("a", "b", "c", ALONE):
        write_shard(raw / f"{key}.jsonl.zst", documents(50, key))
    write_shard(raw / f"{HOSTILE_KEY}.jsonl", hostile_documents())
    write_shard(raw / "unlucky.jsonl", unlucky_documents(tmp_path_factory.mktemp("drawn")))
    write_shard(raw / "unreadable.jsonl", [*documents(20), b"def f(): pass"])
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Started after a command's run, of another corpus, was killed: no queue waits for it."""
    root = tmp_path_factory.mktemp("killed")
    write_shard(root / "raw" / "killed.jsonl.zst", documents(20_000))
    kill_a_command(checkout, root, "killed...killed")
    assert runs_of(checkout) == [DagsterRunStatus.STARTED]
    with dagster_ui(checkout, {"FIM_WORKERS": "1"}) as url:
        yield url


@pytest.fixture(scope="module")
def backfills(server: str, visit_page: Visit) -> dict[str, str]:
    """Backfills launched by clicking, by what must become of them: the URLs of their pages."""
    with visit_page("ui-launched") as page:
        return {
            "Succeeded": launch_backfill(page, server, ASSETS, GOOD),
            "Failed": launch_backfill(page, server, ASSETS, BAD),
        }


@pytest.fixture(scope="module")
def ended(backfills: dict[str, str], checkout: Path, visit_page: Visit) -> Path:
    """The backfills have come to the ends that they must come to; the data root."""
    with visit_page("ui-backfills") as page:
        for status, url in backfills.items():
            page.goto(url)
            shown = page.get_by_text("Status", exact=True).locator("xpath=following-sibling::div")
            expect(shown).to_have_text(status, timeout=BACKFILL_MILLISECONDS)
    return checkout / "data"


def receipt(checkout: Path, asset: str, key: str) -> dict[str, Any]:
    """What a partition's receipt says of its result."""
    path = checkout / "data" / asset / f"{key}.json"
    result: dict[str, Any] = json.loads(path.read_text())["result"]
    return result


def realised(result: dict[str, Any]) -> float:
    """The share of files rearranged, of those long enough to cut, copies once."""
    counts = result["counts"]
    rearranged: int = counts["distinct_psm"] + counts["distinct_spm"]
    return rearranged / int(counts["distinct_eligible"])


def dot(page: Page, key: str) -> Locator:
    """What tells a partition's status in the list of an asset's."""
    return page.get_by_title(key, exact=True).first.locator("xpath=../following-sibling::div")


def colour(page: Page, key: str) -> str:
    """The colour of a partition's dot: red, green or blue, or grey."""
    background = dot(page, key).evaluate("dot => getComputedStyle(dot).backgroundColor")
    strengths = [int(number) for number in re.findall(r"\d+", background)[:3]]
    if max(strengths) - min(strengths) < 60:
        return "grey"
    return ("red", "green", "blue")[strengths.index(max(strengths))]


def test_overview_shows_the_runs_of_commands(server: str, visit_page: Visit) -> None:
    with visit_page("ui-overview") as page:
        page.goto(f"{server}/overview")
        expect(page.get_by_text("Jobless asset materializations").first).to_be_visible()


def test_the_lineage_graph_shows_the_four_assets_in_their_order(
    server: str, visit_page: Visit
) -> None:
    with visit_page("ui-lineage") as page:
        graph = open_lineage(page, server)
        names = [graph.get_by_text(asset, exact=True) for asset in (*ASSETS, "corpus_report")]
        boxes = [name.bounding_box() for name in names]
        places = [box["x"] for box in boxes if box]
        assert len(places) == 4
        assert places == sorted(places)
        expect(graph.locator("path[marker-end]")).to_have_count(3)


@pytest.mark.usefixtures("backfills")
def test_a_partition_is_materialized_by_clicking(
    server: str, checkout: Path, visit_page: Visit
) -> None:
    with visit_page("ui-materialized") as page:
        open_partition(page, server, "raw_shards", ALONE)
        assert colour(page, ALONE) == "grey"
        page.get_by_role("button", name="Materialize").first.click()
        page.get_by_role("button", name="Launch 1 run").click()
        expect(dot(page, ALONE)).to_have_attribute("style", re.compile("green"))
        assert colour(page, ALONE) == "green"
        page.reload()
        expect(page.get_by_text("Materialized", exact=True)).to_be_visible()
        result = receipt(checkout, "raw_shards", ALONE)
        expect(metadata(page, "documents")).to_have_text("50")
        expect(metadata(page, "text_bytes")).to_have_text(str(result["counts"]["bytes"]))
        table = metadata(page, "languages").get_by_role("table")
        table.scroll_into_view_if_needed()
        texts = [row.inner_text() for row in table.get_by_role("row").all()]
        rows = [text.replace("(none named)", "none").split() for text in texts]
        assert rows[0][:2] == ["language", "documents"]
        assert {row[0]: row[1] for row in rows[1:]} == {"none": "16", "C": "17", "Python": "17"}
        picture = metadata(page, "document_chars_histogram").locator("img")
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [272, 64]
    assert not (checkout / "data" / "fim_shards" / f"{ALONE}.json").exists()


@pytest.mark.usefixtures("ended")
def test_a_backfill_makes_a_range_and_one_with_bad_shards_fails(
    server: str, checkout: Path, visit_page: Visit
) -> None:
    with visit_page("ui-partitions") as page:
        for asset in ASSETS:
            open_partition(page, server, asset, "a")
            assert {key: colour(page, key) for key in GOOD} == dict.fromkeys(GOOD, "green")
            assert colour(page, "unreadable") == "red"
            assert colour(page, "unlucky") == ("green" if asset == "raw_shards" else "red")
            documents = metadata(page, "documents")
            expect(documents).to_have_text(str(receipt(checkout, asset, "a")["documents"]))


@pytest.mark.usefixtures("ended")
def test_a_run_that_was_killed_holds_no_queue(checkout: Path) -> None:
    assert runs_of(checkout)[-1] == DagsterRunStatus.FAILURE


@pytest.mark.usefixtures("ended")
def test_rates_checks_and_the_parts_of_documents_stand_in_the_metadata(
    server: str, checkout: Path, visit_page: Visit
) -> None:
    with visit_page("ui-metadata") as page:
        open_partition(page, server, "fim_shards", "a")
        result = receipt(checkout, "fim_shards", "a")
        expect(metadata(page, "files")).to_have_text(str(result["files"]))
        assert float(metadata(page, "fim_rate_asked").inner_text()) == 0.5
        shown = float(metadata(page, "fim_rate_realised").inner_text())
        assert shown == pytest.approx(realised(result), abs=1e-6)
        checks = metadata(page, "checks")
        checks.scroll_into_view_if_needed()
        for check in ("lossless", "rates_within_bounds", "split_law"):
            expect(checks).to_contain_text(check)
        expect(checks).to_contain_text("Documents that come back exactly: 50 of 50.")
        rate = metadata(page, "rates").get_by_role("row").nth(1)
        expect(rate).to_contain_text(re.compile(r"[+−]\d\.\d σ"))
        parts_stand_apart(metadata(page, "preview"), orders=1)
        metadata(page, "preview_documents").get_by_text("Show Markdown").click()
        parts_stand_apart(page.get_by_role("dialog"), orders=2)


def parts_stand_apart(preview: Locator, orders: int) -> None:
    labels = preview.locator("p").filter(has_text=re.compile("^[🟦🟧🟩]"))
    labels.first.wait_for()  # the text comes after the dialog
    parts = [tuple(label.inner_text().split()) for label in labels.all()]
    prefix, middle, suffix = (
        (square, f"<|fim_{part}|>", part)
        for square, part in (("🟦", "prefix"), ("🟧", "middle"), ("🟩", "suffix"))
    )
    files = {tuple(parts[at : at + 3]) for at in range(0, len(parts), 3)}
    assert files <= {(prefix, suffix, middle), (suffix, prefix, middle)}
    assert len(files) == orders
    for label in labels.all():
        expect(label.locator("xpath=following-sibling::*[1]/self::pre")).to_be_visible()


@pytest.mark.usefixtures("ended")
def test_nothing_of_a_partition_is_cut_off(server: str, visit_page: Visit) -> None:
    """In a window of 1,440 pixels no table is wider than the page leaves for it."""
    with visit_page("ui-widths") as page:
        page.set_viewport_size({"width": 1440, "height": 1000})
        for asset in ASSETS:
            open_partition(page, server, asset, "a")
            expect(metadata(page, "documents")).to_be_visible()
            assert cut_off(page) == 0


def cut_off(page: Page) -> int:
    """How many pixels of the metadata are hidden to the right."""
    pixels: int = page.get_by_role("table").first.evaluate(
        "table => table.parentElement.scrollWidth - table.parentElement.clientWidth"
    )
    return pixels


@pytest.mark.usefixtures("ended")
def test_numbers_are_plotted_over_the_partitions(
    server: str, checkout: Path, visit_page: Visit
) -> None:
    with visit_page("ui-plots") as page:
        open_plot(page, server, "fim_shards", "fim_rate_realised")
        values = plotted(page)
        assert values["fim_rate_realised"] == {
            key: pytest.approx(realised(receipt(checkout, "fim_shards", key)), abs=1e-6)
            for key in GOOD
        }
        assert {"psm_share_realised", "middle_chars_p95", "documents"} <= set(values)
        assert values["fim_rate_deviation"].keys() == set(GOOD)


@pytest.mark.usefixtures("ended")
def test_nothing_hostile_runs_in_the_ui(server: str, visit_page: Visit) -> None:
    with visit_page("ui-hostile") as page:
        for asset in ASSETS:
            open_partition(page, server, asset, HOSTILE_KEY)
            expect(metadata(page, "documents")).to_have_text("120")
            if asset != "raw_shards":
                preview = metadata(page, "preview")
                expect(preview.locator("pre").first).to_be_visible()
                assert preview.locator("script, iframe, svg, a").count() == 0
                metadata(page, "preview_documents").get_by_text("Show Markdown").click()
                dialog = page.get_by_role("dialog")
                expect(dialog.get_by_text("<script>window.forged=1</script>").first).to_be_visible()
                assert dialog.locator("script, iframe, svg, a").count() == 0
            assert page.evaluate("window.forged") is None


@pytest.mark.usefixtures("ended")
def test_a_failed_shard_is_named_with_line_and_reason(server: str, visit_page: Visit) -> None:
    with visit_page("ui-failed") as page:
        for asset, key, reason in (
            ("token_arrays", "unlucky", "check rates_within_bounds failed: "),
            ("raw_shards", "unreadable", "1 of 21 lines rejected"),
        ):
            open_partition(page, server, asset, key)
            page.get_by_role("button", name="View all historical events (1)").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_role("row").nth(1).click()
            for name, text in (("failure", reason), ("what_to_do", "fim-assets ")):
                shown = page.get_by_role("cell", name=name, exact=True).locator("xpath=..")
                expect(shown).to_contain_text(text)
        expect(dialog.get_by_role("table").last).to_contain_text("line 21: not_json")
        open_partition(page, server, "raw_shards", "unreadable")
        page.locator("a[href^='/runs/']").first.click()
        failure = page.get_by_text("2 of 2 partitions failed").first
        expect(failure).to_contain_text(
            re.compile(r"unreadable: raw_shards: .*unreadable\.jsonl: 1 of 21 lines")
        )
        expect(failure).to_contain_text("line 21: not_json")
        expect(failure).to_contain_text(re.compile("unlucky: fim_shards: .*rates_within_bounds"))
        expect(failure).to_contain_text("What to do:")


@pytest.mark.usefixtures("ended")
def test_a_failed_check_is_told(server: str, visit_page: Visit) -> None:
    with visit_page("ui-failed-check") as page:
        page.goto(f"{server}/assets/fim_shards?view=checks")
        for name in CHECKS_OF["fim_shards"]:
            expect(page.get_by_text(name, exact=True).first).to_be_visible()
        page.get_by_text("rates_within_bounds", exact=True).first.click()
        page.get_by_role("tab", name="Execution history").click()
        row = page.get_by_role("row").filter(has_text="1 failed")
        expect(row).to_contain_text("Failed")
        row.get_by_role("button").last.click()
        fault = page.get_by_role("dialog").get_by_role("row").filter(has_text="unlucky").last
        expect(fault).to_contain_text(re.compile(r"fim_rate: (\d+) of \1 at a probability of 0.5"))


@pytest.fixture(scope="module")
def report(server: str, ended: Path, visit_page: Visit) -> Path:
    """The report of the backfilled partitions, materialized by clicking."""
    with visit_page("ui-report-launched") as page:
        page.goto(f"{server}/assets/corpus_report")
        page.get_by_role("button", name="Materialize").first.click()
        expect(page.locator("a[href*='selection=corpus_report']")).to_be_visible()
    return ended / "corpus_report" / "report.html"


def test_the_report_is_materialized_by_clicking(
    server: str, report: Path, visit_page: Visit
) -> None:
    with visit_page("ui-report") as page:
        page.goto(f"{server}/assets/corpus_report")
        row = page.get_by_role("row").filter(has_text="partitions_complete")
        expect(row.get_by_role("cell").last).to_have_text(str(len(GOOD)))
        complete = f"{len(GOOD)} of {len([*GOOD, *BAD, ALONE])} partitions complete"
        verdict = page.get_by_role("row").filter(has_text="verdict").first
        expect(verdict).to_contain_text(complete)
        page.get_by_role("row").filter(has_text="card_text").get_by_text("Show Markdown").click()
        card = page.get_by_role("dialog")
        expect(card.get_by_role("heading", name="Fill-in-the-middle token arrays")).to_be_visible()
        assert card.locator("script, iframe, svg, a").count() == 0
        assert page.evaluate("window.forged") is None
    assert report.exists()


def test_the_documentations_pictures_can_be_taken(
    session: BrowserContext, server: str, report: Path, pictures: Path
) -> None:
    take_pictures(session, server, "a", report, pictures)
    for name in NAMES:
        assert (pictures / f"{name}.png").stat().st_size > 10_000
