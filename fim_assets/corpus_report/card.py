"""The corpus as a dataset card: Markdown behind YAML."""

from typing import Any

import yaml
from markupsafe import Markup

from fim_assets.corpus_report.templates import load_template
from fim_assets.corpus_report.view import ReportView
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.preview.markdown import code, fenced, to_markdown
from fim_assets.wording import escape_control_characters

_MARKUP = frozenset("\\`*_[]<>|~&!#$@")


def render_card(view: ReportView) -> str:
    """The card."""
    template = load_template(
        "card.md.j2",
        _escaped,
        code=lambda text: _markdown(code(text).replace("|", "\\|")),
        fenced=lambda text, *of: _markdown(fenced(text.strip(), *of)),
        documents=lambda previews: _markdown(to_markdown(previews)),
    )
    front_matter = _markdown(yaml.safe_dump(_front_matter(view), sort_keys=False))
    return template.render(vars(view), front_matter=front_matter)


def _front_matter(view: ReportView) -> dict[str, Any]:
    """The fields of Hugging Face's dataset cards that are known to be true."""
    fields: dict[str, Any] = {
        "license": "unknown",
        "pretty_name": "Fill-in-the-middle token arrays",
        "task_categories": ["text-generation"],
        "tags": ["fill-in-the-middle", "pre-training", "tokenized"],
        "size_categories": [_size_category(view.summary.totals.joined_documents)],
    }
    if view.counts_every_shard:
        path = "/".join(filter(None, [view.prefix, FIM_SHARDS.name, f"*{FIM_SHARDS.shard}"]))
        fields["configs"] = [{"config_name": FIM_SHARDS.name, "data_files": path}]
    return fields


def _size_category(documents: int) -> str:
    """The Hub's name of a number of documents."""
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if documents < 1000:
        return "n<1K"
    power = len(str(documents)) - 4
    return f"{names[power]}<n<{names[power + 1]}" if power + 1 < len(names) else "n>1T"


def _escaped(text: str) -> Markup:
    """Text in which nothing is markup, or acts without being seen."""
    shown = escape_control_characters(text)
    return _markdown("".join(f"\\{c}" if c in _MARKUP else c for c in shown))


def _markdown(text: str) -> Markup:
    """Text that is Markdown already, which is not escaped for HTML too."""
    return Markup(text)  # noqa: S704 - the card is no HTML
