import json
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

from fim_assets.corpus.receipts import Receipt
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokenizer as TokenizerRecipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.tokenizer.controls import Controls
from fim_assets.tokenizer.encoders import ReferenceEncoder
from fim_assets.tokenizer.find import DOLMA2, TokenizerError, content_hash, find_tokenizer
from fim_assets.tokenizer.gigatoken_encoder import GigatokenEncoder
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets.tokenizer.proof import EDGE_CASE_TEXTS
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import free_port
from fim_assets_tests.hub_server import COMMIT, Repository, hub_server
from fim_assets_tests.tokenizer.build_dolma2 import build
from fim_assets_tests.tokenizer.small_tokenizers import (
    CODE,
    NAMES,
    byte_level_bpe,
    save,
    sentencepiece_like,
    small_recipe,
)
from fim_assets_tests.tokenizer.splits import LLAMA_3, QWEN_2
from fim_assets_tests.tokenizer.test_encoders import assert_equal

# dolma2, which comes with the package.


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the script builds."""
    folder = tmp_path_factory.mktemp("built")
    build(folder)
    return folder


def test_bundled_tokenizer_is_what_the_script_builds(built: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (built / name).read_bytes() == (DOLMA2 / name).read_bytes()


def test_bundled_tokenizer_has_the_published_ids() -> None:
    """REFERENCES of the recipe: 100,278 ids; sentinels 100258 to 100260, EOS 100257, pad 100277."""
    loaded = load_tokenizer(Recipe())
    table = loaded.vocabulary.token_bytes
    assert len(table) == 100_278
    assert loaded.controls == Controls(
        {"prefix": 100258, "middle": 100259, "suffix": 100260}, {}, None, 100257, "<|file_sep|>"
    )
    assert [table[number] for number in (100256, 100257, 100261, 100275, 100277)] == [
        b"<|extra_id_0|>",
        b"<|endoftext|>",
        b"|||PHONE_NUMBER|||",
        b"<|extra_id_10|>",
        b"<|pad|>",
    ]


def test_transformers_reads_the_bundled_files() -> None:
    loaded = AutoTokenizer.from_pretrained(DOLMA2)
    assert loaded.encode("<|fim_prefix|>a<|fim_suffix|><|fim_middle|><|endoftext|>") == [
        *(100258, 64, 100260, 100259, 100257)
    ]
    assert (loaded.eos_token_id, loaded.pad_token_id, len(loaded)) == (100257, 100277, 100_278)


def test_no_added_token_is_matched_in_text() -> None:
    loaded = load_tokenizer(Recipe())
    ids = np.concatenate(loaded.encoder.encode([f"x{token}y" for token in loaded.added]))
    assert ids.max() < 100_256
    assert len(loaded.added) == 22


def test_decode_gives_the_bytes_back() -> None:
    loaded = load_tokenizer(Recipe())
    for text in EDGE_CASE_TEXTS:
        [ids] = loaded.encoder.encode([text])
        assert loaded.decode(ids) == text.encode() == loaded.normal_form(text)
    with pytest.raises(ValueError, match="outside of the vocabulary of 100,278"):
        loaded.decode(np.array([100_278], np.uint32))


# Where it is found.


def test_content_hash_changes_with_any_file(tmp_path: Path, built: Path) -> None:
    folder = shutil.copytree(built, tmp_path / "built")
    assert content_hash(folder) == content_hash(find_tokenizer(TokenizerRecipe()))
    (folder / "notes.txt").write_text("not the tokenizer's")
    assert content_hash(folder) == content_hash(DOLMA2)
    (folder / "special_tokens_map.json").write_text("{}")
    assert content_hash(folder) != content_hash(DOLMA2)


def test_a_tokenizer_that_changed_since_is_refused(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    recipe = small_recipe(tmp_path / "bpe", ids)
    assert load_tokenizer(recipe, content_hash(tmp_path / "bpe"))
    with pytest.raises(TokenizerError, match="changed since the definitions were loaded"):
        load_tokenizer(recipe, "0" * 32)


def test_recipes_share_what_was_read_of_a_tokenizer_until_its_files_change(tmp_path: Path) -> None:
    folder = tmp_path / "bpe"
    ids = save(folder, byte_level_bpe(CODE))
    recipes = [small_recipe(folder, ids, {"layout": layout}) for layout in LAYOUTS]
    first, second = map(load_tokenizer, recipes[:2])
    assert first.encoders is second.encoders
    assert first.vocabulary is second.vocabulary
    save(folder, byte_level_bpe(CODE, size=300))
    assert len(load_tokenizer(recipes[2]).vocabulary.token_bytes) == 300
    assert len(first.vocabulary.token_bytes) > 300


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    with pytest.raises(TokenizerError, match=rf"revision = {COMMIT}: .*bpe is a folder"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, revision=COMMIT))


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="holds none of a tokenizer's files"):
        find_tokenizer(TokenizerRecipe(name_or_path=str(tmp_path)))


@pytest.mark.parametrize("name", ["someone/something", "/nowhere"])
def test_a_name_that_is_no_folder_needs_a_revision(name: str) -> None:
    with pytest.raises(TokenizerError, match=rf"{name}: no folder.*tokens\.tokenizer\.revision"):
        find_tokenizer(TokenizerRecipe(name_or_path=name))


@pytest.mark.parametrize("revision", ["main", COMMIT[:7], COMMIT.upper(), f"{COMMIT}0"])
def test_a_revision_is_a_commit(revision: str) -> None:
    with pytest.raises(RecipeError, match=r"tokens\.tokenizer\.revision"):
        parse_recipe(f"tokens: {{tokenizer: {{revision: '{revision}'}}}}", "x")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server that has one commit of `someone/small`, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("hub") / "bpe"
    save(folder, byte_level_bpe(CODE))
    (folder / "model.safetensors").write_bytes(b"weights, which no tokenizer needs")
    log = folder.with_name("requests")
    with hub_server(log, [Repository("someone/small", str(folder))]) as server:
        yield server.endpoint, folder


_DOWNLOAD = """
import json, sys
from fim_assets.recipe.tokens import Tokenizer
from fim_assets.tokenizer import find
from fim_assets.tokenizer.find import TokenizerError, content_hash, find_tokenizer
find._TRIES = 1
for asked in sys.argv[1:]:
    name, commit = asked.split("@")
    try:
        folder = find_tokenizer(Tokenizer(name_or_path=name, revision=commit))
        print(json.dumps(f"{folder} {content_hash(folder)}"))
    except TokenizerError as error:
        print(json.dumps(str(error)))
