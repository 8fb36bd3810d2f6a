import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fim_assets.tokenizer.encoders import ReferenceEncoder
from fim_assets.tokenizer.vocabulary import (
    PUTS_SPACE,
    flattened,
    read_vocabulary,
    why_lossy,
    why_unusable,
)
from fim_assets_tests.tokenizer.small_tokenizers import (
    CODE,
    SENTENCEPIECE,
    byte_level_bpe,
    sentencepiece_like,
)
from fim_assets_tests.tokenizer.splits import LLAMA_3, QWEN_2

BYTE_LEVEL: dict[str, Any] = json.loads(byte_level_bpe(CODE))
NFC: dict[str, Any] = json.loads(byte_level_bpe(CODE, split=LLAMA_3, nfc=True))
REPLACING: dict[str, Any] = json.loads(sentencepiece_like(prepend=False))
PREPENDING: dict[str, Any] = json.loads(sentencepiece_like(prepend=True))
METASPACE: dict[str, Any] = json.loads(sentencepiece_like(prepend=True, metaspace=True))
BARE_METASPACE: dict[str, Any] = json.loads(sentencepiece_like(prepend=False, metaspace=True))
ALL = {
    "byte-level": BYTE_LEVEL,
    "NFC": NFC,
    "replacing": REPLACING,
    "prepending": PREPENDING,
    "metaspace": METASPACE,
    "bare metaspace": BARE_METASPACE,
}
WRITES_SPACE = "it writes a space as ▁, as which it reads a ▁ in text too"


def model(content: dict[str, Any], **fields: object) -> dict[str, Any]:
    return content | {"model": content["model"] | fields}


def without(content: dict[str, Any], *pieces: str) -> dict[str, Any]:
    vocab = {piece: n for piece, n in content["model"]["vocab"].items() if piece not in pieces}
    return model(content, vocab=vocab)


def test_sequences_are_flattened() -> None:
    inner = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    outer = {"type": "Sequence", "normalizers": [inner, {"type": "Strip"}]}
    assert [step["type"] for step in flattened(outer, "normalizers")] == [
        *("NFC", "Lowercase", "Strip")
    ]
    assert flattened({"type": "NFC"}, "normalizers") == [{"type": "NFC"}]
    assert flattened(None, "normalizers") == []
    assert flattened({"type": "Sequence", "normalizers": []}, "normalizers") == []


@pytest.mark.parametrize("content", ALL.values(), ids=ALL)
def test_tokenizers_with_a_token_for_each_byte_are_usable(content: dict[str, Any]) -> None:
    assert why_unusable(content) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (model(BYTE_LEVEL, dropout=0.25), "it draws merges at random (dropout 0.25)"),
        (
            model(BYTE_LEVEL, type="WordPiece"),
            "a WordPiece model does not tell from its tokens where words touched",
        ),
        (
            model(BYTE_LEVEL, end_of_word_suffix="</w>"),
            "its tokens carry the mark </w> (end_of_word_suffix)",
        ),
        (
            model(BYTE_LEVEL, continuing_subword_prefix="##"),
            "its tokens carry the mark ## (continuing_subword_prefix)",
        ),
        (without(BYTE_LEVEL, "Ġ", "~"), "it has no token for the byte 0x20"),
        (without(REPLACING, "<0xF4>"), "it has no token for the byte 0xF4"),
        (
            model(REPLACING, byte_fallback=False),
            "a character outside of its vocabulary is lost (no byte_fallback)",
        ),
    ],
)
def test_unusable_tokenizers_are_told_why(content: dict[str, Any], reason: str) -> None:
    assert why_unusable(content) == reason


def test_bytes_that_utf8_never_has_need_no_token() -> None:
    """GPT-NeoX's vocabulary, and so OLMo's first one, lacks these 13."""
    never = [0xC0, 0xC1, *range(0xF5, 0x100)]
    assert why_unusable(without(REPLACING, *(f"<0x{byte:02X}>" for byte in never))) is None
    assert all(byte not in chr(n).encode() for n in range(0x80, 0xD800) for byte in never)


