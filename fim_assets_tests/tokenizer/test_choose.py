"""Which encoder is chosen, for byte-level BPEs so small that their proofs take a moment."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from fim_assets.recipe import Recipe
from fim_assets.tokenizer import choose, proof
from fim_assets.tokenizer.byte_level import CHARACTER_OF
from fim_assets.tokenizer.choose import (
    Encoders,
    Proof,
    bundled_proofs,
    choose_encoder,
    mismatches_of_split,
    proof_key,
    what_of_split,
    what_of_tokenizer,
)
from fim_assets.tokenizer.encoders import EncoderError, ReferenceEncoder, TokenIds
from fim_assets.tokenizer.gigatoken_encoder import (
    Gigatoken,
    GigatokenEncoder,
    gigatoken_version,
)
from fim_assets.tokenizer.load import _open_files, load_tokenizer
from fim_assets.tokenizer.proof import find_mismatches, proof_texts, prove
from fim_assets.tokenizer.vocabulary import read_vocabulary
from fim_assets_tests.tokenizer.bundled_proofs import dolma2
from fim_assets_tests.tokenizer.small_tokenizers import byte_level_bpe
from fim_assets_tests.tokenizer.splits import QWEN_2, SPLITS
from fim_assets_tests.tokenizer.test_encoders import assert_equal

NAMES = ["<eos>", "<fim_prefix>"]
_RUN = 1000


def forget_tokenizers() -> None:
    """What is loaded next is read from its files."""
    load_tokenizer.cache_clear()
    _open_files.cache_clear()


def small(text: str = "def add(a, b): return a + b") -> dict[str, Any]:
    content: dict[str, Any] = json.loads(byte_level_bpe([text] * 3, split=QWEN_2))
    return content | {"added_tokens": [], "post_processor": None}


def chosen_for(content: dict[str, Any]) -> Encoders:
    return choose_encoder(content, read_vocabulary(content).token_bytes, NAMES)


def differing_where(differs: Callable[[str], bool]) -> list[int]:
    """Prove an encoder that is the reference but for some texts, to which it adds an id."""
    content = small()
    reference = ReferenceEncoder(json.dumps(content))

    def encode(texts: list[str]) -> list[TokenIds]:
        rows = zip(texts, reference.encode(texts), strict=True)
        return [np.append(ids, np.uint32(0)) if differs(text) else ids for text, ids in rows]

    mismatches = find_mismatches(encode, reference)
    texts = proof_texts(read_vocabulary(content).token_bytes, NAMES)
    prove(encode, reference, texts, mismatches)
    return mismatches


def look_at_less(patch: pytest.MonkeyPatch) -> None:
    """Prove on fewer code points and random texts: a proof of all takes seconds."""
    patch.setattr(proof, "_DENSE", (range(0x1000), range(0x4E00, 0x5000)))
    patch.setattr(proof, "_SPARSE", range(0x34000, 0x110000, 970))
    patch.setattr(proof, "_RANDOM_TEXTS", 400)
    patch.setattr(proof, "_RUN", _RUN)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where proofs are kept, none of which comes with the package."""
    look_at_less(monkeypatch)
    monkeypatch.setattr(choose, "bundled_proofs", dict)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fim_assets" / "encoders"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_less(monkeypatch)


@pytest.mark.usefixtures("quick")
def test_an_encoder_that_is_the_reference_is_proved() -> None:
    assert differing_where(lambda _: False) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("word", ["<fim_prefix>", "def add(a, b):\n    return a + b\n", "=" * _RUN])
def test_an_encoder_that_differs_on_one_text_is_refused_and_the_text_named(word: str) -> None:
    with pytest.raises(EncoderError) as caught:
        differing_where(lambda text: text == word)
    assert str(caught.value).endswith(f" on {word[:60]!r}")
    assert ReferenceEncoder.name in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_an_encoder_that_differs_with_some_code_points_mismatches_there() -> None:
    assert differing_where(lambda text: "é" in text or "\u0cdc" in text) == [0xE9, 0xCDC]


