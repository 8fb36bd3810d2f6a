"""What to set in which trainer, a sentence each, from a recipe and what trainers see of its arrays.

What is said of trainers was tried with ai2-olmo-core 3.0.0, megatron-core 0.16.1 and 0.19.2, and
datatrove 0.10.1; their sources are named in `docs/arrays.md`.
"""

from collections.abc import Callable, Iterator

from fim_assets.recipe import Recipe
from fim_assets.token_arrays.effective_rate import EffectiveRates, chosen_length

Shares = Callable[[str, str], str]
"""A share of what a way of cutting does, as text in parentheses; '' where it is not known."""


def trainer_advice(recipe: Recipe, rates: EffectiveRates | None = None) -> list[str]:
    """The sentences for the recipe's layout; with numbers where there are arrays."""

    def share(way: str, name: str) -> str:
        if rates is None or not rates.files:
            return ""
        return f" ({rates.shares(rates.ways[way][length])[name]:.1%})"

    length = chosen_length(recipe)
    sentences = [*_ABOUT.get(recipe.tokens.layout, _nothing)(recipe, length, share)]
    if recipe.context is None:
        unknown = (
            "The recipe does not say how long the trainer's sequences are: these numbers are for "
            f"{length:,} tokens; context.tokens keeps documents that are longer from being cut in "
            "their middles."
        )
        sentences.append(unknown)
    return sentences


def _nothing(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    del recipe, length, share
    yield from ()


def _olmo_core(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    tokens = recipe.tokens
    if tokens.align:
        yield (
            f"OLMo-core: train with sequence_length {length}, or a multiple of it, on "
            "NumpyFSLDataset or ConcatAndChunkInstanceSource (source_group_size 1, the default): "
            "the arrays are laid out so that its chunks cut as few rearranged files as can be"
            f"{share('chunks', 'whole')}."
        )
    else:
        yield (
            f"OLMo-core: train with sequence_length {length} on NumpyPackedFSLDataset or "
            "PackingInstanceSource, which see rearranged files whole if they fit"
            f"{share('truncated', 'whole')}; the chunks of NumpyFSLDataset cut anywhere"
            f"{share('chunks', 'whole')}, unless tokens.align lays the arrays out for them."
        )
    if recipe.piece_tokens is None:
        yield (
            "OLMo-core's packing discards what a document has beyond a sequence"
            f"{share('truncated', 'discarded')}, unless long_doc_strategy is fragment."
        )
    if tokens.align == "pad":
        yield (
            "OLMo-core: set use_array_if_local to false where you pack, so that documents are "
            "those of the .csv.gz, which leaves padding out."
        )
    if tokens.label_mask is not None:
        yield (
            "OLMo-core takes label masks with paths alone: a source mixture and NumpyVSLDataset "
            "take none."
        )


def _megatron(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    del recipe
    yield (
        f"Megatron-LM: with --seq-length {length}, samples cut rearranged files anywhere"
        f"{share('samples', 'whole')}: its index shuffles documents, so that no order of the "
        "arrays can prevent it."
    )
    yield (
        "Megatron-LM: set --split 100,0,0; its default, 969,30,1, hangs for ever on arrays of 500 "
        "documents or fewer."
    )


def _datatrove(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    aligned = "are laid out for this length alone" if recipe.tokens.align else "cut anywhere"
    what = "the arrays" if recipe.tokens.align else "its instances"
    yield (
        f"datatrove: DatatroveFolderDataset with seq_len {length}; {what} {aligned}, rearranged "
        f"files are whole in instances{share('chunks_with_label', 'whole')}."
    )


_ABOUT: dict[str, Callable[[Recipe, int, Shares], Iterator[str]]] = {
    "dolma": _olmo_core,
    "megatron": _megatron,
    "datatrove": _datatrove,
}
