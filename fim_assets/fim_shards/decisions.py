"""What is done to a file: left alone and why, or rearranged, in which order and where it is cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from fim_assets.cuts import syntax
from fim_assets.cuts.parser_process import ParserError, Request, find_middles
from fim_assets.cuts.splits import (
    Cuts,
    character_cuts,
    code_points,
    line_cuts,
    line_starts,
    min_chars,
)
from fim_assets.draws import Floats, Ints, RandomStream, UInts, uniforms
from fim_assets.recipe.fim import SPLITS, CharacterSplit, Fim, LanguageRates
from fim_assets.wording import plural

Codes = npt.NDArray[np.int8]

LeftAlone = Literal["repository", "too_short", "gate", "not_selected"]
LEFT_ALONE: tuple[LeftAlone, ...] = get_args(LeftAlone)
"""Why a file is left alone, the first that holds: it is a repository's marker, it is too short for
a law of the recipe, its document is no candidate, it was not drawn."""


def unchanged_meanings(fim: Fim) -> dict[str, str]:
    """What the reasons in `LEFT_ALONE` say about a file."""
    return {
        "repository": "holds a repository token",
        "too_short": f"under {plural(min_chars(fim), 'character')}",
        "gate": "its document was not drawn, at the probability document_rate",
        "not_selected": "not drawn, at the probability fim_rate",
    }


FALLBACKS = ("one_line", *syntax.REASONS)
"""Why `lines` or `syntax` could not cut a file, so that `fim.split_fallback` did."""

REASONS = (*LEFT_ALONE, *FALLBACKS)

NOTHING = -1
"""The code of no reason and of no split."""

_PSM, _SPM = 1, 2


class DecisionError(ValueError):
    """A document about which nothing can be decided that would stand; the message says why.

    Attributes:
        document: Its index among those that were given.
    """

    def __init__(self, document: int, message: str) -> None:
        super().__init__(message)
        self.document = document


@dataclass(frozen=True)
class Files:
    """The files of some documents, one after the other.

    Attributes:
        texts: Their texts, n.
        documents: Index of each file's document, shape (n,).
        indices: Index of each file in its document, shape (n,).
        lengths: Code points, shape (n,).
        keys: Key of each file's document, shape (n,).
        languages: Language of each document, None where it names none.
        paths: Path of each document, None where it has none.
    """

    texts: list[str]
    documents: Ints
    indices: Ints
    lengths: Ints
    keys: UInts
    languages: Sequence[str | None]
    paths: Sequence[str | None]

    @classmethod
    def split(
        cls,
        texts: Sequence[str],
        keys: UInts,
        languages: Sequence[str | None],
        paths: Sequence[str | None],
        separator: str | None,
    ) -> Self:
        """Cut documents at their separators.

        Args:
            texts: The documents' texts.
            keys: Their keys.
            languages: Their languages.
            paths: Their paths.
            separator: What stands between files; None: a document is one file.
        """
        files: list[str] = []
        counts = np.ones(len(texts), np.int64)
        for document, text in enumerate(texts):
            if separator is None or separator not in text:
                files.append(text)
                continue
            pieces = text.split(separator)
            files += pieces
            counts[document] = len(pieces)
        documents = np.repeat(np.arange(len(texts)), counts)
        firsts = np.cumsum(counts) - counts
        return cls(
            texts=files,
            documents=documents,
            indices=np.arange(len(files)) - firsts[documents],
            lengths=np.fromiter(map(len, files), np.int64, len(files)),
            keys=keys[documents],
            languages=languages,
            paths=paths,
        )


class Decisions(NamedTuple):
    """What is done to n files.

    Attributes:
        orders: Index into `ORDERS`, shape (n,).
        splits: Index into `SPLITS` of the law used, -1 for files left alone, shape (n,).
        reasons: Index into `REASONS`, -1 for files that the drawn law has cut, shape (n,).
        cuts: Where the middle begins and ends; zeros for files left alone.
    """

    orders: Codes
    splits: Codes
    reasons: Codes
    cuts: Cuts


def decide(files: Files, fim: Fim) -> Decisions:
    """Decide about each file on its own: by the recipe, its document's key and its index in it.

    Raises:
        DecisionError: If the parser that `syntax` needs was killed, or crashes by chance.
    """
    count = len(files.texts)
    markers = _markers(files, fim)
    reasons = _left_alone(files, markers, fim)
    rows = np.flatnonzero(reasons == NOTHING)
    keys, indices = files.keys[rows], files.indices[rows]
    psm = uniforms(keys, indices, RandomStream.ORDER) < fim.psm_spm_split
    orders = np.zeros(count, np.int8)
    orders[rows] = np.where(psm, _PSM, _SPM)

    splits = np.full(count, NOTHING, np.int8)
    splits[rows] = _draw_splits(uniforms(keys, indices, RandomStream.SPLIT), fim)
    cuts = Cuts(np.zeros(count, np.int64), np.zeros(count, np.int64))
    _cut_at_lines(files, splits, cuts, reasons)
    _cut_at_syntax(files, splits, cuts, reasons, markers, fim)
    splits[reasons >= len(LEFT_ALONE)] = SPLITS.index(fim.split_fallback)
    for split in get_args(CharacterSplit):
        cut = np.flatnonzero(splits == SPLITS.index(split))
        cuts.first[cut], cuts.second[cut] = character_cuts(
            split, files.keys[cut], files.indices[cut], files.lengths[cut]
        )
    return Decisions(orders, splits, reasons, cuts)


def _markers(files: Files, fim: Fim) -> npt.NDArray[np.bool_]:
    """Files that hold a repository token."""
    if not fim.repository_tokens:
        return np.zeros(len(files.texts), np.bool_)
    return np.array([any(t in text for t in fim.repository_tokens) for text in files.texts], bool)


def _left_alone(files: Files, markers: npt.NDArray[np.bool_], fim: Fim) -> Codes:
    rates: Floats | float
    if isinstance(fim.fim_rate, LanguageRates):
        rates = np.array([fim.rate(language) for language in files.languages])[files.documents]
    else:
        rates = fim.fim_rate
    gate = uniforms(files.keys, np.zeros_like(files.indices), RandomStream.GATE)
    why: dict[LeftAlone, npt.NDArray[np.bool_]] = {
        "repository": markers,
        "too_short": files.lengths < min_chars(fim),
        "gate": gate >= fim.document_rate,
        "not_selected": uniforms(files.keys, files.indices, RandomStream.SELECT) >= rates,
    }
    codes = [REASONS.index(reason) for reason in why]
    return np.select(list(why.values()), codes, NOTHING).astype(np.int8)


def _draw_splits(uniform: Floats, fim: Fim) -> Codes:
    laws = np.array([SPLITS.index(split) for split in fim.weights], np.int8)
    edges = np.cumsum(list(fim.weights.values()))[:-1]
    return laws[np.searchsorted(edges, uniform, side="right")]


def _cut_at_lines(files: Files, splits: Codes, cuts: Cuts, reasons: Codes) -> None:
    served: list[int] = []
    starts: list[Ints] = []
    for row in np.flatnonzero(splits == SPLITS.index("lines")).tolist():
        its = line_starts(files.texts[row])
        if len(its) > 1 and its[1] < files.lengths[row]:
            served.append(row)
            starts.append(its)
        else:
            reasons[row] = REASONS.index("one_line")
    rows = np.array(served, np.int64)
    cuts.first[rows], cuts.second[rows] = line_cuts(files.keys[rows], files.indices[rows], starts)


def _cut_at_syntax(
    files: Files,
    splits: Codes,
    cuts: Cuts,
    reasons: Codes,
    markers: npt.NDArray[np.bool_],
    fim: Fim,
) -> None:
    rows: list[int] = []
    requests: list[Request] = []
    befores: list[int] = []
    for row in np.flatnonzero(splits == SPLITS.index("syntax")).tolist():
        index, document = int(files.indices[row]), int(files.documents[row])
        code, language, path = files.texts[row], files.languages[document], files.paths[document]
        before = 0
        if markers[row - index]:
            # In a repository's document the first line of each file is its path, and no code.
            path, feed, code = code.partition("\n")
            language, before = None, len(path) + len(feed)
        grammar, source = syntax.find_grammar(language, path), code.encode()
        if grammar is None:
            reasons[row] = REASONS.index("no_grammar")
        elif len(source) > fim.syntax_max_bytes:
            reasons[row] = REASONS.index("too_large")
        else:
            rows.append(row)
            befores.append(before)
            requests.append(Request(source, grammar, int(files.keys[row]), index))
    try:
        answers = find_middles(requests)
    except ParserError as error:
        raise DecisionError(int(files.documents[rows[error.request]]), str(error)) from error
    for row, request, before, answer in zip(rows, requests, befores, answers, strict=True):
        if isinstance(answer, str):
            reasons[row] = REASONS.index(answer)
        else:
            cuts.first[row] = before + code_points(request.source, answer.start)
            cuts.second[row] = before + code_points(request.source, answer.end)
