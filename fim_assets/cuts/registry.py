"""The cut methods, by the names that recipes and records use.

To add one, define its `Cut` in a module of its own and add it to the end of `CUTS`. A recipe that
names several draws among them in this order, so that methods must not change places.
"""

from collections import UserDict

from fim_assets.cuts import dolma, lines, syntax, uniform
from fim_assets.cuts.base import UNCHANGED, Cut, RanksOf


class _Registry(UserDict[str, Cut]):
    """Refuses a reason that says of two methods, or of none, that they cannot cut a file."""

    def __setitem__(self, name: str, cut: Cut) -> None:
        if name != cut.name:
            raise ValueError(f"the cut method {cut.name} is registered as {name}")
        others = [reason for reason, owner in self.methods_by_reason().items() if owner != name]
        taken = cut.reasons.keys() & {*UNCHANGED, *others}
        if taken:
            raise ValueError(f"{name}: reasons that are taken: {', '.join(sorted(taken))}")
        super().__setitem__(name, cut)

    def methods_by_reason(self) -> dict[str, str]:
        """The method that each reason belongs to, why it cannot cut a file."""
        return {reason: name for name, cut in self.items() for reason in cut.reasons}

    def reason_texts(self) -> dict[str, str]:
        """What these reasons mean."""
        return {reason: text for cut in self.values() for reason, text in cut.reasons.items()}

    def rank_functions(self) -> dict[str, RanksOf]:
        """The ranks of each method that depends on a file's length alone."""
        return {name: cut.ranks for name, cut in self.items() if cut.ranks is not None}

    def bounded_rank_functions(self, most: int) -> dict[str, RanksOf]:
        """The same where middles have at most so many code points."""
        laws = {name: cut.bounded for name, cut in self.items()}
        return {name: law.ranks(most) for name, law in laws.items() if law is not None}

    def fallbacks(self) -> list[str]:
        """The methods that cut every file that is long enough, so that they can be a fallback."""
        return [name for name, cut in self.items() if not cut.reasons]


CUTS = _Registry({cut.name: cut for cut in (dolma.CUT, uniform.CUT, lines.CUT, syntax.CUT)})
