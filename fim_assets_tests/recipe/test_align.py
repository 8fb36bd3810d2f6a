import pytest

from fim_assets.recipe import parse_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import fingerprint

CONTEXT = "context: {tokens: 2048}\n"

ALL = (*ASSETS, "corpus_report")


@pytest.mark.parametrize(
    ("tokens", "window"),
    [
        ("{}", None),
        ("{align: false}", None),
        ("{align: true}", 2048),
        ("{align: pad, label_mask: middle}", 2048),
        ("{align: pad, label_mask: text}", 2048),
        ("{align: true, layout: datatrove}", 2049),
    ],
)
def test_a_window_is_what_the_layouts_trainer_takes_at_once(
    tokens: str, window: int | None
) -> None:
    assert parse_recipe(f"{CONTEXT}tokens: {tokens}", "r").window == window


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tokens: {align: true}", ["tokens.align", "context.tokens"]),
        (f"{CONTEXT}tokens: {{align: 8}}", ["tokens.align = 8", "pad"]),
        (f"{CONTEXT}tokens: {{align: null}}", ["tokens.align = null", "pad"]),
        (
            f"{CONTEXT}tokens: {{align: true, layout: megatron}}",
            ["tokens: align = true", "megatron"],
        ),
        (
            f"{CONTEXT}tokens: {{align: pad, label_mask: middle, layout: datatrove}}",
            ['tokens: align = "pad"', "datatrove"],
        ),
        (f"{CONTEXT}tokens: {{align: pad}}", ['tokens: align = "pad"', "label_mask"]),
        *(
            (
                f"{CONTEXT}tokens: {{align: pad, label_mask: middle, tokenizer: {{{ids}}}}}",
                ['tokens: align = "pad"', "pad_token_id"],
            )
            for ids in (
                "pad_token_id: null",
                "pad_token_id: 100257",
                "pad_token_id: 9, bos_token_id: 9",
            )
        ),
    ],
)
def test_what_cannot_be_aligned_is_refused(text: str, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r")
    message = str(caught.value).removeprefix("recipe r: ")
    assert all(word in message for word in words), message


def test_alignment_changes_the_fingerprints_from_tokens_on() -> None:
    texts = [
        CONTEXT,
        f"{CONTEXT}tokens: {{align: true}}",
        "context: {tokens: 4096}\ntokens: {align: true}",
        f"{CONTEXT}tokens: {{align: pad, label_mask: middle}}",
        f"{CONTEXT}tokens: {{label_mask: middle}}",
    ]
    prints = [[fingerprint(parse_recipe(text, "r"), asset, "t") for asset in ALL] for text in texts]
    for one, asset in enumerate(ALL):
        own = {row[one] for row in (prints[0], prints[1], *prints[3:])}
        assert len(own) == (4 if asset in {"token_arrays", "corpus_report"} else 1)
        if asset in {"token_arrays", "corpus_report"}:
            assert prints[2][one] != prints[1][one]
