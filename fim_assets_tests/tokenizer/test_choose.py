"""Which encoder is chosen, for a byte-level BPE so small that its proof takes a moment."""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fim_assets.recipe import Recipe
from fim_assets.tokenizer import choose, proof
from fim_assets.tokenizer.choose import Encoders, choose_encoder
from fim_assets.tokenizer.encoders import Offsets, QuicktokEncoder, ReferenceEncoder, TokenIds
from fim_assets.tokenizer.load import _open_files, load_tokenizer
from fim_assets.tokenizer.proof import EncoderError, find_mismatches, proof_texts, prove
from fim_assets.tokenizer.vocabulary import Vocabulary, read_vocabulary
from fim_assets_tests.tokenizer.small_tokenizers import QWEN_SPLIT, byte_level_bpe
from fim_assets_tests.tokenizer.test_encoders import assert_equal


def forget_tokenizers() -> None:
    """What is loaded next is read from its files."""
    load_tokenizer.cache_clear()
    _open_files.cache_clear()


@lru_cache(maxsize=1)
def small() -> tuple[dict[str, Any], Vocabulary]:
    content = json.loads(byte_level_bpe(["def add(a, b): return a + b"] * 3, split=QWEN_SPLIT))
    return content | {"added_tokens": [], "post_processor": None}, read_vocabulary(content)


NAMES = ["<eos>", "<fim_prefix>"]


def choose_small() -> Encoders:
    content, vocabulary = small()
    return choose_encoder(content, vocabulary.token_bytes, NAMES)


@contextmanager
def proved() -> Iterator[tuple[Path, list[int]]]:
    content, vocabulary = small()
    plain = json.dumps(content)
    with choose._proved_tables(
        plain, ReferenceEncoder(plain), proof_texts(vocabulary.token_bytes, NAMES), NAMES
    ) as tables:
        yield tables


def differing_where(differs: Callable[[str], bool]) -> list[int]:
    """Prove an encoder that is the reference but for some texts, to which it adds an id."""
    content, vocabulary = small()
    reference = ReferenceEncoder(json.dumps(content))

    def encode(texts: list[str]) -> tuple[TokenIds, Offsets]:
        ids, offsets = reference.encode(texts)
        rows = [
            np.append(ids[begin:end], np.uint32(0)) if differs(text) else ids[begin:end]
            for text, begin, end in zip(texts, offsets[:-1], offsets[1:], strict=True)
        ]
        return np.concatenate([ids[:0], *rows]), np.cumsum([0, *map(len, rows)])

    mismatches = find_mismatches(encode, reference)
    prove(encode, reference, proof_texts(vocabulary.token_bytes, NAMES), mismatches)
    return mismatches


_mismatches_of_less = lru_cache(choose._mismatches_by_split.__wrapped__)


def look_at_less(patch: pytest.MonkeyPatch) -> None:
    """Prove on fewer code points and random texts: a proof of all takes seconds."""
    patch.setattr(proof, "_DENSE", (range(0x1000), range(0x4E00, 0x5000)))
    patch.setattr(proof, "_SPARSE", range(0x34000, 0x110000, 970))
    patch.setattr(proof, "_RANDOM_TEXTS", 400)
    patch.setattr(choose, "_mismatches_by_split", _mismatches_of_less)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    look_at_less(monkeypatch)


@pytest.mark.usefixtures("quick")
def test_an_encoder_that_is_the_reference_is_proved() -> None:
    assert differing_where(lambda _: False) == []


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "word", ["<fim_prefix>", "def add(a, b):\n    return a + b\n", "=" * proof._RUN]
)
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