@pytest.mark.parametrize(
    ("pattern", "keeps"), [(QWEN_2, True), (LLAMA_3, True), (r"\w+|\s+", False)]
)
def test_a_pattern_that_finds_every_character_removes_none(pattern: str, keeps: bool) -> None:
    """As the published dolma2 tokenizer is written: what is not found is removed."""
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Removed",
        "invert": True,
    }
    steps = [split, BYTE_LEVEL["pre_tokenizer"] | {"use_regex": False}]
    found = why_lossy(BYTE_LEVEL | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": steps}})
    assert found == ([] if keeps else ["its pre-tokenizer may leave characters out (Split)"])


def test_no_dropout_and_empty_marks_are_usable() -> None:
    empty = model(BYTE_LEVEL, dropout=0.0, end_of_word_suffix="", continuing_subword_prefix=None)
    assert why_unusable(empty) is None


def cutting(*steps: dict[str, Any]) -> dict[str, Any]:
    return BYTE_LEVEL | {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


BYTES_STEP = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
SPLIT_STEP = {"type": "Split", "pattern": {"String": " "}, "invert": False}


@pytest.mark.parametrize(
    ("content", "reasons"),
    [
        (BYTE_LEVEL, []),
        (NFC, ["it normalizes text (NFC)"]),
        (REPLACING, ["it normalizes text (Replace)", WRITES_SPACE]),
        (
            PREPENDING,
            [
                *("it normalizes text (Prepend)", "it normalizes text (Replace)"),
                *(PUTS_SPACE, WRITES_SPACE),
            ],
        ),
        (METASPACE, [WRITES_SPACE, PUTS_SPACE]),
        (BARE_METASPACE, [WRITES_SPACE]),
        (cutting(SPLIT_STEP | {"behavior": "Isolated"}, BYTES_STEP), []),
        (cutting(BYTES_STEP | {"add_prefix_space": True}), [PUTS_SPACE]),
        (
            cutting(SPLIT_STEP | {"behavior": "Removed"}, BYTES_STEP),
            ["its pre-tokenizer may leave characters out (Split)"],
        ),
        (
            cutting({"type": "Whitespace"}, BYTES_STEP),
            ["its pre-tokenizer may leave characters out (Whitespace)"],
        ),
    ],
)
def test_lossy_tokenizers_are_told_why(content: dict[str, Any], reasons: list[str]) -> None:
    assert why_lossy(content) == reasons
    assert read_vocabulary(content).lossy == tuple(reasons)


def test_only_normal_forms_leave_ascii_alone() -> None:
    assert [read_vocabulary(content).ascii_comes_back for content in ALL.values()] == [
        *(True, True, False, False, False, False)
    ]
    lower = BYTE_LEVEL | {"normalizer": {"type": "Lowercase"}}
    assert not read_vocabulary(lower).ascii_comes_back
    prefixed = cutting(BYTES_STEP | {"add_prefix_space": True}) | {"normalizer": {"type": "NFC"}}
    assert not read_vocabulary(prefixed).ascii_comes_back


def test_sentencepieces_bytes_by_hand() -> None:
    found = read_vocabulary(REPLACING)
    assert not found.byte_level
    assert found.token_bytes[:3] == (b"<unk>", b"\x00", b"\x01")
    assert found.token_bytes[256:265] == (b"\xff", b" ", *b"a b c d".split(), b"ab", b" ab", b"cd")
    assert found.token_bytes[265:] == tuple(
        name.encode()
        for name in ["<eos>", "<pad>", "<pre>", "<mid>", "<suf>", "<sep>", "<repo>", "<end>"]
    )
    assert found.used.all()


def test_byte_levels_bytes_by_hand() -> None:
    """Ids 0 to 7 are the added tokens', then the bytes in the order of their characters."""
    found = read_vocabulary(BYTE_LEVEL)
    numbers = BYTE_LEVEL["model"]["vocab"]
    assert found.byte_level
    assert found.token_bytes[:2] == (b"<eos>", b"<pad>")
    assert found.token_bytes[numbers["!"]] == b"!"
    assert found.token_bytes[numbers["Ġ"]] == b" "
    assert found.token_bytes[numbers["Ċ"]] == b"\n"
    assert found.token_bytes[numbers["ÿ"]] == b"\xff"
    assert found.token_bytes[numbers["Ġreturn"]] == b" return"


def test_ids_between_others_may_be_unused() -> None:
    added = [*BYTE_LEVEL["added_tokens"], {"id": 500, "content": "<far>", "special": True}]
    found = read_vocabulary(BYTE_LEVEL | {"added_tokens": added})
    assert len(found.token_bytes) == 501
    assert found.token_bytes[500] == b"<far>"
    assert found.token_bytes[499] is None
    assert (found.used[500], found.used[499]) == (True, False)
    assert found.decode(np.array([500], np.uint16)) == b"<far>"
    with pytest.raises(ValueError, match="does not use the id 499"):
        found.decode(np.array([0, 499], np.uint16))


@pytest.mark.parametrize("number", [501, -1, 65_535])
def test_an_id_outside_of_the_vocabulary_does_not_decode(number: int) -> None:
    with pytest.raises(ValueError, match="outside of the vocabulary of 273"):
        read_vocabulary(REPLACING).decode(np.array([0, number], np.int32))


def test_decode_by_hand() -> None:
    """263 is a space and ab, 0xC3 0xA9 (196, 170) are é, 265 is <eos>."""
    found = read_vocabulary(REPLACING)
    assert found.decode(np.array([263, 196, 170, 264, 265], np.uint16)) == " abécd<eos>".encode()
    assert found.decode(np.array([196], np.uint32)) == b"\xc3", "bytes need not be whole characters"
    assert found.decode(np.array([], np.uint16)) == b""


def test_spell_by_hand() -> None:
    assert read_vocabulary(BYTE_LEVEL).spell(["Ġa", "Ã©", "Ċ"]) == " aé\n".encode()
    assert read_vocabulary(REPLACING).spell(["▁a", "é▁\n"]) == " aé \n".encode()
    assert read_vocabulary(REPLACING).spell([]) == b""


def test_an_added_token_that_the_model_can_make_is_its_text_unless_it_is_special() -> None:
    """`▁ab` is a piece of the model too: as a special token its name is meant."""
    for special, expected in ((False, b" ab"), (True, "▁ab".encode())):
        added = [{"id": SENTENCEPIECE["▁ab"], "content": "▁ab", "special": special}]
        found = read_vocabulary(REPLACING | {"added_tokens": added})
        assert found.token_bytes[263] == expected


@pytest.mark.parametrize("content", ALL.values(), ids=ALL)
@given(
    text=st.text(st.characters(codec="utf-8")) | st.text(st.sampled_from("ab cd▁é\n e\u0301<0xA>"))
)
def test_ids_decode_to_the_spelling_of_what_the_model_is_given(
    content: dict[str, Any], text: str
) -> None:
    """Against Hugging Face's own ids; and to the text itself where the tokenizer is exact."""
    vocabulary = read_vocabulary(content)
    plain = json.dumps(content | {"added_tokens": [], "post_processor": None})
    ids = np.array(Tokenizer.from_str(plain).encode(text).ids, np.uint32)
    spelled = vocabulary.spell(ReferenceEncoder(plain).pieces(text))
    assert vocabulary.decode(ids) == spelled
    if not vocabulary.lossy or (vocabulary.ascii_comes_back and text.isascii()):
        assert spelled == text.encode()


@pytest.mark.parametrize("kind", ["merges", "ignore_merges", "Unigram"])
def test_a_text_that_spells_a_byte_token(kind: str) -> None:
    """Hugging Face's Unigram, and its BPE without merges, give the byte's id for its name."""
    pieces = [[piece, -1.0 * len(piece)] for piece in SENTENCEPIECE]
    models = {
        "merges": REPLACING["model"],
        "ignore_merges": REPLACING["model"] | {"ignore_merges": True},
        "Unigram": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": True},
    }
    content = REPLACING | {"model": models[kind], "added_tokens": []}
    [ids] = ReferenceEncoder(json.dumps(content)).encode(["<0x41>"])
    comes_back = read_vocabulary(content).decode(ids) == b"<0x41>"
    assert comes_back is (kind == "merges")
    reason = None if comes_back else "it reads <0x41> in text as the byte 0x41"
    assert why_unusable(content) == reason
