"""The corpus as a data-set card."""

from collections.abc import Mapping
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from fim_assets.corpus_report.examples import Examples
from fim_assets.corpus_report.facts import FILTERS, template_text
from fim_assets.corpus_report.summary import Gathered
from fim_assets.preview.markdown import code, fenced, to_markdown
from fim_assets.wording import escape_control_characters


def render_card(facts: Mapping[str, Any], gathered: Gathered, examples: Examples) -> str:
    """The card, Markdown behind YAML."""
    # What `finalize` has escaped for Markdown is not escaped for HTML too.
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_escaped,
    )
    environment.filters |= FILTERS | {
        "code": lambda text: _markdown(code(text).replace("|", "\\|")),
        "fenced": lambda text, *of: _markdown(fenced(text.strip(), *of)),
    }
    summary = gathered.summary
    documents = [document for _, document in examples.documents]
    return environment.from_string(template_text("card.md.j2")).render(
        facts,
        front_matter=_markdown(yaml.safe_dump(_front_matter(facts), sort_keys=False)),
        examples=_markdown(to_markdown(documents, summary.recipe.fim, None)) if documents else "",
    )


def _front_matter(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Hugging Face's data-set cards that are known to be true."""
    folders = [*filter(None, [facts["prefix"]]), "fim_shards"]
    fields: dict[str, Any] = {
        "license": "unknown",
        "pretty_name": "Fill-in-the-middle token arrays",
        "task_categories": ["text-generation"],
        "tags": ["fill-in-the-middle", "pre-training", "tokenized"],
        "size_categories": [_size_category(facts["totals"].documents)],
    }
    if facts["counts_every_shard"]:
        path = "/".join([*folders, "*.jsonl.zst"])
        fields["configs"] = [{"config_name": "fim_shards", "data_files": path}]
    return fields


def _size_category(documents: int) -> str:
    """The Hub's name of a number of documents."""
    names = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
    if documents < 1000:
        return "n<1K"
    power = len(str(documents)) - 4
    return f"{names[power]}<n<{names[power + 1]}" if power + 1 < len(names) else "n>1T"


def _escaped(value: Any) -> Any:
    """What stands in the card: of text, nothing that is markup or acts without being seen."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return _markdown(
        "".join(f"\\{c}" if c in _MARKUP else c for c in escape_control_characters(value))
    )


def _markdown(text: str) -> Markup:
    """Text that is Markdown already."""
    return Markup(text)  # noqa: S704 - the card is no HTML


_MARKUP = frozenset("\\`*_[]<>|~&!#$@")
