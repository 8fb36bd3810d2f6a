"""Jinja as both templates need it: what it escapes and how numbers are written."""

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template

from fim_assets.wording import plural, shown_language, shown_name


def load_template(
    name: str, finalize: Callable[[Any], Any], **filters: Callable[..., Any]
) -> Template:
    """Read a template of this folder, with filters that it alone needs.

    `finalize` makes a value harmless, before it is escaped for HTML unless it is `Markup`.
    """
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=finalize,
    )
    environment.filters |= {
        "number": "{:,}".format,
        "plural": plural,
        "percent": percent,
        "duration": _duration,
        "language": shown_language,
        "name": shown_name,
        **filters,
    }
    text = (files("fim_assets") / "corpus_report" / name).read_text("utf-8")
    return environment.from_string(text)


def percent(share: float | None) -> str:
    """A share in per cent, a dash for none."""
    return "–" if share is None else f"{share:.2%}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if hours < 1 else f"{hours:,.1f} h"