"""
FIRST = f"someone/small@{COMMIT}"


def download(endpoint: str, home: Path, *asked: str) -> list[str]:
    """What a process finds of names with their commits: folder and hash, or why there is none."""
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _DOWNLOAD, *asked],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_hubs_commit_is_downloaded_and_kept_and_what_it_has_not_is_named(
    tmp_path: Path, hub: tuple[str, Path]
) -> None:
    """What the cache holds serves without the hub; that nobody answers for it is told at once."""
    endpoint, served = hub
    others = (("someone/other", COMMIT), ("someone/small", "f" * 40))
    first, *missing = download(endpoint, tmp_path, FIRST, *map("@".join, others))
    folder, found = first.split()
    assert found == content_hash(served)
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        *("tokenizer.json", "tokenizer_config.json")
    ], "the weights stay where they are"
    ids = {
        t["content"]: t["id"]
        for t in json.loads((served / "tokenizer.json").read_text())["added_tokens"]
    }
    assert load_tokenizer(small_recipe(Path(folder), ids)).controls.eos == ids["<eos>"]
    for (name, commit), line in zip(others, missing, strict=True):
        assert f"name_or_path = {name}, revision {commit}: the Hub did not give it" in line
    nowhere = f"http://127.0.0.1:{free_port()}"
    kept, unknown = download(nowhere, tmp_path, FIRST, "@".join(others[0]))
    assert kept == first
    message = "not in this machine's cache, and the Hub cannot be asked: http://127.0.0.1:"
    assert message in unknown
    assert "\n" not in unknown


def test_a_home_that_takes_no_download_is_done_without(
    tmp_path: Path, hub: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a file, below which the Hub's client looks for a token too; the next one finds it."""
    file = tmp_path / "file"
    file.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    [first] = download(hub[0], file / "hub", FIRST)
    assert first.startswith(f"{tmp_path}/fim_assets.cache.")
    assert download(f"http://127.0.0.1:{free_port()}", file / "hub", FIRST) == [first]


