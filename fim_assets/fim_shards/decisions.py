"""What is done to a file: it stays unchanged and why, or in which order and where it is cut."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fim_assets.cuts.base import LONGER, NOT_LAST, UNCHANGED, CutError, Cuts
from fim_assets.cuts.bounded import ENDS, Bound
from fim_assets.cuts.files import Bools, Files
from fim_assets.cuts.registry import CUTS
from fim_assets.draws import Ints, RandomStream, uniforms
from fim_assets.fim_shards.fitting import Fitting, Longer, Names, find_longer
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.tokenizer.encoders import UnencodableTextError
from fim_assets.wording import plural

if TYPE_CHECKING:
    from fim_assets.tokenizer.encoders import TokenIds
    from fim_assets.tokenizer.load import LoadedTokenizer


def unchanged_meanings(fim: Fim) -> dict[str, str]:
    """What the reasons in `UNCHANGED` say about a file."""
    return {
        "repository": "holds a repository token",
        "too_short": f"under {plural(fim.min_chars, 'character')}",
        NOT_LAST: "not the last file of its document, as fim.files says",
        "gate": "its document was not drawn, at the probability document_rate",
        LONGER: "its document would be longer than context.tokens",
        "not_selected": "not drawn, at the probability fim_rate",
    }


class Decisions(NamedTuple):
    """What is done to n files, in arrays of shape (n,).

    Attributes:
        orders: Their `ORDERS`.
        splits: The cut methods used, None for unchanged files.
        reasons: Why a file is unchanged, one of `UNCHANGED`; why the drawn method could not cut it,
            one of its reasons; or None.
        cuts: Where the middle begins and ends; zeros for unchanged files.
        longer: Where documents are to be divided, those that do not fit: the ids of their files as
            they came, by file.
    """

    orders: Names
    splits: Names
    reasons: Names
    cuts: Cuts
    longer: "dict[int, TokenIds]"


def decide(
    files: Files, recipe: Recipe, tokenizer: "LoadedTokenizer | None", limit: int | None = None
) -> Decisions:
    """Decide about each file on its own: by the recipe, its document's key and its index in it.

    The tokenizer is the recipe's, None unless `Recipe.fim_needs_tokenizer`. With a section
    `context`, documents of more than `limit` ids stay unchanged, by default `context.tokens`.

    Raises:
        CutError: If the parser of a file was killed or crashes by chance, or a file whose ids count
            cannot be encoded.
    """
    fim, count = recipe.fim, len(files.texts)
    orders, splits, reasons = (np.full(count, value, np.object_) for value in ("none", None, None))
    decisions = Decisions(orders, splits, reasons, Cuts(*np.zeros((2, count), np.int64)), {})
    unchanged = _unchanged(files, recipe)
    if recipe.context is None or tokenizer is None:
        _rearrange(files, np.flatnonzero(~_any(unchanged)), decisions, fim, tokenizer)
    else:
        fitting = Fitting(recipe, tokenizer, limit or recipe.context.tokens)
        longer = _rearrange_what_fits(files, unchanged, decisions, fitting)
        unchanged[LONGER] = longer.documents[files.documents]
        decisions = decisions._replace(longer=longer.ids)
    for reason in reversed(UNCHANGED):
        if reason in unchanged:
            reasons[unchanged[reason]] = reason
    return decisions


def _any(conditions: Mapping[str, Bools], *left_out: str) -> Bools:
    held: Bools = np.any([conditions[name] for name in conditions if name not in left_out], axis=0)
    return held


def _rearrange_what_fits(
    files: Files, unchanged: Mapping[str, Bools], decisions: Decisions, fitting: Fitting
) -> Longer:
    """Rearrange the files that are drawn, in documents that fit; and say which do not.

    Whether a document fits must not depend on its being drawn: where it is in question, its files
    are cut as if all were, and those that are not are put back.
    """
    drawn = ~_any(unchanged)
    # What is divided is drawn anew piece by piece, so that here the gate's draw is none.
    undrawn = ("not_selected", "gate") if fitting.divides else ("not_selected",)
    can_be_drawn = ~_any(unchanged, *undrawn)
    in_question = fitting.may_exceed(files)
    if not fitting.divides:
        in_question &= np.bincount(files.documents, can_be_drawn, len(in_question)) > 0
    as_if = np.flatnonzero(drawn | (can_be_drawn & in_question[files.documents]))
    _rearrange(files, as_if, decisions, fitting.recipe.fim, fitting.tokenizer)
    longer = find_longer(files, decisions.orders, decisions.cuts, in_question, fitting)
    back = as_if[~drawn[as_if] | longer.documents[files.documents[as_if]]]
    decisions.orders[back] = "none"
    decisions.splits[back] = decisions.reasons[back] = None
    decisions.cuts.first[back] = decisions.cuts.second[back] = 0
    return longer


def _rearrange(
    files: Files,
    rows: Ints,
    decisions: Decisions,
    fim: Fim,
    tokenizer: "LoadedTokenizer | None",
) -> None:
    """Draw the order of some files, and cut them by the method that is drawn."""
    keys, indices = files.keys[rows], files.indices[rows]
    psm = uniforms(keys, indices, RandomStream.ORDER) < fim.psm_spm_split
    decisions.orders[rows] = np.where(psm, "psm", "spm").astype(np.object_)

    edges = np.cumsum([*fim.weights.values()])[:-1]
    drawn = np.searchsorted(edges, uniforms(keys, indices, RandomStream.SPLIT), side="right")
    fields = dict(fim) | {"max_middle": _bound(fim, tokenizer)}
    uncut = [
        _cut(name, files, rows[drawn == number], decisions, fields)
        for number, name in enumerate(fim.weights)
    ]
    _cut(fim.split_fallback, files, np.sort(np.concatenate(uncut)), decisions, fields)


def _unchanged(files: Files, recipe: Recipe) -> dict[str, Bools]:
    """Whether each reason to leave a file unchanged holds, shape (n,)."""
    fim, rate_of = recipe.fim, {name: recipe.rate(name) for name in {*files.languages}}
    rates = np.array([rate_of[language] for language in files.languages])
    not_last = np.append(files.indices[1:] > 0, np.zeros(min(len(files.indices), 1), np.bool_))
    not_last &= fim.files == "last"
    gate = uniforms(files.keys, np.zeros_like(files.indices), RandomStream.GATE)
    return {
        "repository": files.markers,
        "too_short": files.lengths < fim.min_chars,
        NOT_LAST: not_last,
        "gate": gate >= fim.document_rate,
        "not_selected": uniforms(files.keys, files.indices, RandomStream.SELECT) >= rates,
    }


def _bound(fim: Fim, tokenizer: "LoadedTokenizer | None") -> Bound | None:
    if fim.max_middle is None:
        return None
    ends = ENDS
    if tokenizer is not None:
        from fim_assets.tokenizer.token_ends import token_ends

        ends = ENDS | {"tokens": partial(token_ends, tokenizer)}
    [(unit, most)] = fim.max_middle.given.items()
    return Bound(unit, most, ends[unit])


def _cut(
    name: str, files: Files, rows: Ints, decisions: Decisions, fields: Mapping[str, Any]
) -> Ints:
    """Let a method cut some files, and return those that it cannot cut."""
    method = CUTS[name]
    try:
        attempt = method.cut(files, rows, **{field: fields[field] for field in method.fields})
    except UnencodableTextError as error:
        raise _unencodable(files, rows, fields["max_middle"]) from error
    uncut, reasons = np.array([*attempt.reasons], np.int64), [*attempt.reasons.values()]
    answered = np.sort(np.append(attempt.rows, uncut))
    if not np.array_equal(answered, rows) or {*reasons} - method.reasons.keys():
        raise RuntimeError(f"{name} must cut each file, or give one of its reasons")
    decisions.splits[rows] = name
    decisions.cuts.first[attempt.rows], decisions.cuts.second[attempt.rows] = attempt.cuts
    decisions.reasons[uncut] = reasons
    return uncut


def _unencodable(files: Files, rows: Ints, bound: Bound) -> CutError:
    """The error for the first file that cannot be encoded: what is encoded may be a part of it."""
    for row in rows.tolist():
        try:
            bound.ends([files.texts[row]])
        except UnencodableTextError as error:
            advice = "take the document out of the raw shard, or shorten its runs of one character"
            return CutError(int(files.documents[row]), f"{error}; {advice}")
    raise AssertionError("a part cannot be encoded, but its file can")
