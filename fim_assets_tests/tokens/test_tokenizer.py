import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

from fim_assets.recipe import Fim, Recipe, Tokens
from fim_assets.recipe import Tokenizer as TokenizerRecipe
from fim_assets.tokens import dolma2
from fim_assets.tokens.tokenizer import (
    PROBES,
    Controls,
    QuicktokEngine,
    ReferenceEngine,
    TokenizerError,
    content_hash,
    find_tokenizer,
    load_tokenizer,
)

VECTORS = Path(__file__).parent / "dolma2_vectors.jsonl"
PLAIN = json.dumps(
    json.loads((dolma2.FOLDER / "tokenizer.json").read_text("utf-8")) | {"added_tokens": []}
)


@pytest.fixture(scope="module")
def reference() -> ReferenceEngine:
    return ReferenceEngine(PLAIN)


@pytest.fixture(scope="module")
def quicktok(reference: ReferenceEngine) -> QuicktokEngine:
    return QuicktokEngine(PLAIN, reference)


def test_bundled_tokenizer_is_what_the_script_builds(tmp_path: Path) -> None:
    dolma2.build(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == (dolma2.FOLDER / name).read_bytes()


def test_bundled_tokenizer_has_the_published_ids() -> None:
    """REFERENCES of the recipe: 100,278 ids; sentinels 100258 to 100260, EOS 100257, pad 100277."""
    loaded = load_tokenizer(Recipe())
    assert loaded.vocab_size == 100_278
    assert loaded.controls == Controls(
        {"prefix": 100258, "middle": 100259, "suffix": 100260}, {}, None, 100257
    )
    names = [loaded.token_bytes[number] for number in (100256, 100257, 100261, 100275, 100277)]
    assert names == [
        b"<|extra_id_0|>",
        b"<|endoftext|>",
        b"|||PHONE_NUMBER|||",
        b"<|extra_id_10|>",
        b"<|pad|>",
    ]


def test_transformers_reads_the_bundled_files() -> None:
    loaded = AutoTokenizer.from_pretrained(dolma2.FOLDER)
    assert loaded.encode("<|fim_prefix|>a<|fim_suffix|><|fim_middle|><|endoftext|>") == [
        *(100258, 64, 100260, 100259, 100257)
    ]
    assert (loaded.eos_token_id, loaded.pad_token_id, len(loaded)) == (100257, 100277, 100_278)


def test_both_engines_give_the_vectors(
    reference: ReferenceEngine, quicktok: QuicktokEngine
) -> None:
    rows = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
    assert len(rows) == 220
    texts = [row["text"] for row in rows]
    for engine in (reference, quicktok):
        ids, offsets = engine.encode(texts)
        assert ids.dtype == np.uint32
        for row, begin, end in zip(rows, offsets[:-1], offsets[1:], strict=True):
            assert ids[begin:end].tolist() == row["ids"], row["text"]


@given(st.lists(st.text(st.characters(codec="utf-8")), max_size=8))
@settings(max_examples=300)
def test_engines_agree_on_any_text(
    reference: ReferenceEngine, quicktok: QuicktokEngine, texts: list[str]
) -> None:
    (ids, offsets), (other_ids, other_offsets) = reference.encode(texts), quicktok.encode(texts)
    assert np.array_equal(ids, other_ids)
    assert np.array_equal(offsets, other_offsets)


def test_engines_agree_on_long_runs(reference: ReferenceEngine, quicktok: QuicktokEngine) -> None:
    texts = [character * 20_000 for character in "a \n=é0"]
    (ids, offsets), (other_ids, other_offsets) = reference.encode(texts), quicktok.encode(texts)
    assert np.array_equal(ids, other_ids)
    assert np.array_equal(offsets, other_offsets)


def test_no_added_token_is_matched_in_text() -> None:
    loaded = load_tokenizer(Recipe())
    ids, _ = loaded.engine.encode([f"x{token}y" for token in loaded.added])
    assert ids.max() < 100_256
    assert len(loaded.added) == 22


def test_decode_gives_the_bytes_back() -> None:
    loaded = load_tokenizer(Recipe())
    for text in PROBES:
        ids, _ = loaded.engine.encode([text])
        assert loaded.decode(ids) == text.encode()
    with pytest.raises(IndexError):
        loaded.decode(np.array([100_278], np.uint32))


def test_content_hash_changes_with_any_file(tmp_path: Path) -> None:
    dolma2.build(tmp_path)
    assert content_hash(tmp_path) == content_hash(find_tokenizer("allenai/dolma2-tokenizer"))
    (tmp_path / "notes.txt").write_text("not the tokenizer's")
    assert content_hash(tmp_path) == content_hash(dolma2.FOLDER)
    (tmp_path / "special_tokens_map.json").write_text("{}")
    assert content_hash(tmp_path) != content_hash(dolma2.FOLDER)


def save_small_bpe(folder: Path, *, normalize: bool = False, size: int = 400) -> dict[str, int]:
    """Train a byte-level BPE on a little text, with sentinels; ids by added token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if normalize:
        tokenizer.normalizer = normalizers.NFC()
    specials = ["<eos>", "<pad>", "<pre>", "<mid>", "<suf>", "<sep>", "<repo>", "<end>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["def add(a, b): return a + b"] * 10, trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>"}'
    )
    return {token: specials.index(token) for token in specials}


def small_recipe(folder: Path, ids: dict[str, int], **changes: object) -> Recipe:
    settings = {
        "name_or_path": str(folder),
        "eos_token_id": ids["<eos>"],
        "pad_token_id": ids["<pad>"],
    }
    return Recipe(
        fim=Fim(
            file_separator_token="<sep>",
            fim_prefix_token="<pre>",
            fim_middle_token="<mid>",
            fim_suffix_token="<suf>",
        ),
        tokens=Tokens(tokenizer=TokenizerRecipe.model_validate(settings | changes), dtype="uint16"),
    )


def test_another_tokenizer_from_a_folder(tmp_path: Path) -> None:
    """quicktok does not know its splitting, so that the reference encodes."""
    ids = save_small_bpe(tmp_path / "bpe")
    loaded = load_tokenizer(small_recipe(tmp_path / "bpe", ids))
    assert loaded.engine.name.startswith("tokenizers ")
    assert loaded.controls.boundaries == {"<sep>": ids["<sep>"]}
    encoded, offsets = loaded.engine.encode(["def add", "", "<eos>é"])
    assert loaded.decode(encoded) == "def add<eos>é".encode()
    assert offsets[1] == offsets[2]
    assert ids["<eos>"] not in encoded


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eos_token_id": 300}, "tokens.tokenizer.eos_token_id = 300: no added token"),
        ({"bos_token_id": 9999}, "tokens.tokenizer.bos_token_id = 9999: no added token"),
        ({"name_or_path": "/nowhere"}, "no folder of this name"),
    ],
)
def test_tokenizer_that_cannot_do_what_is_asked(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, **changes))


def test_sentinel_without_an_id_is_named() -> None:
    recipe = Recipe(fim=Fim(fim_middle_token="<fim_middle>"))
    with pytest.raises(TokenizerError, match=r"fim\.fim_middle_token = <fim_middle>: not one id"):
        load_tokenizer(recipe)


def with_fim(recipe: Recipe, **fields: object) -> Recipe:
    fim = Fim.model_validate(recipe.fim.model_dump() | fields)
    return recipe.model_copy(update={"fim": fim})


def test_controls_are_those_that_the_recipe_names(tmp_path: Path) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    recipe = small_recipe(tmp_path / "bpe", ids)
    ends = with_fim(recipe, fim_end_token="<end>", repository_tokens=["<repo>", "<none>"])
    assert load_tokenizer(ends).controls == Controls(
        {"prefix": 2, "middle": 3, "suffix": 4, "end": 7}, {"<repo>": 6, "<sep>": 5}, None, 0
    )
    bare = with_fim(recipe, fim_middle_token=None, psm_spm_split=0.0, file_separator_token=None)
    assert load_tokenizer(bare).controls == Controls({"prefix": 2, "suffix": 4}, {}, None, 0)


def test_end_token_without_an_id_is_named(tmp_path: Path) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    recipe = with_fim(small_recipe(tmp_path / "bpe", ids), fim_end_token="<none>")
    with pytest.raises(TokenizerError, match=r"fim\.fim_end_token = <none>: not one id"):
        load_tokenizer(recipe)


@pytest.mark.parametrize(
    ("token", "fields"),
    [("<end>", {"fim_end_token": "<end>"}), ("<repo>", {"repository_tokens": ["<repo>"]})],
)
def test_an_id_that_a_recipe_puts_inside_documents_marks_no_ends(
    tmp_path: Path, token: str, fields: dict[str, object]
) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    recipe = small_recipe(tmp_path / "bpe", ids, eos_token_id=ids[token])
    assert load_tokenizer(recipe).controls.eos == ids[token]
    with pytest.raises(TokenizerError, match=f"eos_token_id = {ids[token]}: it is {token}"):
        load_tokenizer(with_fim(recipe, **fields))


def test_normalizing_tokenizer_is_refused(tmp_path: Path) -> None:
    ids = save_small_bpe(tmp_path / "bpe", normalize=True)
    with pytest.raises(TokenizerError, match=r"normalizes text \(NFC\)"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids))


def test_dtype_that_readers_would_not_infer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="100278 ids, for which trainers infer uint32"):
        load_tokenizer(Recipe(tokens=Tokens(dtype="uint16")))
    ids = save_small_bpe(tmp_path / "bpe")
    recipe = small_recipe(tmp_path / "bpe", ids)
    wide = recipe.model_copy(
        update={"tokens": recipe.tokens.model_copy(update={"dtype": "uint32"})}
    )
    with pytest.raises(TokenizerError, match=r"set tokens\.dtype to uint16"):
        load_tokenizer(wide)


def test_engines_agree_on_every_letter_of_unicode(
    reference: ReferenceEngine, quicktok: QuicktokEngine
) -> None:
    """Their tables are of different years: what one takes for a letter, the other may split."""
    points = [n for n in range(0x110000) if not 0xD800 <= n <= 0xDFFF]
    for at in range(0, len(points), 100_000):
        texts = [f"_{chr(n)}'ll" for n in points[at : at + 100_000]]
        (ids, offsets), (others, bounds) = reference.encode(texts), quicktok.encode(texts)
        assert np.array_equal(offsets, bounds)
        assert np.array_equal(ids, others)


def test_tokenizer_that_draws_merges_is_refused(tmp_path: Path) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    path = tmp_path / "bpe" / "tokenizer.json"
    content = json.loads(path.read_text("utf-8"))
    content["model"]["dropout"] = 0.3
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(TokenizerError, match=r"at random \(dropout 0\.3\)"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids))


@pytest.mark.parametrize("field", ["bos_token_id", "eos_token_id", "pad_token_id"])
@pytest.mark.parametrize("token", ["<pre>", "<sep>"])
def test_an_id_that_stands_inside_documents_marks_no_ends(
    tmp_path: Path, field: str, token: str
) -> None:
    ids = save_small_bpe(tmp_path / "bpe")
    with pytest.raises(TokenizerError, match=f"{field} = {ids[token]}: it is {token}"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, **{field: ids[token]}))
