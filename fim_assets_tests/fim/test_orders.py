import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.fim.orders import Lengths, Order, Parts, arrange, arranged_chars, dissect, restore
from fim_assets.recipe import Sentinels

SENTINELS = Sentinels("<PRE>", "<MID>", "<SUF>")
PARTS = Parts("ab", "cde", "f")


def test_layouts_by_hand() -> None:
    assert arrange(PARTS, "psm", SENTINELS) == "<PRE>ab<SUF>f<MID>cde"
    assert arrange(PARTS, "spm", SENTINELS) == "<SUF>f<PRE>ab<MID>cde"


orders = st.sampled_from(["psm", "spm"])
texts = st.text(st.characters(codec="utf-8")) | st.sampled_from(["<PRE>", "<SUF>x<MID>", ""])


@given(texts, texts, texts, orders)
def test_restore_is_the_inverse(prefix: str, middle: str, suffix: str, order: Order) -> None:
    parts = Parts(prefix, middle, suffix)
    lengths = Lengths(*map(len, parts))
    arranged = arrange(parts, order, SENTINELS)
    assert len(arranged) == arranged_chars(order, lengths, SENTINELS)
    assert dict(dissect(arranged, order, lengths, SENTINELS)) == parts._asdict()
    assert restore(arranged, order, lengths, SENTINELS) == prefix + middle + suffix


def test_file_left_alone_is_itself() -> None:
    assert restore("<PRE>abc", "none", Lengths(0, 0, 0), SENTINELS) == "<PRE>abc"


@pytest.mark.parametrize(
    ("text", "lengths"),
    [
        ("<PRE>ab<SUF>f<MID>cde", Lengths(3, 2, 1)),
        ("<PRE>ab<SUF>f<MID>cdeX", Lengths(2, 3, 1)),
        ("<PRE>ab<SUF>f<MID>cd", Lengths(2, 3, 1)),
        ("<SUF>f<PRE>ab<MID>cde", Lengths(2, 3, 1)),
    ],
)
def test_disagreement_is_an_error(text: str, lengths: Lengths) -> None:
    with pytest.raises(ValueError, match="character"):
        restore(text, "psm", lengths, SENTINELS)
