import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.recipe import Recipe
from fim_assets.recipe.families import SENTINELS
from fim_assets.tokenizer.encoders import QuicktokEncoder, ReferenceEncoder, _can_begin
from fim_assets.tokenizer.load import load_tokenizer

VECTORS = Path(__file__).parent / "dolma2_vectors.jsonl"


@pytest.fixture(scope="module")
def reference() -> ReferenceEncoder:
    return load_tokenizer(Recipe()).encoders.reference


@pytest.fixture(scope="module")
def quicktok() -> QuicktokEncoder:
    encoder = load_tokenizer(Recipe()).encoder
    assert isinstance(encoder, QuicktokEncoder)
    return encoder


def assert_equal(reference: ReferenceEncoder, other: QuicktokEncoder, texts: list[str]) -> None:
    (ids, offsets), (others, bounds) = reference.encode(texts), other.encode(texts)
    assert ids.dtype == others.dtype == np.uint32
    assert offsets.dtype == bounds.dtype == np.int64
    assert np.array_equal(offsets, bounds)
    assert np.array_equal(ids, others)


def test_both_encoders_give_the_vectors(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder
) -> None:
    rows = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
    assert len(rows) == 220
    texts = [row["text"] for row in rows]
    for encoder in (reference, quicktok):
        ids, offsets = encoder.encode(texts)
        assert ids.dtype == np.uint32
        for row, begin, end in zip(rows, offsets[:-1], offsets[1:], strict=True):
            assert ids[begin:end].tolist() == row["ids"], row["text"]


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=8))
@settings(max_examples=200, deadline=None)
def test_encoders_agree_on_any_text(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder, texts: list[str]
) -> None:
    assert_equal(reference, quicktok, texts)


PIECES = st.sampled_from(
    [
        *"aZé日🚀ſK'_\n\r\t =0٣½",
        "\u0301",
        "\u200d",
        "\x85",
        "\u2028",
        "'ll",
        "'S",
        "\u0cdc",
        "\u088f",
    ]
)


@given(st.lists(st.lists(PIECES, max_size=30).map("".join), max_size=4))
@settings(max_examples=200, deadline=None)
def test_encoders_agree_where_splits_are_awkward(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder, texts: list[str]
) -> None:
    assert_equal(reference, quicktok, texts)


def test_encoders_agree_on_every_letter_of_unicode(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder
) -> None:
    """Their tables are of different years: what one takes for a letter, the other may split.

    Of the planes that Unicode has left empty or to others, each 31st code point is tried.
    """
    points = {*range(0x40000), *range(0xE0000, 0xE1000), *range(0x40000, 0x110000, 31)}
    words = [f"_{chr(n)}'ll\n" for n in sorted(points - {*range(0xD800, 0xE000)})]
    texts = ["".join(words[at : at + 16]) for at in range(0, len(words), 16)]
    for at in range(0, len(texts), 10_000):
        assert_equal(reference, quicktok, texts[at : at + 10_000])


@pytest.mark.parametrize("character", "a \n=é0日🚀")
def test_encoders_agree_on_long_runs(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder, character: str
) -> None:
    run = character * 200_000
    assert_equal(reference, quicktok, [run, f"x{run}", f"{run}x"])


def test_encoders_agree_on_the_names_of_all_sentinels(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder
) -> None:
    names = [name for family in SENTINELS.values() for name in family if name is not None]
    assert len(set(names)) == 15
    assert_equal(reference, quicktok, [*names, *(f"x{name}{name} y" for name in names)])


def test_encoders_agree_on_no_text_and_on_empty_ones(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder
) -> None:
    for encoder in (reference, quicktok):
        for texts in ([], [""], ["", "", ""]):
            ids, offsets = encoder.encode(texts)
            assert len(ids) == 0
            assert offsets.tolist() == [0] * (len(texts) + 1)


def test_mismatching_letters_go_to_the_reference_alone_or_among_others(
    reference: ReferenceEncoder, quicktok: QuicktokEncoder
) -> None:
    """U+0CDC is a letter since Unicode 14 or so: quicktok's tables are older."""
    mismatches = quicktok._mismatches
    assert "\u0cdc" in mismatches
    alone, _ = quicktok._tokenizer.encode_batch(["_\u0cdc'll"], 1)
    exact, _ = reference.encode(["_\u0cdc'll"])
    assert not np.array_equal(alone, exact), "else this test shows nothing"
    some = sorted(mismatches)[:: len(mismatches) // 50]
    texts = [text for c in some for text in ("plain", f"a{c}'ll {c}1", "é", c, f"{c}{c}x", "")]
    assert_equal(reference, quicktok, texts)


def test_what_can_begin_a_mismatching_letter_by_hand() -> None:
    """U+0CDC is E0 B3 9C: a token may hold it whole, or end in its first or first two bytes."""
    tokens = [
        b"a",
        None,
        b"\xe0",
        b"\xe0\xb3",
        b"x\xe0\xb3\x9cy",
        b"\xb3\x9c",
        b"\xe0\xb4",
        b"\xc3",
    ]
    can = _can_begin([0x0CDC], tokens)
    assert can.tolist() == [False, False, True, True, True, False, False, False]
