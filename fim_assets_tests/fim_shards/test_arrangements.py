import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.fim_shards.arrangements import (
    Lengths,
    Order,
    Parts,
    Piece,
    arrange,
    arranged_chars,
    parse_arrangement,
    restore,
)
from fim_assets.recipe.families import SENTINELS
from fim_assets.recipe.fim import Fim

TOKENS = {"fim_prefix_token": "<PRE>", "fim_middle_token": "<MID>", "fim_suffix_token": "<SUF>"}
PLAIN = Fim.model_validate(TOKENS)
V2 = Fim.model_validate(TOKENS | {"spm_format": "v2"})
END = Fim.model_validate(TOKENS | {"fim_end_token": "<EOT>"})
END_V2 = Fim.model_validate(TOKENS | {"fim_end_token": "<EOT>", "spm_format": "v2"})
NO_MIDDLE = Fim.model_validate(TOKENS | {"fim_middle_token": None, "psm_spm_split": 0.0})
PARTS = Parts("ab", "cde", "f")


@pytest.mark.parametrize(
    ("fim", "order", "text"),
    [
        (PLAIN, "psm", "<PRE>ab<SUF>f<MID>cde"),
        (PLAIN, "spm", "<SUF>f<PRE>ab<MID>cde"),
        (V2, "psm", "<PRE>ab<SUF>f<MID>cde"),
        (V2, "spm", "<PRE><SUF>f<MID>abcde"),
        (END, "psm", "<PRE>ab<SUF>f<MID>cde<EOT>"),
        (END, "spm", "<SUF>f<PRE>ab<MID>cde<EOT>"),
        (END_V2, "spm", "<PRE><SUF>f<MID>abcde<EOT>"),
        (NO_MIDDLE, "spm", "<SUF>f<PRE>abcde"),
    ],
)
def test_layouts_by_hand(fim: Fim, order: Order, text: str) -> None:
    assert arrange(PARTS, order, fim) == text
    assert restore(text, order, Lengths(2, 3, 1), fim) == "abcdef"


@pytest.mark.parametrize(
    ("name", "order", "text"),
    [
        ("dolma2", "psm", "<|fim_prefix|>ab<|fim_suffix|>f<|fim_middle|>cde"),
        ("starcoder2", "psm", "<fim_prefix>ab<fim_suffix>f<fim_middle>cde"),
        ("qwen2.5-coder", "spm", "<|fim_suffix|>f<|fim_prefix|>ab<|fim_middle|>cde"),
        ("deepseek-coder", "psm", "<｜fim▁begin｜>ab<｜fim▁hole｜>f<｜fim▁end｜>cde"),
        ("code-llama", "psm", "▁<PRE>ab▁<SUF>f▁<MID>cde▁<EOT>"),
        ("codegemma", "psm", "<|fim_prefix|>ab<|fim_suffix|>f<|fim_middle|>cde"),
        ("codestral", "spm", "[SUFFIX]f[PREFIX]abcde"),
    ],
)
def test_named_sets_by_hand(name: str, order: Order, text: str) -> None:
    assert arrange(PARTS, order, of_family(name)) == text


def test_pieces_by_hand() -> None:
    assert list(
        parse_arrangement("<PRE><SUF>f<MID>abcde<EOT>", "spm", Lengths(2, 3, 1), END_V2)
    ) == [
        Piece("<PRE>", sentinel="prefix"),
        Piece("<SUF>", sentinel="suffix"),
        Piece("f", part="suffix"),
        Piece("<MID>", sentinel="middle"),
        Piece("ab", part="prefix"),
        Piece("cde", part="middle"),
        Piece("<EOT>", sentinel="end"),
    ]


def of_family(name: str, spm_format: str = "dolma") -> Fim:
    fim = {"sentinels": name, "spm_format": spm_format}
    return Fim.model_validate(fim | ({} if SENTINELS[name].middle else {"psm_spm_split": 0.0}))


LAWS = [PLAIN, V2, END, END_V2, NO_MIDDLE, *map(of_family, SENTINELS)]
LAWS += [of_family(name, "v2") for name, tokens in SENTINELS.items() if tokens.middle]
CASES: list[tuple[Fim, Order]] = [(law, "spm") for law in LAWS]
CASES += [(law, "psm") for law in LAWS if law.fim_middle_token]

tokens = [token for law in LAWS for token in law.sentinels if token is not None]
texts = st.text(st.characters(codec="utf-8")) | st.lists(
    st.sampled_from([*tokens, "x", "\r\n", "e\u0301", "\x00"]), max_size=4
).map("".join)


@given(texts, texts, texts, st.sampled_from(CASES))
def test_restore_is_the_inverse(
    prefix: str, middle: str, suffix: str, case: tuple[Fim, Order]
) -> None:
    fim, order = case
    parts = Parts(prefix, middle, suffix)
    lengths = Lengths(*map(len, parts))
    arranged = arrange(parts, order, fim)
    assert len(arranged) == arranged_chars(order, lengths, fim)
    pieces = list(parse_arrangement(arranged, order, lengths, fim))
    assert "".join(piece.text for piece in pieces) == arranged
    assert {piece.part: piece.text for piece in pieces if piece.part} == parts._asdict()
    found = {piece.sentinel: piece.text for piece in pieces if piece.sentinel}
    assert found == {k: v for k, v in fim.sentinels._asdict().items() if v is not None}
    assert restore(arranged, order, lengths, fim) == prefix + middle + suffix


def test_file_unchanged_is_itself() -> None:
    assert restore("<PRE>abc", "none", Lengths(0, 0, 0), PLAIN) == "<PRE>abc"


@pytest.mark.parametrize(
    ("fim", "order", "text", "lengths"),
    [
        (PLAIN, "psm", "<PRE>ab<SUF>f<MID>cde", Lengths(3, 2, 1)),
        (PLAIN, "psm", "<PRE>ab<SUF>f<MID>cdeX", Lengths(2, 3, 1)),
        (PLAIN, "psm", "<PRE>ab<SUF>f<MID>cd", Lengths(2, 3, 1)),
        (PLAIN, "psm", "<SUF>f<PRE>ab<MID>cde", Lengths(2, 3, 1)),
        (PLAIN, "spm", "<PRE>ab<SUF>f<MID>cde", Lengths(2, 3, 1)),
        (V2, "spm", "<SUF>f<PRE>ab<MID>cde", Lengths(2, 3, 1)),
        (END, "psm", "<PRE>ab<SUF>f<MID>cde", Lengths(2, 3, 1)),
        (PLAIN, "psm", "<PRE>ab<SUF>f<MID>cde<EOT>", Lengths(2, 3, 1)),
        (NO_MIDDLE, "spm", "<SUF>f<PRE>ab<MID>cde", Lengths(2, 3, 1)),
    ],
)
def test_disagreement_is_an_error(fim: Fim, order: Order, text: str, lengths: Lengths) -> None:
    with pytest.raises(ValueError, match="character"):
        restore(text, order, lengths, fim)