@pytest.mark.usefixtures("quick")
def test_an_encoder_that_differs_with_an_ascii_character_is_refused() -> None:
    with pytest.raises(EncoderError, match=r"on 1 code points, the first of them U\+007E"):
        differing_where(lambda text: "~" in text)


@pytest.mark.usefixtures("quick")
def test_an_encoder_that_differs_with_too_many_code_points_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proof, "_MOST_MISMATCHES", 511)
    with pytest.raises(EncoderError, match=r"code points, the first of them U\+4E00"):
        differing_where(lambda text: any("\u4e00" <= c <= "\u9000" for c in text))


@pytest.mark.parametrize("name", SPLITS)
def test_the_package_has_a_proof_of_each_split_for_the_locked_versions(
    name: str, empty_cache: Path
) -> None:
    """Of the code points that are looked at again: U+0CDC is a letter that the reference lacks."""
    split = SPLITS[name]
    stored = bundled_proofs()[proof_key(what_of_split(split))].points()
    assert 0xCDC in stored
    looked_at = {*range(0x1000), *range(0x4E00, 0x5000), *range(0x34000, 0x110000, 970)}
    assert mismatches_of_split(split) == sorted(looked_at & {*stored})
    assert len([*empty_cache.iterdir()]) == 1


def test_the_package_has_the_bundled_tokenizers_proof_which_holds() -> None:
    content, names = dolma2()
    stored = bundled_proofs()[proof_key(what_of_tokenizer(content, names))].points()
    reference = ReferenceEncoder(json.dumps(content))
    texts = proof_texts(read_vocabulary(content).token_bytes, names)
    prove(Gigatoken(content).encode, reference, texts, stored)
    probe = choose._probe(content["pre_tokenizer"])
    own = Gigatoken(probe).encode
    assert find_mismatches(own, ReferenceEncoder(json.dumps(probe))) == stored
    assert len(stored) > 4000


def test_loading_the_bundled_tokenizer_proves_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(choose, "prove", None)
    forget_tokenizers()
    assert load_tokenizer(Recipe()).encoders.reason is None
    assert not [*tmp_path.iterdir()]


def _steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


_GPT_2 = SPLITS["GPT-2, GPT-NeoX"]
_QWEN_STEP, _BYTES_STEP = SPLITS["Qwen 2"]["pretokenizers"]
_DIGITS = {"type": "Digits", "individual_digits": True}
_SERVED = SPLITS | {
    "a space in front": _GPT_2 | {"add_prefix_space": True},
    "matches that others are merged with": _steps(
        _QWEN_STEP | {"behavior": "MergedWithPrevious"}, _BYTES_STEP
    ),
    "nested": _steps(_steps(_DIGITS, _GPT_2)),
    "digits last": _steps(SPLITS["Llama 3, OLMo 2"]["pretokenizers"][0], _DIGITS, _BYTES_STEP),
}
_OTHERS = {
    "a space in front of bytes": _steps(_QWEN_STEP, _BYTES_STEP | {"add_prefix_space": True}),
    "split twice": _steps(_QWEN_STEP, _BYTES_STEP | {"use_regex": True}),
    "merged matches": _steps(_QWEN_STEP | {"behavior": "Contiguous"}, _BYTES_STEP),
    "punctuation first": _steps(
        {"type": "Punctuation", "behavior": "Isolated"},
        *_steps(_QWEN_STEP, _BYTES_STEP)["pretokenizers"],
    ),
    "runs of digits": _steps(_DIGITS | {"individual_digits": False}, _GPT_2),
    "a string": _steps(
        _QWEN_STEP,
        _QWEN_STEP | {"pattern": {"String": "qzv"}},
        _BYTES_STEP,
    ),
    "a fixed length": _steps(_QWEN_STEP, {"type": "FixedLength", "length": 1000}, _BYTES_STEP),
    "another pattern": _steps(_QWEN_STEP | {"pattern": {"Regex": r"\d+|\D"}}, _BYTES_STEP),
    "no split": _GPT_2 | {"use_regex": False},
}


