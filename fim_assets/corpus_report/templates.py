"""Jinja as both templates need it: what it escapes, and how numbers and recipes are written."""

from collections.abc import Callable
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from fim_assets.recipe import built_in_name, harmless_yaml, recipe_yaml
from fim_assets.wording import plural, shown_language, shown_name


def load_template(
    name: str, harmless: Callable[[str], str], **filters: Callable[..., Any]
) -> Template:
    """Read a template of this folder, with filters that it alone needs.

    What stands in it goes through `harmless` and is escaped for HTML, unless it is `Markup`.
    """

    def finalize(value: Any) -> Any:
        return (
            harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value
        )

    environment = Environment(
        loader=PackageLoader("fim_assets.corpus_report", ""),
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
        "span": _span,
        "duration": _duration,
        "language": shown_language,
        "name": shown_name,
        "built_in_name": built_in_name,
        "all_fields": lambda recipe: harmless_yaml(recipe.model_dump(mode="json")),
        "differing_fields": recipe_yaml,
        **filters,
    }
    return environment.get_template(name)


def percent(share: float | None) -> str:
    """A share in per cent, a dash for none."""
    return "–" if share is None else f"{share:.2%}"


def _span(shares: tuple[float, float] | None) -> str:
    """Two shares in per cent, from the less to the more, a dash for none."""
    return "–" if shares is None else "–".join(f"{100 * share:.2f}" for share in shares) + "%"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours = seconds / 60, seconds / 3600
    return f"{minutes:.1f} min" if hours < 1 else f"{hours:,.1f} h"
