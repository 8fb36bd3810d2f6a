"""Whether the tokenizer can be used with the recipe, and what encodes with it."""

import logging
from collections.abc import Iterator
from difflib import get_close_matches

from fim_assets.cli.doctor.findings import Finding, error_finding, log_records
from fim_assets.errors import USER_ERRORS
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.tokenizer.find import content_hash, find_tokenizer
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets.wording import plural


def load_and_judge_tokenizer(recipe: Recipe) -> tuple[LoadedTokenizer | None, Finding]:
    """Load the recipe's tokenizer; None if it cannot be used."""
    named = recipe.tokens.tokenizer
    try:
        with log_records("fim_assets.tokenizer", logging.INFO) as records:
            # As a partition's run asks for it, so that the sample finds it loaded.
            tokenizer = load_tokenizer(recipe, content_hash(find_tokenizer(named)))
    except USER_ERRORS as error:
        return None, error_finding("tokenizer", error)
    controls = tokenizer.controls
    ids = ", ".join(f"{part} {number}" for part, number in controls.sentinels.items())
    text = (
        f"{named.name_or_path}: {len(tokenizer.vocabulary.token_bytes):,} ids; "
        f"{ids}, EOS {controls.eos}; encodes by {tokenizer.encoder_description}"
    )
    if tokenizer.encoders.reason is not None:
        return tokenizer, Finding("look", "tokenizer", text, "the bytes are the same, but slower")
    if records:
        texts = [text, *(record.getMessage() for record in records)]
        return tokenizer, Finding("look", "tokenizer", "; ".join(texts))
    return tokenizer, Finding("ok", "tokenizer", f"{text}, proved equal to the reference")


def separator_findings(recipe: Recipe, tokenizer: LoadedTokenizer) -> Iterator[Finding]:
    """Say what a file separator becomes that is no token; the default is no token of dolma2."""
    separator = recipe.fim.file_separator_token
    if separator is None or separator in tokenizer.controls.boundaries:
        return
    ids = len(tokenizer.encoder.encode([separator])[0])
    named = separator != Fim().file_separator_token
    close = get_close_matches(separator, tokenizer.added) if named else []
    text = (
        f"fim.file_separator_token is {separator}, no token of the tokenizer: where documents hold "
        f"it, it parts files, and is encoded as text of {plural(ids, 'id')}"
    )
    advice = f"close among its tokens: {', '.join(close)}" if close else ""
    yield Finding("look" if named else "ok", "separator", text, advice)
