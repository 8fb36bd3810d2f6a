"""What to set in which trainer, a sentence each, from a recipe and what trainers see of its arrays.

What is said of trainers was tried with ai2-olmo-core 3.0.0, megatron-core 0.16.1 and 0.19.2, and
datatrove 0.10.1; their sources are named in `docs/arrays.md`.
"""

from collections.abc import Callable, Iterator

from fim_assets.recipe import Recipe
from fim_assets.token_arrays.effective_rate import EffectiveRates, chosen_length

_OF = {"whole": "are whole", "discarded": "of all tokens"}
"""What is said behind a share: of the rearranged files, or of the tokens."""

Shares = Callable[[str, str], str]
"""A share of what a way of cutting does, as text in parentheses; '' where it is not known."""


def trainer_advice(recipe: Recipe, rates: EffectiveRates | None = None) -> list[str]:
    """The sentences for the recipe's layout; with numbers where there are arrays."""

    def share(way: str, name: str) -> str:
        if rates is None or not rates.files:
            return ""
        return f" ({rates.shares(rates.ways[way][length])[name]:.1%} {_OF[name]})"

    length = chosen_length(recipe)
    sentences = [*_ABOUT.get(recipe.tokens.layout, _nothing)(recipe, length, share)]
    if recipe.context is None:
        sentences.append(
            f"The recipe names no sequence length; these numbers are for {length:,} tokens. "
            "Longer documents are cut however they are packed, unless the recipe divides them into "
            f"pieces that fit, each rearranged by itself: context: {{tokens: {length}, longer: "
            "pieces}."
        )
    return sentences


def _nothing(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    del recipe, length, share
    yield from ()


def _olmo_core(recipe: Recipe, length: int, share: Shares) -> Iterator[str]:
    tokens, divided = recipe.tokens, recipe.piece_tokens is not None
    strategy = "" if divided else " with long_doc_strategy fragment"
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
            f"PackingInstanceSource{strategy}, which see rearranged files whole if they fit"
            f"{share('fragments', 'whole')} and discard nothing; the chunks of NumpyFSLDataset cut "
            f"anywhere{share('chunks', 'whole')}, unless tokens.align lays the arrays out for them."
        )
    if not divided:
        yield (
            "OLMo-core: its default where it packs, long_doc_strategy truncate, discards what a "
            f"document has beyond a sequence{share('truncated', 'discarded')}."
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
    aligned = "the arrays are laid out for this length alone, to cut as few rearranged files as can"
    anywhere = "its instances cut rearranged files anywhere"
    yield (
        f"datatrove: DatatroveFolderDataset with seq_len {length}; "
        f"{f'{aligned} be' if recipe.tokens.align else anywhere}"
        f"{share('chunks_with_label', 'whole')}."
    )


_ABOUT: dict[str, Callable[[Recipe, int, Shares], Iterator[str]]] = {
    "dolma": _olmo_core,
    "megatron": _megatron,
    "datatrove": _datatrove,
}