# What a recipe asks of it.


def test_a_recipe_without_eos_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"tokens\.tokenizer\.eos_token_id.*ends in EOS"):
        parse_recipe("tokens: {tokenizer: {eos_token_id: null}}", "x")


@pytest.mark.parametrize("split", [None, QWEN_2, r"\d+|\D"])
def test_another_tokenizer_from_a_folder(tmp_path: Path, split: str | None) -> None:
    """Where gigatoken does not know its splitting, the reference encodes and says why."""
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE, split=split))
    loaded = load_tokenizer(small_recipe(tmp_path / "bpe", ids))
    if split == r"\d+|\D":
        assert loaded.encoder is loaded.encoders.reference
        assert split in (loaded.encoders.reason or "").replace("\\\\", "\\")
    else:
        assert isinstance(loaded.encoder, GigatokenEncoder)
        assert loaded.encoder_description == loaded.encoder.name
    assert loaded.controls.boundaries == {"<sep>": ids["<sep>"]}
    rows = loaded.encoder.encode(["def add", "", "<eos>é"])
    assert [loaded.decode(row) for row in rows] == [b"def add", b"", "<eos>é".encode()]
    assert ids["<eos>"] not in rows[2]


@pytest.fixture(scope="module")
def qwen_like(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Any]:
    folder = tmp_path_factory.mktemp("qwen") / "bpe"
    content = byte_level_bpe([*CODE, Path(__file__).read_text("utf-8")], split=QWEN_2, size=900)
    loaded = load_tokenizer(small_recipe(folder, save(folder, content)))
    assert isinstance(loaded.encoder, GigatokenEncoder)
    plain = json.dumps(json.loads(content) | {"added_tokens": []})
    return Tokenizer.from_str(plain), loaded


PIECES = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    [*CODE, *NAMES, "123", " \n", "'ll"]
)


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(deadline=None)
def test_a_bpe_with_qwens_split_is_encoded_by_gigatoken_as_by_tokenizers(
    qwen_like: tuple[Tokenizer, Any], text: str
) -> None:
    tokenizer, loaded = qwen_like
    [ids] = loaded.encoder.encode([text])
    assert ids.tolist() == tokenizer.encode(text).ids
    assert loaded.decode(ids) == text.encode()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eos_token_id": 300}, "tokens.tokenizer.eos_token_id = 300: no added token"),
        ({"bos_token_id": 9999}, "tokens.tokenizer.bos_token_id = 9999: no added token"),
        ({"pad_token_id": 8}, "tokens.tokenizer.pad_token_id = 8: no added token"),
        ({"name_or_path": "/nowhere"}, "no folder of this name"),
    ],
)
def test_tokenizer_that_cannot_do_what_is_asked(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    with pytest.raises(TokenizerError, match=message):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, **changes))


def test_sentinel_without_an_id_is_named() -> None:
    recipe = Recipe(fim=Fim(fim_middle_token="<fim_middle>"))
    with pytest.raises(TokenizerError, match=r"fim\.fim_middle_token = <fim_middle>: not one id"):
        load_tokenizer(recipe)