@pytest.mark.parametrize("name", _SERVED | _OTHERS)
@pytest.mark.usefixtures("empty_cache")
def test_a_split_is_served_exactly_or_left_to_the_reference(name: str) -> None:
    """gigatoken overlooks steps and options that it does not know: the proof does not."""
    content = small("x'll = 1234 + y2 // 日本 é\u0301 İ")
    chosen = chosen_for(content | {"pre_tokenizer": (_SERVED | _OTHERS)[name]})
    draws = Random(7)
    letters = "aAlL'xé日\u0301İ12٣ \n\t/=_🚀\u0cdc"
    texts = ["".join(draws.choices(letters, k=draws.randrange(40))) for _ in range(2000)]
    assert_equal(chosen.reference, chosen.used, texts)
    assert isinstance(chosen.used, GigatokenEncoder) == (name in _SERVED)
    assert (chosen.reason is None) == (name in _SERVED)
    assert "\n" not in (chosen.reason or "")


@pytest.mark.usefixtures("quick")
def test_merges_in_any_order_and_tokens_that_no_merge_makes_give_the_references_ids() -> None:
    """The vocabulary's order implies no merges, and a token may be reached as a whole word only."""
    letters = [CHARACTER_OF[byte] for byte in b"abcd 1"]
    for seed in range(40):
        draws = Random(seed)
        pairs = [tuple(draws.choices(letters, k=2)) for _ in range(12)]
        pairs += [(a + b, c) for a, b in pairs[:6] for c in draws.choices(letters, k=1)]
        merges = list(dict.fromkeys(pairs))
        unreached = ["".join(draws.choices(letters, k=4)) for _ in range(3)]
        tokens = [*("".join(pair) for pair in merges), *unreached]
        draws.shuffle(tokens)
        vocab = list(dict.fromkeys([*CHARACTER_OF.values(), *tokens]))
        model = small()["model"] | {
            "vocab": {token: number for number, token in enumerate(vocab)},
            "merges": [list(pair) for pair in merges],
            "ignore_merges": seed % 2 == 0,
        }
        chosen = chosen_for(small() | {"model": model})
        assert isinstance(chosen.used, GigatokenEncoder), chosen.reason
        texts = ["".join(draws.choices("abcd 1", k=draws.randrange(1, 14))) for _ in range(200)]
        assert_equal(chosen.reference, chosen.used, texts)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("token", ["日本x", " zq"])
def test_a_token_that_is_not_spelled_in_bytes_leaves_the_reference(token: str) -> None:
    """The reference never reaches it; gigatoken takes it for a token of its text."""
    model = small()["model"]
    vocab = model["vocab"] | {token: len(model["vocab"])}
    chosen = chosen_for(small() | {"model": model | {"vocab": vocab, "ignore_merges": True}})
    assert_equal(chosen.reference, chosen.used, [token, f"a{token}", f"{token}\n"])


@pytest.mark.usefixtures("quick")
def test_a_split_that_differs_is_seen_though_no_token_of_the_vocabulary_shows_it() -> None:
    """Kannada's U+0CDC is no letter to the reference: before `'s` it is cut otherwise.

    The tokenizer has a token for `'s` and none for `'ll`, by which the difference shows at once.
    """
    content = small("it's that's x's")
    assert "'s" in content["model"]["vocab"]
    assert "'ll" not in content["model"]["vocab"]
    chosen = chosen_for(content)
    assert isinstance(chosen.used, GigatokenEncoder)
    [fast] = chosen.used._gigatoken.encode(["\u0cdc's"])
    [exact] = chosen.reference.encode(["\u0cdc's"])
    assert fast.tolist() != exact.tolist()
    assert_equal(chosen.reference, chosen.used, ["\u0cdc's"])


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_proofs_are_kept_and_read_again_one_for_a_split_and_one_for_a_tokenizer(
    empty_cache: Path,
) -> None:
    content = small()
    assert chosen_for(content).reason is None
    what = what_of_tokenizer(content, NAMES), what_of_split(content["pre_tokenizer"])
    files = [empty_cache / f"{proof_key(texts)}.json" for texts in what]
    assert {*empty_cache.iterdir()} == {*files}
    assert 0xCDC in Proof.model_validate_json(files[0].read_bytes()).points()
    made = times(empty_cache)
    chosen_for(content)
    assert times(empty_cache) == made
    files[0].write_text(Proof.of_points([0xE9, 0xEA, 0x100]).model_dump_json())
    used = chosen_for(content).used
    assert isinstance(used, GigatokenEncoder)
    assert used._mismatches == {"é", "ê", "Ā"}, "read, not proved again"
    choose_encoder(content, read_vocabulary(content).token_bytes, [*NAMES, "<other>"])
    assert len([*empty_cache.iterdir()]) == 3, "the split's is shared"


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b'{"refused":null,"mismatches":[',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"older": true}',
        b'{"refused":null,"mismatches":[[1114112,1114112]]}',
        b'{"refused":null,"mismatches":[[65,65]]}',
    ],
)
def test_damaged_proofs_are_made_again(empty_cache: Path, damaged: bytes) -> None:
    assert chosen_for(small()).reason is None
    whole = {path: path.read_bytes() for path in empty_cache.iterdir()}
    for path in whole:
        path.write_bytes(damaged)
    second = chosen_for(small())
    assert isinstance(second.used, GigatokenEncoder)
    assert {path: path.read_bytes() for path in empty_cache.iterdir()} == whole


