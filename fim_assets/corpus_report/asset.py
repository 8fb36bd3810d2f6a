"""The asset `corpus_report`: what it says of itself. It is no stage: it has no partitions."""

from fim_assets.corpus.stage import About, functions
from fim_assets.corpus_report.write import write_report

_DESCRIPTION = """
All complete partitions added up, from their receipts alone.

| file | holds |
| :-- | :-- |
| `report.html` | rates, distributions and partitions as one page that needs no network |
| `summary.json` | the same numbers, and the arrays that a trainer should read |
| `README.md` | the data set's card |
| `token_arrays/mix.txt` | layout `dolma`: the arrays as OLMo-core's mixes list them |

- Only partitions count whose receipts are all there and agree with the recipe, with each other
  and with the files' sizes; why each of the others does not is listed.
- It is as old as its last run, and is not made in a run in which a partition fails.
"""

ABOUT = About(_DESCRIPTION, frozenset({"python", "report", "json"}), functions(write_report))