@pytest.mark.usefixtures("quick")
def test_a_split_that_differs_is_seen_though_no_token_of_the_vocabulary_shows_it() -> None:
    """Kannada's U+0CDC became a letter after quicktok's tables: before `'s` it is cut otherwise.

    The tokenizer has a token for `'s` and none for `'ll`, by which the difference shows at once.
    """
    content = json.loads(byte_level_bpe(["it's that's x's"] * 3, split=QWEN_SPLIT))
    content |= {"added_tokens": [], "post_processor": None}
    vocabulary = read_vocabulary(content)
    assert "'s" in content["model"]["vocab"]
    assert "'ll" not in content["model"]["vocab"]
    chosen = choose_encoder(content, vocabulary.token_bytes, NAMES)
    assert isinstance(chosen.used, QuicktokEncoder)
    text = "\u0cdc's"
    fast, _ = chosen.used._tokenizer.encode_batch([text], 1)
    exact, _ = chosen.reference.encode([text])
    assert fast.tolist() != exact.tolist()
    assert chosen.used.encode([text])[0].tolist() == exact.tolist()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("merges", "ids", "ignore", "reason"),
    [
        (
            [["q", "z"], ["x", "q"]],
            [1, 0],
            False,
            "knows no merge that comes before one of a lower",
        ),
        ([["q", "z"]], [0, 1], True, "knows no token that no merge makes: b'xq'"),
    ],
)
def test_merges_that_the_ids_do_not_imply_leave_the_reference(
    merges: list[list[str]], ids: list[int], ignore: bool, reason: str
) -> None:
    content, _ = small()
    model = content["model"]
    first = len(model["vocab"])
    vocab = model["vocab"] | {"qz": first + ids[0], "xq": first + ids[1]}
    model = model | {"vocab": vocab, "merges": model["merges"] + merges, "ignore_merges": ignore}
    content = content | {"model": model}
    chosen = choose_encoder(content, read_vocabulary(content).token_bytes, NAMES)
    assert chosen.used is chosen.reference
    assert chosen.reason is not None
    assert reason in chosen.reason


@pytest.mark.usefixtures("quick")
def test_ids_with_a_gap_that_quicktok_cannot_hold_leave_the_reference() -> None:
    """The reason stands in receipts: it names no temporary folder."""
    content, _ = small()
    vocab = content["model"]["vocab"]
    model = content["model"] | {
        "vocab": vocab | {"qz": 70_000},
        "merges": [*content["model"]["merges"], ["q", "z"]],
    }
    content = content | {"model": model}
    tokens = read_vocabulary(content).token_bytes
    first, second = (choose_encoder(content, tokens, NAMES) for _ in range(2))
    assert first.used is first.reference
    assert first.reason == second.reason
    assert first.reason is not None
    assert first.reason.startswith("quicktok cannot use its tables: bad vocab file")
    assert "tmp" not in first.reason


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    look_at_less(monkeypatch)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "fim_assets" / "engines"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a proof that is whole."""
    home = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        look_at_less(patch)
        patch.setenv("XDG_CACHE_HOME", str(home))
        assert choose_small().reason is None
    return next((home / "fim_assets" / "engines").iterdir())


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_proof_is_kept_and_read_again(kept: Path, empty_cache: Path) -> None:
    shutil.copytree(kept, empty_cache / kept.name)
    with proved() as (folder, doubtful):
        assert folder == empty_cache / kept.name, "by tokenizer and versions, not by place"
        assert [path.name for path in empty_cache.iterdir()] == [folder.name]
        stored = json.loads((folder / "proof.json").read_text())
        assert stored["doubtful"] == doubtful
        assert stored["refused"] is None
        assert set(stored["files"]) | {"proof.json"} == set(times(folder))
    made = times(folder)
    (folder / "proof.json").write_text(json.dumps(stored | {"doubtful": [0xE9]}))
    with proved() as (again, believed):
        assert again == folder
        assert believed == [0xE9], "read, not proved again"
    made["proof.json"] = times(folder)["proof.json"]
    assert times(folder) == made


def test_a_folder_that_another_process_filled_meanwhile_stays(
    kept: Path, empty_cache: Path, tmp_path: Path
) -> None:
    """It may be reading it."""
    folder = shutil.copytree(kept, empty_cache / kept.name)
    inode = folder.stat().st_ino
    choose._keep(shutil.copytree(kept, tmp_path / "made"), folder)
    assert folder.stat().st_ino == inode
    assert [path.name for path in empty_cache.iterdir()] == [folder.name]


def test_tables_that_cannot_be_opened_leave_the_reference_for_this_time(
    kept: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(kept, empty_cache / kept.name)

    class Unlucky:
        def __init__(self, *_: object) -> None:
            raise RuntimeError("cannot open uniclass file")

    with monkeypatch.context() as patch:
        patch.setattr("quicktok.Tokenizer", Unlucky)
        chosen = choose_small()
    assert chosen.used is chosen.reference
    assert chosen.reason == "quicktok cannot use its tables: cannot open uniclass file"
    assert isinstance(choose_small().used, QuicktokEncoder)


def test_a_proof_is_one_tokenizers_and_those_that_cut_alike_share_code_points(
    empty_cache: Path,
) -> None:
    choose_small()
    content, vocabulary = small()
    before = _mismatches_of_less.cache_info()
    choose_encoder(content, vocabulary.token_bytes, [*NAMES, "<other>"])
    assert len(list(empty_cache.iterdir())) == 2
    after = _mismatches_of_less.cache_info()
    assert (after.hits, after.misses) == (before.hits + 1, before.misses)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("tables.vocab", b""),
        ("tables.vocab", None),
        ("uniclass.bin", None),
        ("tables.enc", b"scanner=llama3\n"),
        ("proof.json", None),
        ("proof.json", b""),
        ("proof.json", b'{"refused":null,"doubtful":['),
        ("proof.json", b"\xff\xfe"),
        ("proof.json", b"[]"),
        ("proof.json", b'{"older": true}'),
        ("proof.json", b"{}"),
        ("proof.json", b'{"refused":null,"doubtful":[1114112],"files":{"tables.enc":""}}'),
        ("proof.json", b'{"refused":null,"doubtful":[],"files":{}}'),
    ],
)
def test_damaged_tables_and_proofs_are_made_again(
    kept: Path, empty_cache: Path, name: str, damaged: bytes | None
) -> None:
    folder = shutil.copytree(kept, empty_cache / kept.name)
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / name).unlink()
    if damaged is not None:
        (folder / name).write_bytes(damaged)
    second = choose_small()
    assert second.reason is None
    assert isinstance(second.used, QuicktokEncoder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole
    assert [path.name for path in empty_cache.iterdir()] == [folder.name]


def test_without_a_folder_to_keep_it_the_encoder_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file stands where the folder should be: also root cannot write there."""
    look_at_less(monkeypatch)
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    beside = tmp_path / f"fim_assets.cache.{os.getuid()}"
    beside.write_text("no folder either")
    choice = choose_small()
    assert choice.reason is None
    assert isinstance(choice.used, QuicktokEncoder)
    assert_equal(choice.reference, choice.used, ["def add(a, b):", "", "日本 é", "_\u0cdc'll"])
    assert file.read_text() == "no folder"
    beside.unlink()
    assert choose_small().reason is None
    [kept_proof] = (beside / "engines").iterdir()
    made = times(kept_proof)
    assert choose_small().reason is None
    assert times(kept_proof) == made, "the temporary folder has kept it"


