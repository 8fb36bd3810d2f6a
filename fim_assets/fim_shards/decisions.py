"""What is done to a file: it stays unchanged and why, or in which order and where it is cut."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fim_assets.cuts.base import UNCHANGED, Cuts
from fim_assets.cuts.files import Bools, Files
from fim_assets.cuts.registry import CUTS, reason_texts
from fim_assets.draws import Floats, Ints, RandomStream, uniforms
from fim_assets.recipe.fim import Fim, LanguageRates

Codes = npt.NDArray[np.int8]

NOTHING = -1
"""The code of no reason and of no cut method."""

_PSM, _SPM = 1, 2


def reason_names() -> tuple[str, ...]:
    """All reasons: why a file stays unchanged, and why the drawn method could not cut it."""
    return (*UNCHANGED, *reason_texts())


class Decisions(NamedTuple):
    """What is done to n files.

    Codes are good for this process alone, since cut methods may be added: records hold names.

    Attributes:
        orders: Index into `ORDERS`, shape (n,).
        splits: Index into `CUTS` of the method used, -1 for unchanged files, shape (n,).
        reasons: Index into `reason_names`, -1 for files that the drawn method has cut, shape (n,).
        cuts: Where the middle begins and ends; zeros for unchanged files.
    """

    orders: Codes
    splits: Codes
    reasons: Codes
    cuts: Cuts


def decide(files: Files, fim: Fim) -> Decisions:
    """Decide about each file on its own: by the recipe, its document's key and its index in it.

    Raises:
        CutError: If the cuts of a document would be left to chance.
    """
    count = len(files.texts)
    decisions = Decisions(
        orders=np.zeros(count, np.int8),
        splits=np.full(count, NOTHING, np.int8),
        reasons=_unchanged(files, fim),
        cuts=Cuts(np.zeros(count, np.int64), np.zeros(count, np.int64)),
    )
    rows = np.flatnonzero(decisions.reasons == NOTHING)
    keys, indices = files.keys[rows], files.indices[rows]
    psm = uniforms(keys, indices, RandomStream.ORDER) < fim.psm_spm_split
    decisions.orders[rows] = np.where(psm, _PSM, _SPM)

    edges = np.cumsum([*fim.weights.values()])[:-1]
    drawn = np.searchsorted(edges, uniforms(keys, indices, RandomStream.SPLIT), side="right")
    uncut = [
        _cut(name, files, rows[drawn == number], decisions, fim)
        for number, name in enumerate(fim.weights)
    ]
    _cut(fim.split_fallback, files, np.sort(np.concatenate(uncut)), decisions, fim)
    return decisions


def _unchanged(files: Files, fim: Fim) -> Codes:
    """Why files stay unchanged."""
    rates: Floats | float
    if isinstance(fim.fim_rate, LanguageRates):
        rates = np.array([fim.rate(language) for language in files.languages])[files.documents]
    else:
        rates = fim.fim_rate
    gate = uniforms(files.keys, np.zeros_like(files.indices), RandomStream.GATE)
    holds: dict[str, Bools] = {
        "repository": files.markers,
        "too_short": files.lengths < fim.min_chars,
        "gate": gate >= fim.document_rate,
        "not_selected": uniforms(files.keys, files.indices, RandomStream.SELECT) >= rates,
    }
    conditions = [holds[reason] for reason in UNCHANGED]
    codes: Codes = np.select(conditions, range(len(conditions)), NOTHING).astype(np.int8)
    return codes


def _cut(name: str, files: Files, rows: Ints, decisions: Decisions, fim: Fim) -> Ints:
    """Let a method cut some files, and return those that it cannot cut.

    Raises:
        RuntimeError: If it neither cuts each of them nor has a reason of its own.
    """
    method = CUTS[name]
    attempt = method.cut(files, rows, **{field: getattr(fim, field) for field in method.fields})
    uncut = np.array([*attempt.reasons], np.int64)
    answered = np.sort(np.append(attempt.rows, uncut))
    if not np.array_equal(answered, rows) or {*attempt.reasons.values()} - method.reasons.keys():
        raise RuntimeError(f"{name} must cut each file, or give one of its reasons")
    decisions.splits[rows] = [*CUTS].index(name)
    decisions.cuts.first[attempt.rows], decisions.cuts.second[attempt.rows] = attempt.cuts
    codes = {reason: code for code, reason in enumerate(reason_names())}
    decisions.reasons[uncut] = [codes[reason] for reason in attempt.reasons.values()]
    return uncut
