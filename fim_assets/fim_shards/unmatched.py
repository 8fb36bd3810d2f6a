"""What a recipe names and no document has, so that it changes nothing: often it is misspelt."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from fim_assets.cuts.registry import CUTS
from fim_assets.recipe import Recipe
from fim_assets.statistics.counts import counted
from fim_assets.wording import shown_language

_NAMES_SHOWN = 5


def unmatched_languages(
    named: Collection[str], present: Collection[str]
) -> list[tuple[str, list[str]]]:
    """The languages that a recipe names and no document has, with the data's names that are close.

    Names that differ in case alone are the closest; those that the recipe names too are left out.
    '' is no language.

    >>> unmatched_languages({"Markdown", "C"}, {"C", "markdown", "Python"})
    [('Markdown', ['markdown'])]
    """
    spellings: dict[str, list[str]] = {}
    for name in sorted({*present} - {*named, ""}):
        spellings.setdefault(name.casefold(), []).append(name)
    unmatched = []
    for name in sorted({*named} - {*present}):
        close = get_close_matches(name.casefold(), spellings)
        unmatched.append((name, [spelling for folded in close for spelling in spellings[folded]]))
    return unmatched


@dataclass
class Occurrences:
    """Languages and cuts in some partitions, counted.

    By language, '' is none, documents or their files that are long enough to cut; rearranged files
    by cut method; those that the drawn method could not cut, by reason. `repositories` are those
    that files name, and `unnamed` are files that name none.
    """

    languages: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    repositories: int = 0
    unnamed: int = 0

    def add(self, counts: Mapping[str, int]) -> None:
        """Take the counts of one more receipt into account."""
        self.languages.update(counted(counts, "documents"))
        self.languages.update(counted(counts, "distinct_eligible"))
        self.splits.update(counted(counts, "split"))
        self.fallbacks.update(counted(counts, "fallback"))
        self.repositories += counts.get("repositories", 0)
        self.unnamed += counts.get("files_without_repository", 0)


def unmatched_names(recipe: Recipe, occurrences: Occurrences, *, complete: bool) -> list[str]:
    """What of a recipe matches nothing though it decides the bytes, a sentence each.

    `complete` says that these are all documents of the corpus. Of a part of them, a language that
    is not there is named only where another is close: another part may hold it.
    """
    found = [*_languages(recipe, occurrences, complete=complete), *_methods(recipe, occurrences)]
    if occurrences.unnamed and not occurrences.repositories:
        found.append(
            f"no file names a repository in {recipe.repository_field}, so that each is a document "
            "of its own: set repositories.name_field (`fim-assets doctor` says which fields are "
            "there)"
        )
    return found


def _languages(recipe: Recipe, occurrences: Occurrences, *, complete: bool) -> Iterator[str]:
    named = recipe.fim.languages
    if not named or not occurrences.languages:
        return
    if occurrences.languages.keys() == {""}:
        yield (
            f"no document names a language in raw.language_field, {recipe.raw.language_field}: "
            f"fim.fim_rate is its default for all, and not what it is for {_shown(sorted(named))}"
        )
        return
    present = [language for language, _ in occurrences.languages.most_common() if language]
    names = {language: recipe.named(language) for language in present}
    others = [language for language in present if names[language] not in named]
    for name, close in unmatched_languages(named - {*names.values()}, others):
        if close or complete:
            instead = f"close: {_shown(close)}" if close else f"they name {_shown(present)}"
            yield (
                f"fim.fim_rate is set for the language {shown_language(name)}, which no document "
                f"names; {instead}"
            )


def _methods(recipe: Recipe, occurrences: Occurrences) -> Iterator[str]:
    unused = [name for name in recipe.fim.weights if not occurrences.splits[name]]
    mistakes = [(name, *mistake) for name in unused for mistake in CUTS[name].mistakes.items()]
    for name, reason, mistake in mistakes:
        if uncut := occurrences.fallbacks[reason]:
            yield (
                f"fim.split names {name}, which cut no file: {uncut:,} were cut by the fallback, "
                f"since {mistake.format_map(dict(recipe.raw))}"
            )


def _shown(languages: list[str]) -> str:
    shown = ", ".join(map(shown_language, languages[:_NAMES_SHOWN]))
    more = len(languages) - _NAMES_SHOWN
    return f"{shown} and {more:,} more" if more > 0 else shown
