"""The report as a browser shows it, from a file: drawn, readable, printable, and inert."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fim_assets.report import write_report
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
    const marks = [...figure.querySelectorAll("svg [class*=role-mark] path, svg rect")];
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


@pytest.fixture
def opened(report: str, visit_page: Visit, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The report in a page that must ask for nothing else and write nothing to the console."""
    name = request.node.name.removeprefix("test_").replace("_", "-")
    with visit_page(name) as page:
        console, requests = console_of(page), requests_of(page)
        page.goto(report)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        yield page
        assert console == []
        assert [url for url in requests if not url.startswith("data:")] == [report]


def whole(page: Page, folder: Path, name: str) -> None:
    """Keep a picture of the whole page."""
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def test_every_chart_is_drawn(opened: Page, pictures: Path) -> None:
    figures = opened.locator("figure:has(svg)")
    assert figures.count() >= 8
    assert figures.evaluate_all(UNPAINTED_FIGURES) == []
    for figure in figures.all():
        assert figure.get_by_role("img").first.get_attribute("aria-label")
    whole(opened, pictures, "report-light")


def test_hostile_names_are_shown_and_do_nothing(opened: Page) -> None:
    for shown in (HOSTILE_KEY, UNFINISHED, "</script><svg onload=window.forged=1>"):
        expect(opened.get_by_text(shown).first).to_be_visible()
    assert opened.evaluate("window.forged") is None
    assert opened.locator("script, iframe, img, [onload], [onerror], b").count() == 0
    links = opened.locator("a").evaluate_all("links => links.map(link => link.href)")
    assert all(link.startswith(("file:", "https://")) for link in links)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_background(opened: Page, pictures: Path, scheme: str) -> None:
    opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    light, *_ = map(
        int, re.findall(r"\d+", opened.evaluate("getComputedStyle(document.body).backgroundColor"))
    )
    assert (light < 128) == (scheme == "dark")
    assert opened.evaluate(PALE_TEXTS) == {}
    whole(opened, pictures, f"report-{scheme}")


def test_a_narrow_page_does_not_scroll_sideways(opened: Page, pictures: Path) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    assert opened.evaluate("document.documentElement.scrollWidth") == 390
    whole(opened, pictures, "report-narrow")


def test_it_prints_dark_on_white(opened: Page, pictures: Path) -> None:
    opened.emulate_media(color_scheme="dark", media="print")
    background = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    assert opened.evaluate(PALE_TEXTS) == {}
    opened.emulate_media(color_scheme="dark")
    printed = opened.pdf(path=pictures / "report.pdf", format="A4")
    assert printed.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 40
