"""The checks of `token_arrays`, in the order of running."""

from fim_assets.corpus.stage import Check, applies_to_all
from fim_assets.token_arrays.checks.accounting import nothing_lost
from fim_assets.token_arrays.checks.context import aligned, fits_context, has_context, is_aligned
from fim_assets.token_arrays.checks.ids import ids_in_vocabulary, one_eos_per_document
from fim_assets.token_arrays.checks.sentinels import sentinel_grammar
from fim_assets.token_arrays.checks.texts import decodes_to_fim_text, matches_reference_tokenizer

_DESCRIPTIONS = {
    one_eos_per_document: (
        "Every token of the arrays is looked at: documents cover them without overlap, and without "
        "gap but for padding that the recipe asks for; each ends in EOS, and begins with BOS where "
        "the recipe has one, and neither stands anywhere else."
    ),
    ids_in_vocabulary: (
        "Every token of the arrays is one that the tokenizer's vocabulary uses; padding, "
        "unless the recipe asks for it, and control tokens that it does not place stand nowhere."
    ),
    sentinel_grammar: (
        "Each rearranged file has its sentinels once and in order, between the parts whose "
        "offsets the parquet gives; files are parted by the separator, and the name of a "
        "repository that a stage has joined stands behind its token, where these are one id. None "
        "stands anywhere else. Files and orders are those of the FIM shard's record. A label mask "
        "is false from a rearranged file's beginning to its middle (not with tokens.label_mask: "
        "text), on padding and on EOS behind which a divided document goes on, and true elsewhere."
    ),
    nothing_lost: (
        "Documents, lines, ids and characters add up through raw_shards, fim_shards and "
        "token_arrays: each document of a stage is in the next, once."
    ),
    fits_context: (
        "With a context, no rearranged document has more tokens than context.tokens; where longer "
        "ones are divided, no document has, and no piece more than it may."
    ),
    aligned: (
        "With tokens.align, the parquet's offsets give the receipt's numbers of rearranged "
        "documents that a trainer's windows cut or drop, and of padding, which ends at windows' "
        "ends; where padding is asked for, no window cuts one that is not longer."
    ),
    decodes_to_fim_text: (
        "The ids of every document decode to its text in the FIM shard, byte by byte; with "
        "tokens.allow_lossy, to the text's normal form."
    ),
    matches_reference_tokenizer: (
        "A sample of each partition's documents, drawn by their keys until it has 16,384 tokens, "
        "is encoded by Hugging Face tokenizers too, and the ids are the same. Documents that it "
        "cannot encode, with runs of millions of spaces, are passed over and counted. The texts "
        "are those that decodes_to_fim_text read, where it ran before."
    ),
}

_APPLY = {fits_context: has_context, aligned: is_aligned}
"""Which recipes a check applies to, where these are not all."""

CHECKS = tuple(
    Check(run.__name__, text, run, _APPLY.get(run, applies_to_all))
    for run, text in _DESCRIPTIONS.items()
)