def test_a_refusal_is_kept_too(empty_cache: Path) -> None:
    content = json.loads(byte_level_bpe(["def add(a, b): return a + b"] * 3))
    content |= {"added_tokens": [], "post_processor": None}
    tokens = read_vocabulary(content).token_bytes
    reasons = [choose_encoder(content, tokens, NAMES).reason]
    folder = next(empty_cache.iterdir())
    assert [path.name for path in folder.iterdir()] == ["proof.json"]
    made = times(folder)
    reasons.append(choose_encoder(content, tokens, NAMES).reason)
    assert times(folder) == made
    assert reasons[0] == reasons[1]
    assert reasons[0] is not None
    assert "unrecognized pretokenizer pattern" in reasons[0]
    assert "\n" not in reasons[0]


def test_without_quicktok_the_reference_encodes_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_it = load_tokenizer(Recipe())
    monkeypatch.setitem(sys.modules, "quicktok", None)
    forget_tokenizers()
    try:
        without = load_tokenizer(Recipe())
    finally:
        forget_tokenizers()
    assert without.encoder is without.encoders.reference
    assert without.encoder_description == f"{ReferenceEncoder.name} (quicktok is not installed)"
    assert with_it.encoder_description == with_it.encoder.name
    texts = ["def add(a, b):\n\treturn a", "<|endoftext|>é"]
    assert isinstance(with_it.encoder, QuicktokEncoder)
    assert_equal(without.encoders.reference, with_it.encoder, texts)


def test_a_normalizer_that_quicktok_does_not_know_leaves_the_reference(empty_cache: Path) -> None:
    content, vocabulary = small()
    lower = content | {"normalizer": {"type": "Lowercase"}}
    choice = choose_encoder(lower, vocabulary.token_bytes, NAMES)
    assert choice.used is choice.reference
    assert choice.reason == "quicktok does not know the normalizer Lowercase"
    assert not empty_cache.exists()


def test_bundled_tokenizers_tables_are_proved_once_for_all(cache_home: Path) -> None:
    forget_tokenizers()
    assert load_tokenizer(Recipe()).encoders.reason is None
    kept = cache_home / "fim_assets" / "engines"
    assert any(json.loads(p.read_text())["doubtful"] for p in kept.glob("*/proof.json"))