def test_controls_are_those_that_the_recipe_names(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))

    def controls(**fim: object) -> Controls:
        return load_tokenizer(small_recipe(tmp_path / "bpe", ids, fim=fim)).controls

    ends = controls(fim_end_token="<end>", repository_tokens=["<repo>", "<none>"])
    assert ends == Controls(
        {"prefix": 2, "middle": 3, "suffix": 4, "end": 7},
        {"<repo>": 6, "<sep>": 5},
        None,
        0,
        "<sep>",
    )
    bare = controls(fim_middle_token=None, psm_spm_split=0.0, file_separator_token=None)
    assert bare == Controls({"prefix": 2, "suffix": 4}, {}, None, 0)


def test_end_token_without_an_id_is_named(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    recipe = small_recipe(tmp_path / "bpe", ids, fim={"fim_end_token": "<none>"})
    with pytest.raises(TokenizerError, match=r"fim\.fim_end_token = <none>: not one id"):
        load_tokenizer(recipe)


@pytest.mark.parametrize(
    ("token", "fields"),
    [("<end>", {"fim_end_token": "<end>"}), ("<repo>", {"repository_tokens": ["<repo>"]})],
)
def test_an_id_that_a_recipe_puts_inside_documents_marks_no_ends(
    tmp_path: Path, token: str, fields: dict[str, object]
) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    recipe = small_recipe(tmp_path / "bpe", ids, eos_token_id=ids[token])
    assert load_tokenizer(recipe).controls.eos == ids[token]
    with pytest.raises(TokenizerError, match=f"eos_token_id = {ids[token]}: it is {token}"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, fim=fields, eos_token_id=ids[token]))


@pytest.mark.parametrize("field", ["bos_token_id", "eos_token_id", "pad_token_id"])
@pytest.mark.parametrize("token", ["<pre>", "<sep>"])
def test_an_id_that_stands_inside_documents_marks_no_ends(
    tmp_path: Path, field: str, token: str
) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    changes: dict[str, Any] = {field: ids[token]}
    with pytest.raises(TokenizerError, match=f"{field} = {ids[token]}: it is {token}"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, **changes))


def test_dtype_that_readers_would_not_infer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="100278 ids, for which trainers infer uint32"):
        load_tokenizer(Recipe(tokens=Tokens(dtype="uint16")))
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    with pytest.raises(TokenizerError, match=r"set tokens\.dtype to uint16"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, {"dtype": "uint32"}))


def with_top_id(top: int) -> str:
    """A tokenizer whose highest id is another added token's."""
    content = json.loads(byte_level_bpe(CODE))
    vocab = content["model"]["vocab"] | {"Ġzz": top - 1, "Ġzzz": top}
    return json.dumps(content | {"model": content["model"] | {"vocab": vocab}})


def test_65536_ids_fit_in_uint16_and_one_more_does_not(tmp_path: Path) -> None:
    ids = save(tmp_path / "fits", with_top_id(65_535))
    assert (
        len(load_tokenizer(small_recipe(tmp_path / "fits", ids)).vocabulary.token_bytes) == 65_536
    )
    save(tmp_path / "not", with_top_id(65_536))
    with pytest.raises(TokenizerError, match=r"set tokens\.dtype to uint32"):
        load_tokenizer(small_recipe(tmp_path / "not", ids))
    assert load_tokenizer(small_recipe(tmp_path / "not", ids, {"dtype": "uint32"}))


def test_tokenizer_that_draws_merges_is_refused(tmp_path: Path) -> None:
    content = json.loads(byte_level_bpe(CODE))
    content["model"]["dropout"] = 0.3
    ids = save(tmp_path / "bpe", json.dumps(content))
    for allow in (False, True):
        with pytest.raises(TokenizerError, match=r"at random \(dropout 0\.3\)"):
            load_tokenizer(small_recipe(tmp_path / "bpe", ids, {"allow_lossy": allow}))


