"""The report as a browser shows it, from a file: drawn, readable, printable, and inert."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import FloatRect, Page, expect

from fim_assets.corpus_report.write import write_report
from fim_assets.recipe import load_recipe
from fim_assets_tests.corpora import (
    HOSTILE_KEY,
    documents,
    hostile_documents,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.end_to_end.browser import console_of, requests_of
from fim_assets_tests.end_to_end.conftest import Visit

UNFINISHED = "<img src=x onerror=window.forged=1>"
LANGUAGES = ["Python", "C", "Markdown", "Rust", "日本語", "x" * 60]

UNPAINTED_FIGURES = """figures => figures.filter(figure => {
    const painted = element => {
        const {width, height} = element.getBoundingClientRect();
        const {fill, stroke} = getComputedStyle(element);
        const nothing = ["none", "rgba(0, 0, 0, 0)"];
        return width + height > 2 && !(nothing.includes(fill) && nothing.includes(stroke));
    };
    const marks = [...figure.querySelectorAll("svg [fill]:not(text)")];
    const {width, height} = figure.querySelector("svg").getBoundingClientRect();
    return width < 100 || height < 40 || !marks.some(painted);
}).map(figure => figure.textContent)"""

PALE_TEXTS = """() => {
    const context = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const over = (colour, below) => {
        context.fillStyle = `rgb(${below.join()})`;
        context.fillRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const behind = element => {
        const below = element.parentElement ? behind(element.parentElement) : [255, 255, 255];
        return over(getComputedStyle(element).backgroundColor, below);
    };
    const luminance = colour => {
        const [red, green, blue] = colour.map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const pale = {};
    let seen = 0;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        const text = texts.currentNode.data.trim();
        if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
        seen += 1;
        const style = getComputedStyle(element);
        const below = behind(element);
        const colour = over(element instanceof SVGElement ? style.fill : style.color, below);
        const [dark, light] = [luminance(colour), luminance(below)].sort((a, b) => a - b);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < 4.5) pale[`${colour} on ${below}`] = text.slice(0, 40);
    }
    return seen > 100 ? pale : `only ${seen} texts`;
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a report: many languages, lines rejected, a shard unfinished, names hostile."""
    root = tmp_path_factory.mktemp("report")
    many = documents(300, "many")
    for number, document in enumerate(many):
        document["metadata"]["language"] = LANGUAGES[number % len(LANGUAGES)]
    shards: dict[str, list[Any]] = {
        "many": [*many, b"no document", b"", b'{"text": 1}'],
        "few": documents(60, "few"),
        HOSTILE_KEY: hostile_documents(),
        UNFINISHED: documents(20, "unfinished"),
    }
    for key, rows in shards.items():
        write_shard(root / "raw" / f"{key}.jsonl", rows)
    corpus = open_corpus(root)
    for outcome in run_all(corpus).values():
        assert outcome.failure is None
    (root / "fim_shards" / f"{UNFINISHED}.json").unlink()
    summary = write_report(corpus, sorted(shards))
    assert (summary.partitions.complete, summary.partitions.total) == (3, 4)
    return (root / "corpus_report" / "report.html").as_uri()


@pytest.fixture(scope="module")
def open_report(report: str, visit_page: Visit) -> Visit:
    """Opens the report in a page that must ask for nothing else and write nothing to the console.

    A picture of the whole page is kept under the name.
    """

    @contextmanager
    def opened(name: str) -> Iterator[Page]:
        with visit_page(name) as page:
            console, requests = console_of(page), requests_of(page)
            page.goto(report)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            yield page
            assert console == []
            assert [url for url in requests if not url.startswith("data:")] == [report]
            height = page.evaluate("document.documentElement.scrollHeight")
            page.set_viewport_size({"width": page.evaluate("innerWidth"), "height": height})

    return opened


def test_every_chart_is_drawn(open_report: Visit) -> None:
    with open_report("report-charts") as page:
        page.evaluate("document.querySelectorAll('details').forEach(its => its.open = true)")
        figures = page.locator("figure:has(svg)")
        assert figures.count() >= 8
        assert figures.evaluate_all(UNPAINTED_FIGURES) == []
        for figure in figures.all():
            assert figure.get_by_role("img").first.get_attribute("aria-label")


def test_hostile_names_are_shown_and_do_nothing(open_report: Visit) -> None:
    with open_report("report-hostile") as page:
        for shown in (HOSTILE_KEY, UNFINISHED, "</script><svg onload=window.forged=1>"):
            expect(page.get_by_text(shown).first).to_be_visible()
        assert page.evaluate("window.forged") is None
        assert page.locator("script, iframe, img, [onload], [onerror], b").count() == 0
        links = page.locator("a").evaluate_all("links => links.map(link => link.href)")
        assert all(link.startswith(("file:", "data:text/yaml")) for link in links)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(
    open_report: Visit, scheme: Literal["light", "dark"]
) -> None:
    with open_report(f"report-{scheme}") as page:
        page.emulate_media(color_scheme=scheme)
        red = int(re.findall(r"\d+", background(page))[0])
        assert (red < 128) == (scheme == "dark")
        assert page.evaluate(PALE_TEXTS) == {}


def test_it_fits_wide_and_narrow_screens(open_report: Visit) -> None:
    with open_report("report-narrow") as page:
        page.set_viewport_size({"width": 1440, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") == 1440
        left, right = (box["y"] for box in boxes(page, "#files .pair > div"))
        assert left == right, "two columns"
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        upper, lower = (box["y"] for box in boxes(page, "#files .pair > div"))
        assert upper < lower, "one column"
        # What is wider than the screen scrolls by itself, and all else is seen whole.
        partitions = page.locator("#partitions .scroll")
        assert partitions.evaluate("its => (its.scrollLeft = 9999, its.scrollLeft)") > 100
        outside = page.locator("main *:not(.scroll *, figure *, pre *, details *)")
        ends = outside.evaluate_all("all => all.map(its => its.getBoundingClientRect().right)")
        assert max(ends) <= 390


def boxes(page: Page, selector: str) -> list[FloatRect]:
    found = (its.bounding_box() for its in page.locator(selector).all())
    return [box for box in found if box]


def test_folded_tables_open_and_links_lead_to_files(open_report: Visit) -> None:
    with open_report("report-folded") as page:
        table = page.get_by_role("region", name="Languages with too few files to judge")
        expect(table).to_be_hidden()
        page.get_by_text("with too few files to judge").first.click()
        expect(table.get_by_role("rowheader").first).to_be_visible()
        links = page.locator("a").evaluate_all("links => links.map(link => link.href)")
        files = {unquote(urlsplit(link).path) for link in links if link.startswith("file:")}
        assert len(files) > 10
        assert all(Path(file).exists() for file in files)
        with page.expect_download() as download:
            page.get_by_role("link", name="recipe.yaml").first.click()
        assert download.value.suggested_filename == "recipe.yaml"
        assert load_recipe(download.value.path()).raw.max_rejected_share == 1


def test_it_prints_dark_on_white(open_report: Visit, pictures: Path) -> None:
    with open_report("report-print") as page:
        page.emulate_media(color_scheme="dark", media="print")
        assert background(page) == "rgb(255, 255, 255)"
        assert page.evaluate(PALE_TEXTS) == {}
        # What is folded is printed too.
        folded = boxes(page, "details:not([open]) .scroll")
        assert folded
        assert all(box["height"] > 30 for box in folded)
        printed = page.pdf(path=pictures / "report.pdf", format="A4")
        assert printed.startswith(b"%PDF-")
        assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 40


def background(page: Page) -> str:
    """The colour behind everything."""
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour
