"""What a cut method is: the contract that each keeps, and what several of them share.

A method is a module here that defines one `Cut`, and a line of `registry`: recipes, fingerprints,
statistics, checks and the report learn of it from there. A method knows no recipe. What calls it,
`fim_shards.decisions`, hands it files and the values of the fields that it names.

A recipe loads every method, and commands that only read a recipe must answer at once. So a method
imports NumPy and what else takes time where it cuts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias

if TYPE_CHECKING:
    from fim_assets.cuts.bounded import BoundedLaw
    from fim_assets.cuts.files import Files
    from fim_assets.draws import Floats, Ints, UInts

LONGER = "longer_than_context"
NOT_LAST = "not_last"

UNCHANGED = ("repository", "too_short", NOT_LAST, "gate", LONGER, "not_selected")
"""Why a file stays unchanged whatever its method, the first that holds: it is a repository's
metadata, it is too short for a method of the recipe, it is not the last of its document where that
alone is a candidate, its document is no candidate, its document would be longer than
`context.tokens`, it was not drawn. No method may use these names for reasons of its own."""

OF_SECTIONS = (NOT_LAST, LONGER)
"""Those that only recipes with certain sections or fields can have."""


class Cuts(NamedTuple):
    """Cuts of n files: code points before the middle and before the suffix, shape (n,) each."""

    first: "Ints"
    second: "Ints"


class Ranks(NamedTuple):
    """Where cuts stand in a distribution: uniform on [0, 1) and independent if they follow it.

    Of what is drawn first given the length, and of the other given both, shape (n,) each: the two
    cuts, or a bounded middle's length and its start.
    """

    first: "Floats"
    second: "Floats"


CutsOf: TypeAlias = "Callable[[UInts, Ints, Ints], Cuts]"
"""Cuts n files by their documents' keys, their indices in these, and their lengths in code points,
each of shape (n,)."""

RanksOf: TypeAlias = "Callable[[UInts, Ints, Ints, Cuts], Ranks]"
"""The ranks of such cuts: keys, indices and lengths as in `CutsOf`."""


@dataclass(frozen=True)
class Attempt:
    """What a method made of the files that it was given: each is cut, or there is a reason.

    `rows` are those that it cuts, indices into `Files`, shape (n,); `reasons` are by such an index.
    """

    rows: "Ints"
    cuts: Cuts
    reasons: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, answers: Mapping[int, tuple[int, int] | str]) -> Self:
        """From the two cuts of each file, or the reason why it has none, by index."""
        import numpy as np

        cuts = [(row, *answer) for row, answer in answers.items() if not isinstance(answer, str)]
        rows, first, second = np.array(cuts, np.int64).reshape(-1, 3).T
        reasons = {row: answer for row, answer in answers.items() if isinstance(answer, str)}
        return cls(rows, Cuts(first, second), reasons)


class CutError(ValueError):
    """A document, an index as in `Files.documents`, that has no cuts, or would have them by chance.

    The message says why, and what to do.
    """

    def __init__(self, document: int, message: str) -> None:
        super().__init__(message)
        self.document = document


@dataclass(frozen=True)
class Cut:
    """A cut method.

    Attributes:
        name: As recipes and records name it.
        text: Where it cuts, as the report says it.
        cut: Cuts some files. It is given them, the indices of those to cut, and `fields` as
            keywords. It draws by `RandomStream` from a document's key and a file's index alone, so
            that neither other files nor their order matter.
        min_chars: Code points of the shortest file that it is given.
        reasons: Why it cannot cut a file, each with the text that the report shows. With any, it
            needs `fim.split_fallback`, and cannot be it.
        mistakes: What a reason says of the recipe if the method cuts no file at all; `{path_field}`
            stands for the value of `raw.path_field`.
        ranks: For a method that depends on a file's length alone: the ranks of cuts in its
            distribution, not in [0, 1] for a cut that it cannot give. None: it looks at the text.
        bounded: For such a method: its law where `fim.max_middle` bounds the middle.
        fields: Fields of `fim` that matter to it, and not to every other method. With `max_middle`
            it is given a `Bound` or None, and keeps it; without, recipes with a bound refuse it.
        raw_fields: The same of `raw`; with `schema_name`, what languages' names mean matters to it.
        identity: What else decides where it cuts, such as a version, under keys of its own: a part
            of the fingerprints of the recipes that use it, and of no others.
    """

    name: str
    text: str
    cut: Callable[..., Attempt]
    min_chars: int = 1
    reasons: Mapping[str, str] = field(default_factory=dict)
    mistakes: Mapping[str, str] = field(default_factory=dict)
    ranks: "RanksOf | None" = None
    bounded: "BoundedLaw | None" = None
    fields: tuple[str, ...] = ()
    raw_fields: tuple[str, ...] = ()
    identity: Callable[[], dict[str, Any]] = dict


def cut_by_length(cuts: CutsOf) -> Callable[["Files", "Ints"], Attempt]:
    """The `cut` of a method that needs keys, file indices and lengths alone."""

    def cut(files: "Files", rows: "Ints") -> Attempt:
        return Attempt(rows, cuts(files.keys[rows], files.indices[rows], files.lengths[rows]))

    return cut


def distinct_pairs(keys: "UInts", files: "Ints", bounds: "Ints") -> Cuts:
    """Two distinct numbers from {0..bound-1} each, sorted: all unordered pairs as likely.

    Keys and indices of files are as in `CutsOf`, and bounds at least 2.
    """
    import numpy as np

    from fim_assets.draws import RandomStream, integers, uniforms

    # The other number is drawn from one value fewer, and those from the first number on move up by
    # one. With a bound of 3 and a first number of 1: the other is drawn from {0, 1}, and 1 becomes
    # 2. Each of the six ordered pairs has 1/3 · 1/2, and each of {0,1}, {0,2}, {1,2} has 1/3.
    first = integers(uniforms(keys, files, RandomStream.FIRST_CUT), bounds)
    second = integers(uniforms(keys, files, RandomStream.SECOND_CUT), bounds - 1)
    second += second >= first
    return Cuts(np.minimum(first, second), np.maximum(first, second))