@pytest.mark.parametrize("token", ["<pre>", "<eos>", "<pad>", "<end>"])
def test_an_id_that_text_gives_is_refused(tmp_path: Path, token: str) -> None:
    """The model merges the name's letters to the added token's own id.

    `<end>` is placed nowhere, but special: a trainer may give it a meaning.
    """
    content = json.loads(byte_level_bpe(CODE))
    content["pre_tokenizer"]["use_regex"] = False
    vocab = content["model"]["vocab"]
    for size in range(2, len(token)):
        vocab.setdefault(token[:size], len(vocab))
    steps = [[token[:size], token[size]] for size in range(1, len(token))]
    content["model"]["merges"][:0] = steps
    ids = save(tmp_path / "bpe", json.dumps(content))
    with pytest.raises(TokenizerError, match=f"the id {ids[token]} of {token}, so that .* forge"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids))


def test_an_id_that_text_gives_after_other_text_is_refused(tmp_path: Path) -> None:
    """Alone, the name's first letter is merged with something else."""
    content = json.loads(sentencepiece_like(prepend=True))
    vocab, merges = content["model"]["vocab"], content["model"]["merges"]
    for piece in ("<", "p", ">", "▁<", "<p", "<pa", "<pad", "<pad>"):
        vocab.setdefault(piece, len(vocab))
    merges[:] = [["▁", "<"], ["<", "p"], ["<p", "a"], ["<pa", "d"], ["<pad", ">"]]
    ids = save(tmp_path / "bpe", Tokenizer.from_str(json.dumps(content)).to_str())
    with pytest.raises(TokenizerError, match=f"the id {ids['<pad>']} of <pad>, so that .* forge"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}))


def test_an_added_token_that_is_a_bytes_own_token_is_refused(tmp_path: Path) -> None:
    """The character for the byte 0xE4, with which very many others begin."""
    content = json.loads(byte_level_bpe(CODE))
    eos = content["added_tokens"][0]
    eos |= {"id": content["model"]["vocab"]["ä"], "content": "ä"}
    save(tmp_path / "bpe", json.dumps(content))
    ids = {token["content"]: token["id"] for token in content["added_tokens"]}
    with pytest.raises(TokenizerError, match=r"of ä, so that .* forge"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids | {"<eos>": eos["id"]}))


def test_a_tokenizer_is_what_its_file_says_whatever_class_it_claims(tmp_path: Path) -> None:
    """transformers takes the vocabulary of these classes alone from the file."""
    tokenizer = Tokenizer.from_str(byte_level_bpe([*CODE, "x    12    3"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), tokenizer.pre_tokenizer]
    )
    texts = ["x    12", *EDGE_CASE_TEXTS]
    expected = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    for name in ("GPT2Tokenizer", "Qwen2Tokenizer", "LlamaTokenizer"):
        ids = save(tmp_path / name, tokenizer.to_str())
        (tmp_path / name / "tokenizer_config.json").write_text(f'{{"tokenizer_class": "{name}"}}')
        rows = load_tokenizer(small_recipe(tmp_path / name, ids)).encoder.encode(texts)
        assert [ids.tolist() for ids in rows] == expected


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"model": {"type": "BPE"}}', '{"pre_tokenizer": {"type": "Other"}}', "\xff"],
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content.encode("latin-1"))
    recipe = Recipe(tokens=Tokens(tokenizer=TokenizerRecipe(name_or_path=str(tmp_path))))
    with pytest.raises(TokenizerError, match=rf"^{tmp_path}: tokenizers cannot load it: "):
        load_tokenizer(recipe)


