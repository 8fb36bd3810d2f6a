"""Where ids end in texts: as many as the token stage writes, each where its bytes end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim_assets.recipe import Recipe
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets.tokenizer.token_ends import token_ends
from fim_assets_tests.corpora import TEXTS
from fim_assets_tests.tokenizer.small_tokenizers import (
    CODE,
    byte_level_bpe,
    save,
    sentencepiece_like,
    small_recipe,
)

DOLMA2 = load_tokenizer(Recipe())


def ends_of(tokenizer: LoadedTokenizer, *texts: str) -> list[list[int]]:
    return [ends.tolist() for ends in token_ends(tokenizer, [*texts])]


def small(folder: Path, content: str, *, lossy: bool = False) -> LoadedTokenizer:
    tokens = {"allow_lossy": True} if lossy else {}
    return load_tokenizer(small_recipe(folder, save(folder, content), tokens))


def test_ends_by_hand() -> None:
    """`def`, ` add`, `(a`, ...; of 🚀 three ids, two of which end within it."""
    assert ends_of(DOLMA2, "def add(a", "", "a🚀") == [[3, 7, 9], [], [1, 3, 4, 5]]


@given(st.lists(st.text(max_size=50), max_size=5))
def test_ids_up_to_each_end_are_the_bytes_up_to_it(texts: list[str]) -> None:
    ids = DOLMA2.encoder.encode(texts)
    for text, of_text, ends in zip(texts, ids, token_ends(DOLMA2, texts), strict=True):
        parts = [DOLMA2.decode(of_text[: n + 1]) for n in range(len(of_text))]
        assert [text.encode()[:end] for end in ends] == parts


def test_paragraphs_are_encoded_one_by_one(tmp_path: Path) -> None:
    content = byte_level_bpe(["\n\nx\n\nx\n\n"] * 9, split=r"[\s\S]+")
    whole = small(tmp_path, content)
    parted = replace(whole, paragraphs=True)
    text = "é\n\nx\n\nx"
    assert len(token_ends(whole, [text])[0]) < len(token_ends(parted, [text])[0])
    one_by_one = [ends_of(whole, part)[0] for part in ("é", "\n\nx", "\n\nx")]
    begins = (0, 2, 5)
    assert ends_of(parted, text, "", "x") == [
        [end + begin for begin, ends in zip(begins, one_by_one, strict=True) for end in ends],
        [],
        [1],
    ]


def test_of_a_tokenizer_that_changes_texts_an_id_ends_with_its_character(tmp_path: Path) -> None:
    """▁ab is one id; é is a ▁ that was put before it and two bytes, which all end behind it.

    A mark that is composed with its letter belongs to the letter's id.
    """
    for number, metaspace in enumerate((False, True)):
        content = sentencepiece_like(prepend=True, metaspace=metaspace)
        tokenizer = small(tmp_path / str(number), content, lossy=True)
        assert ends_of(tokenizer, "ab cd", "éa") == [[2, 3, 5], [2, 2, 2, 3]]
    nfc = small(tmp_path / "nfc", byte_level_bpe(CODE, nfc=True), lossy=True)
    [ends] = token_ends(nfc, ["ae\u0301b"])
    assert {*ends.tolist()} == {1, 4, 5}


@pytest.mark.parametrize("kind", ["nfc", "prepend", "metaspace"])
def test_there_are_as_many_ends_as_ids_and_the_last_is_the_texts(kind: str, tmp_path: Path) -> None:
    contents = {
        "nfc": byte_level_bpe(CODE, nfc=True),
        "prepend": sentencepiece_like(prepend=True),
        "metaspace": sentencepiece_like(prepend=True, metaspace=True),
    }
    tokenizer = small(tmp_path, contents[kind], lossy=True)
    texts = [*TEXTS, "e\u0301" * 300, " ", "\n", "   ab"]
    for text, ids, ends in zip(
        texts, tokenizer.encoder.encode(texts), token_ends(tokenizer, texts), strict=True
    ):
        assert len(ends) == len(ids)
        assert ends[-1] == len(text.encode())
        assert (np.diff(ends) >= 0).all()