def test_without_a_folder_to_keep_it_the_encoder_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder should be: also root cannot write there."""
    look_at_less(monkeypatch)
    monkeypatch.setattr(choose, "bundled_proofs", dict)
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    beside = tmp_path / f"fim_assets.cache.{os.getuid()}"
    beside.write_text("no folder either")
    choice = chosen_for(small())
    assert isinstance(choice.used, GigatokenEncoder)
    assert_equal(choice.reference, choice.used, ["def add(a, b):", "", "日本 é", "_\u0cdc'll"])
    assert file.read_text() == "no folder"
    beside.unlink()
    assert chosen_for(small()).reason is None
    made = times(beside / "encoders")
    assert len(made) == 2
    assert chosen_for(small()).reason is None
    assert times(beside / "encoders") == made, "the temporary folder has kept it"


def test_a_refusal_is_kept_too(empty_cache: Path) -> None:
    content = small() | {"pre_tokenizer": SPLITS["GPT-2, GPT-NeoX"] | {"use_regex": False}}
    reasons = [chosen_for(content).reason]
    made = times(empty_cache)
    reasons.append(chosen_for(content).reason)
    assert times(empty_cache) == made
    assert reasons[0] == reasons[1]
    assert "code points" in (reasons[0] or "")


_WITHOUT_GIGATOKEN = """
import importlib.metadata, sys
version = importlib.metadata.version
def of_others(name):
    if name == "gigatoken":
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)
importlib.metadata.version, sys.modules["gigatoken"] = of_others, None
from fim_assets.recipe import Recipe
from fim_assets.tokenizer.load import load_tokenizer
loaded = load_tokenizer(Recipe())
assert loaded.encoder is loaded.encoders.reference
print(loaded.encoder_description, end="")
"""


def test_without_gigatoken_the_reference_encodes_and_says_why() -> None:
    command = [sys.executable, "-c", _WITHOUT_GIGATOKEN]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == f"{ReferenceEncoder.name} (gigatoken is not installed)"
    with_it = load_tokenizer(Recipe())
    assert with_it.encoder_description == with_it.encoder.name == gigatoken_version()


def test_a_normalizer_that_gigatoken_does_not_know_leaves_the_reference(empty_cache: Path) -> None:
    choice = chosen_for(small() | {"normalizer": {"type": "Lowercase"}})
    assert choice.used is choice.reference
    assert choice.reason == "gigatoken does not know the normalizer Lowercase"
    assert not empty_cache.exists()


def test_ranges_of_a_proof_by_hand() -> None:
    proof_of_some = Proof.of_points([0x80, 0x81, 0x82, 0x100, 0x102, 0x103])
    assert proof_of_some.mismatches == [(0x80, 0x82), (0x100, 0x100), (0x102, 0x103)]
    assert proof_of_some.points() == [0x80, 0x81, 0x82, 0x100, 0x102, 0x103]
    assert Proof.of_points([]).points() == []
    with pytest.raises(EncoderError, match="differs"):
        Proof(refused="differs", mismatches=[]).points()
