"""The corpus as one page of HTML, which loads nothing."""

from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from pydantic import BaseModel

from fim_assets.corpus_report.figures import make_figures
from fim_assets.corpus_report.heading import SECTIONS
from fim_assets.corpus_report.links import partition_links
from fim_assets.corpus_report.templates import load_template
from fim_assets.corpus_report.view import ROWS_SHOWN, SEEN_SHARES, ReportView
from fim_assets.preview.documents import DocumentPreview
from fim_assets.preview.view import Limits, ShownFile, show_files
from fim_assets.recipe import Recipe, harmless_yaml
from fim_assets.wording import escape_control_characters

_LANGUAGES_OPEN = 12
_LIMITS = Limits(files=2, lines=14, chars=1100)


class _Example(NamedTuple):
    """A document of the page, and its partition."""

    key: str
    document: DocumentPreview
    files: list[ShownFile]
    omitted: str


def render_page(view: ReportView) -> str:
    """The page."""
    template = load_template(
        "page.html.j2", escape_control_characters, sha256=_sha256, links=partition_links
    )
    return template.render(
        vars(view),
        figures=make_figures(view),
        examples=[
            _Example(key, document, *show_files(document.files, _LIMITS))
            for key, document in view.examples.documents
        ],
        unread=view.examples.unread,
        most_rows=ROWS_SHOWN,
        most_languages=_LANGUAGES_OPEN,
        seen_shares=SEEN_SHARES,
        recipe_lines=_recipe_lines(view.summary.recipe, Recipe()),
    )


def _recipe_lines(
    recipe: BaseModel, default: BaseModel, indent: str = ""
) -> Iterator[tuple[str, bool]]:
    """A recipe's lines as YAML, and whether each differs from the default's."""
    for name in type(recipe).model_fields:
        value, other = getattr(recipe, name), getattr(default, name)
        if type(value) is type(other) and isinstance(value, BaseModel) and name in SECTIONS:
            yield f"{indent}{name}:", False
            yield from _recipe_lines(value, other, f"{indent}  ")
            continue
        content = recipe.model_dump(mode="json", include={name})
        for line in harmless_yaml(content).splitlines() if content else ():
            yield f"{indent}{line}", value != other


def _sha256(content: str) -> str:
    """A Content-Security-Policy source for an inline style."""
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"