def test_a_vocabulary_that_is_not_understood_is_refused(tmp_path: Path) -> None:
    """A special added token stands for its name: as a line feed's own token it hides that."""
    content = json.loads(byte_level_bpe(CODE))
    number = content["model"]["vocab"]["Ċ"]
    content["added_tokens"].append(content["added_tokens"][0] | {"id": number, "content": "Ċ"})
    ids = save(tmp_path / "bpe", json.dumps(content))
    with pytest.raises(TokenizerError, match=r"of Ċ, so that .* forge"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids))
    twice = json.loads(byte_level_bpe(CODE))
    steps = [twice["pre_tokenizer"], twice["pre_tokenizer"] | {"use_regex": False}]
    twice["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    ids = save(tmp_path / "twice", json.dumps(twice))
    with pytest.raises(TokenizerError, match=r"the ids of .* decode to "):
        load_tokenizer(small_recipe(tmp_path / "twice", ids))


@pytest.mark.parametrize("name", ["~nobody-here/tokenizer", "x" * 5000])
def test_a_path_that_cannot_be_looked_at_is_named(name: str) -> None:
    recipe = Recipe(tokens=Tokens(tokenizer=TokenizerRecipe(name_or_path=name)))
    with pytest.raises(TokenizerError, match=rf"name_or_path = {name[:200]}"):
        load_tokenizer(recipe)


@pytest.mark.parametrize("rate", [0.0, 1.0])
@pytest.mark.parametrize("split", [None, QWEN_2])
def test_added_tokens_that_are_not_special_are_not_matched_in_text(
    tmp_path: Path, split: str | None, rate: float
) -> None:
    """As Qwen's FIM tokens: placed by id, while their names in a document stay text."""
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE, split=split, special=False))
    recipe = small_recipe(tmp_path / "bpe", ids, fim={"fim_rate": rate})
    loaded = load_tokenizer(recipe)
    assert loaded.added == tuple(NAMES)
    encoded = np.concatenate(loaded.encoder.encode(NAMES))
    assert {*ids.values()}.isdisjoint(encoded.tolist())
    rows = [{"id": name, "text": f"{name} and {name} in code"} for name in NAMES if name != "<sep>"]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    literals = receipt_of(tmp_path, recipe).result.counts["added_token_literals"]
    assert literals == 14 if rate == 0 else literals <= 14, "a cut may go through a name"
    array = np.fromfile(tmp_path / "token_arrays" / "a-00000.npy", "<u2").tolist()
    placed = [number for number in array if number in ids.values()]
    expected = ["<eos>"] if rate == 0 else ["<pre>", "<mid>", "<suf>", "<eos>"]
    assert sorted(placed) == sorted([ids[name] for name in expected] * 7)


# Tokenizers that do not give every text back.


def receipt_of(root: Path, recipe: Recipe) -> Receipt:
    """The token arrays' receipt of the shard `a`, once all stages and checks passed."""
    outcome = run_all(open_corpus(root, recipe))["a"]
    assert outcome.failure is None
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    assert receipt.result.asset == "token_arrays"
    return receipt


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (byte_level_bpe(CODE, nfc=True), r"normalizes text \(NFC\)"),
        (sentencepiece_like(prepend=False), r"normalizes text \(Replace\); it writes a space as ▁"),
        (sentencepiece_like(prepend=True), r"\(Prepend\).*it puts a space before text"),
        (sentencepiece_like(prepend=True, metaspace=True), "it puts a space before text"),
    ],
)
def test_a_lossy_tokenizer_is_refused_unless_it_is_allowed(
    tmp_path: Path, content: str, reason: str
) -> None:
    ids = save(tmp_path / "bpe", content)
    with pytest.raises(TokenizerError, match=f"{reason}.*tokens.allow_lossy: true takes it"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids))
    loaded = load_tokenizer(small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}))
    assert loaded.vocabulary.lossy


def test_an_exact_tokenizer_needs_no_allowance(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    with pytest.raises(TokenizerError, match="gives every text back exactly; take the field away"):
        load_tokenizer(small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}))


def test_a_space_before_text_and_paragraphs_do_not_go_together(tmp_path: Path) -> None:
    ids = save(tmp_path / "bpe", sentencepiece_like(prepend=True))
    recipe = small_recipe(
        tmp_path / "bpe", ids, {"allow_lossy": True}, segment_before_tokenization=True
    )
    with pytest.raises(TokenizerError, match="a space before each text, and so before each para"):
        load_tokenizer(recipe)


SOME_TEXTS = {
    "plain": "def add(a, b): return a + b",
    "composed": "caf\u00e9 = 1",
    "decomposed": "cafe\u0301 = 1",
    "decomposed twice": "e\u0301e\u0301 and e\u0301",
    "a singleton": "5 \u212b",
    "a block": "a \u2581 b",
    "japanese": "日本語 🚀 ▁",
    "empty lines": "\n\n \n",
}


