"""The corpus's report: a page, a dataset card, the summary, and OLMo-core's mix.

The summary is the same for same receipts. Page and card also say how the partitions were made, and
show a few documents.
"""

from collections.abc import Sequence

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus_report.summary import CORPUS_REPORT, ListedArray, Summary
from fim_assets.fim_shards.stage import FIM_SHARDS
from fim_assets.io.locations import Location
from fim_assets.io.storage import names_in, remove, write_bytes
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.token_arrays.stage import TOKEN_ARRAYS

FILES = ("report.html", "README.md", "summary.json")
"""The files of `corpus_report`: page, dataset card and summary."""

_NO_FOLDER = "fim"
"""The label, in a mix, of arrays whose shard is in no folder below its glob's fixed part."""


def write_report(corpus: Corpus, keys: Sequence[str]) -> Summary:
    """Write `FILES` to `corpus_report`, and `token_arrays/mix.txt`; `keys` are all partitions.

    Each file replaces the old one at once. Only arrays in Dolma's layout are in a mix.
    """
    # What takes long to import here is not needed to define or run the others.
    from fim_assets.corpus_report.card import render_card
    from fim_assets.corpus_report.examples import find_examples
    from fim_assets.corpus_report.gather import gather
    from fim_assets.corpus_report.page import render_page
    from fim_assets.corpus_report.view import ROWS_SHOWN, build_view

    gathered = gather(corpus, keys, ROWS_SHOWN)
    examples = find_examples(corpus, gathered.partitions)
    shards = [n for n in names_in(corpus.folder(FIM_SHARDS.name)) if n.endswith(FIM_SHARDS.shard)]
    view = build_view(corpus, gathered, examples, len(shards))
    summary, folder, mix = gathered.summary, corpus.folder(CORPUS_REPORT), mix_file(corpus)
    contents = {
        folder / "report.html": render_page(view),
        folder / "README.md": render_card(view),
        folder / "summary.json": summary.model_dump_json(indent=1) + "\n",
    }
    if LAYOUTS[corpus.recipe.tokens.layout].has_mix:
        contents[mix] = _mix(summary.arrays)
    else:
        remove([mix])
    for path, content in contents.items():
        write_bytes(path, content.encode())
    return summary


def mix_file(corpus: Corpus) -> Location:
    """Where OLMo-core's mix is: with the arrays, whose paths it lists for a trainer.

    The report writes it, since no partition's run knows which others are complete.
    """
    return corpus.folder(TOKEN_ARRAYS.name) / "mix.txt"


def _mix(arrays: Sequence[ListedArray]) -> str:
    """Arrays as OLMo-core's mixes list theirs: `label,path`, paths relative to the data root.

    The label is the shard's top folder, which in a corpus sorted by language is the language. A
    reader strips lines, and takes one that begins with `#` for a comment.
    """
    rows = []
    for array in arrays:
        folder, separator, _ = array.partition.partition("__")
        label = folder.strip().lstrip("#") if separator else ""
        rows.append(f"{label or _NO_FOLDER},{array.path}\n")
    return "".join(rows)
