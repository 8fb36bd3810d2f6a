import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim_assets.recipe import Recipe
from fim_assets.recipe.families import SENTINELS
from fim_assets.tokenizer.encoders import Encoder, ReferenceEncoder
from fim_assets.tokenizer.gigatoken_encoder import Gigatoken, GigatokenEncoder, _can_begin
from fim_assets.tokenizer.load import load_tokenizer

VECTORS = Path(__file__).parent / "dolma2_vectors.jsonl"


@pytest.fixture(scope="module")
def reference() -> ReferenceEncoder:
    return load_tokenizer(Recipe()).encoders.reference


@pytest.fixture(scope="module")
def gigatoken() -> GigatokenEncoder:
    encoder = load_tokenizer(Recipe()).encoder
    assert isinstance(encoder, GigatokenEncoder)
    return encoder


def assert_equal(reference: ReferenceEncoder, other: Encoder | Gigatoken, texts: list[str]) -> None:
    for text, ids, others in zip(texts, reference.encode(texts), other.encode(texts), strict=True):
        assert ids.dtype == others.dtype == np.uint32
        assert np.array_equal(ids, others), text


def test_both_encoders_give_the_vectors(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder
) -> None:
    rows = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
    assert len(rows) == 220
    texts = [row["text"] for row in rows]
    for encoder in (reference, gigatoken):
        for row, ids in zip(rows, encoder.encode(texts), strict=True):
            assert ids.dtype == np.uint32
            assert ids.tolist() == row["ids"], row["text"]


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=8))
@settings(max_examples=200, deadline=None)
def test_encoders_agree_on_any_text(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder, texts: list[str]
) -> None:
    assert_equal(reference, gigatoken, texts)


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
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder, texts: list[str]
) -> None:
    assert_equal(reference, gigatoken, texts)


def test_encoders_agree_on_every_letter_of_unicode(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder
) -> None:
    """Their tables are of different years: what one takes for a letter, the other may split.

    Of the planes that Unicode has left empty or to others, each 31st code point is tried.
    """
    points = {*range(0x40000), *range(0xE0000, 0xE1000), *range(0x40000, 0x110000, 31)}
    words = [f"_{chr(n)}'ll\n" for n in sorted(points - {*range(0xD800, 0xE000)})]
    texts = ["".join(words[at : at + 16]) for at in range(0, len(words), 16)]
    for at in range(0, len(texts), 10_000):
        assert_equal(reference, gigatoken, texts[at : at + 10_000])


@pytest.mark.parametrize("character", "a \n=é0日🚀")
def test_encoders_agree_on_long_runs(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder, character: str
) -> None:
    run = character * 200_000
    assert_equal(reference, gigatoken, [run, f"x{run}", f"{run}x"])


def test_encoders_agree_on_the_names_of_all_sentinels(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder
) -> None:
    names = [name for family in SENTINELS.values() for name in family if name is not None]
    assert len(set(names)) == 15
    assert_equal(reference, gigatoken, [*names, *(f"x{name}{name} y" for name in names)])


def test_encoders_agree_on_no_text_and_on_empty_ones(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder
) -> None:
    for encoder in (reference, gigatoken):
        for texts in ([], [""], ["", "", ""]):
            assert [ids.tolist() for ids in encoder.encode(texts)] == [[] for _ in texts]


def test_mismatching_letters_go_to_the_reference_alone_or_among_others(
    reference: ReferenceEncoder, gigatoken: GigatokenEncoder
) -> None:
    """U+0CDC is a letter since Unicode 14: the reference's tables are older."""
    mismatches = gigatoken._mismatches
    assert "\u0cdc" in mismatches
    [alone] = gigatoken._gigatoken.encode(["_\u0cdc'll"])
    [exact] = reference.encode(["_\u0cdc'll"])
    assert not np.array_equal(alone, exact), "else this test shows nothing"
    some = sorted(mismatches)[:: len(mismatches) // 50]
    texts = [text for c in some for text in ("plain", f"a{c}'ll {c}1", "é", c, f"{c}{c}x", "")]
    assert_equal(reference, gigatoken, texts)


_MANY_PRETOKENS = """
from fim_assets.tokenizer import gigatoken_encoder
from fim_assets_tests.tokenizer.bundled_proofs import dolma2

gigatoken_encoder.MEMORY_BYTES = 16 << 20
fast = gigatoken_encoder.Gigatoken(dolma2()[0])
letters = str.maketrans("0123456789", "ghijklmnop")
numbers = (number * 2_654_435_761 % 2**40 for number in range(600_000))
words = [f" {number:x}".translate(letters) for number in numbers]
begun = 0
for begin in range(0, len(words), 20_000):
    backend, [ids] = fast._backend, fast.encode(["".join(words[begin : begin + 20_000])])
    begun += fast._backend is not backend
    assert backend.encode(words[begin]).tolist() == fast.encode([words[begin]])[0].tolist()
print(begun)
"""


def test_pretokens_are_forgotten_when_the_process_has_grown() -> None:
    """Of words that are all new, it remembers some hundred bytes each; in a process of its own."""
    command = [sys.executable, "-c", _MANY_PRETOKENS]
    begun = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 2 <= int(begun) <= 20


def threads() -> set[int]:
    return {thread.id for thread in psutil.Process().threads()}


def test_it_encodes_in_the_calling_thread_alone(gigatoken: GigatokenEncoder) -> None:
    before = threads()
    gigatoken.encode(["def add(a, b): return a + b\n" * 1_000_000])
    assert threads() <= before


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