@pytest.mark.parametrize("split", [None, LLAMA_3, QWEN_2])
def test_documents_that_nfc_changes_are_counted(tmp_path: Path, split: str | None) -> None:
    """Three of the eight: two decomposed, and U+212B, which NFC writes as U+00C5."""
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE, split=split, nfc=True))
    recipe = small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}, {"fim_rate": 0.0})
    rows = [{"id": name, "text": text} for name, text in SOME_TEXTS.items()]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    receipt = receipt_of(tmp_path, recipe)
    assert receipt.result.counts["changed_documents"] == 3
    assert receipt.made.engine.startswith("gigatoken ")
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    assert {*table.filter("changed")["id"]} == {"decomposed", "decomposed twice", "a singleton"}
    array = np.fromfile(tmp_path / "token_arrays" / "a-00000.npy", "<u2")
    loaded = load_tokenizer(recipe)
    for row in table.iter_rows(named=True):
        expected = unicodedata.normalize("NFC", SOME_TEXTS[row["id"]])
        assert loaded.decode(array[row["start"] : row["end"] - 1]).decode() == expected


@pytest.mark.parametrize("metaspace", [False, True])
def test_documents_that_a_sentencepiece_like_tokenizer_changes_are_counted(
    tmp_path: Path, metaspace: bool
) -> None:
    """Without a space put before them, only the two that hold the sign for a space."""
    ids = save(tmp_path / "bpe", sentencepiece_like(prepend=False, metaspace=metaspace))
    recipe = small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}, {"fim_rate": 0.0})
    rows = [{"id": name, "text": text} for name, text in SOME_TEXTS.items()]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    assert receipt_of(tmp_path, recipe).result.counts["changed_documents"] == 2
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    assert {*table.filter("changed")["id"]} == {"a block", "japanese"}


@pytest.mark.parametrize(
    "content",
    [
        byte_level_bpe(CODE, split=LLAMA_3, nfc=True),
        sentencepiece_like(prepend=True),
        sentencepiece_like(prepend=True, metaspace=True),
    ],
    ids=["NFC", "prepending", "metaspace"],
)
def test_rearranged_documents_of_a_lossy_tokenizer_pass_every_check(
    tmp_path: Path, content: str
) -> None:
    """A space before each text changes every document."""
    ids = save(tmp_path / "bpe", content)
    recipe = small_recipe(tmp_path / "bpe", ids, {"allow_lossy": True}, {"fim_rate": 0.9})
    write_shard(tmp_path / "raw" / "a.jsonl", documents(80))
    changed = receipt_of(tmp_path, recipe).result.counts["changed_documents"]
    assert changed == 80 if "Prepend" in content or "Metaspace" in content else 0 < changed <= 10


@given(st.lists(st.text(st.sampled_from("ae\u0301é \nÅ\u212b日\u0cdcx1")), max_size=5))
@settings(deadline=None)
def test_gigatoken_and_the_reference_agree_behind_nfc(
    nfc: tuple[ReferenceEncoder, GigatokenEncoder], texts: list[str]
) -> None:
    reference, gigatoken = nfc
    assert_equal(reference, gigatoken, texts)


@pytest.fixture(scope="module")
def nfc(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReferenceEncoder, GigatokenEncoder]:
    folder = tmp_path_factory.mktemp("nfc") / "bpe"
    ids = save(folder, byte_level_bpe(CODE, split=QWEN_2, nfc=True))
    loaded = load_tokenizer(small_recipe(folder, ids, {"allow_lossy": True}))
    assert isinstance(loaded.encoder, GigatokenEncoder)
    composed, decomposed = loaded.encoder.encode(["é", "e\u0301"])
    assert composed.tolist() == decomposed.tolist()
    assert loaded.normal_form("e\u0301") == "é".encode()
    assert loaded.normal_form("plain") == b"plain"
    return loaded.encoders.reference, loaded.encoder
