import pickle
import shutil
from concurrent.futures import ProcessPoolExecutor
from copy import copy
from multiprocessing import get_context
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
import zstandard

from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import PARTS, Part
from fim_assets.fim_shards.record import FimShardReader, restore_document
from fim_assets.layouts.registry import LAYOUTS
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokenizer as TokenizerRecipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.tokenizer.small_tokenizers import CODE, byte_level_bpe, save, small_recipe

EOS, PRE, MID, SUF = 100257, 100258, 100259, 100260


def materialize(root: Path, recipe: Recipe, rows: list[dict[str, Any]]) -> list[TokenArray]:
    write_shard(root / "raw" / "a.jsonl.zst", rows)
    assert run_all(open_corpus(root, recipe))["a"].failure is None
    ending = LAYOUTS[recipe.tokens.layout].ending
    return [TokenArray(path) for path in sorted((root / "token_arrays").glob(f"a-*{ending}"))]


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The array of five documents, to be read only."""
    root = tmp_path_factory.mktemp("five")
    materialize(root, Recipe(), documents(5))
    return root / "token_arrays" / "a-00000.npy"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_text_and_part_comes_back_from_the_arrays(tmp_path: Path, layout: str) -> None:
    rows = documents(120)
    recipe = Recipe(
        fim=Fim(fim_rate=0.9),
        tokens=Tokens(layout=layout, max_size=4000, tokenizer=TokenizerRecipe(bos_token_id=100264)),
    )
    arrays = materialize(tmp_path, recipe, rows)
    assert len(arrays) > 1
    tokenizer = load_tokenizer(recipe)
    shard = tmp_path / "fim_shards" / "a.jsonl.zst"
    texts = [
        orjson.loads(line)["text"]
        for line in zstandard.decompress(shard.read_bytes(), 1 << 30).splitlines()
    ]
    with FimShardReader(shard, tmp_path / "fim_shards" / "a.parquet") as reader:
        files = [its for block in reader for its in block.files]
    found = {document.line: document for array in arrays for document in array}
    assert sorted(found) == list(range(1, 121))
    for line, document in found.items():
        text = document.text(tokenizer)
        assert text == texts[line - 1]
        assert document.id == str(line - 1)
        assert restore_document(text, files[line - 1], recipe.fim) == rows[line - 1]["text"]
        assert np.array_equal(np.concatenate([part.ids for part in document.parts]), document.ids)
        parts = {(its.file, its.part): tokenizer.decode(its.ids).decode() for its in document.parts}
        originals = rows[line - 1]["text"].split("<|file_sep|>")
        for number, (original, order) in enumerate(zip(originals, document.orders, strict=True)):
            names: tuple[Part | None, ...] = PARTS if order != "none" else (None,)
            assert "".join(parts[number, name] for name in names) == original


def test_an_array_is_pickled_as_its_path_and_mapped_where_it_is_read(five: Path) -> None:
    array = TokenArray(five)
    assert len(pickle.dumps(array)) < 300 + len(str(five)) < array.ids.nbytes
    again = copy(array)
    assert isinstance(again.ids, np.memmap)
    assert again.ids.ctypes.data != array.ids.ctypes.data
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(itemgetter(4), array).result()
    for read in (found, again[4]):
        assert (read.line, read.orders) == (array[4].line, array[4].orders)
        assert read.ids.tolist() == array[4].ids.tolist()


def test_parts_of_a_rearranged_document_by_hand(tmp_path: Path) -> None:
    recipe = Recipe(fim=Fim(fim_rate=1.0, psm_spm_split=1.0))
    (array,) = materialize(tmp_path, recipe, [{"id": "x", "text": "def f(): pass"}])
    (document,) = array
    assert document.orders == ("psm",)
    shapes = [(part.part, part.control, part.file) for part in document.parts]
    assert shapes == [
        (None, True, 0),
        ("prefix", False, 0),
        (None, True, 0),
        ("suffix", False, 0),
        (None, True, 0),
        ("middle", False, 0),
        (None, True, None),
    ]
    controls = [part.ids.tolist() for part in document.parts if part.control]
    assert controls == [[PRE], [SUF], [MID], [EOS]]


def test_an_array_is_a_sequence(tmp_path: Path) -> None:
    (array,) = materialize(tmp_path, Recipe(), documents(10))
    assert len(array) == 10
    assert array[-1].line == array[9].line
    assert [document.line for document in array[2:5]] == [array[n].line for n in (2, 3, 4)]
    with pytest.raises(IndexError):
        array[10]
    with pytest.raises(ValueError, match="read-only"):
        array.ids[0] = 1
    table = pl.read_parquet(tmp_path / "token_arrays" / "a.parquet")
    assert [document.line for document in array] == table["line"].to_list()


def test_what_is_no_array_is_named(tmp_path: Path) -> None:
    for name in ("a.npy", "a-00000.npy"):
        with pytest.raises(ShardError, match=f"{name}: no such file"):
            TokenArray(tmp_path / name)
    materialize(tmp_path, Recipe(tokens=Tokens(label_mask="middle")), documents(5))
    parquet, array = (tmp_path / "token_arrays" / f"a{name}" for name in (".parquet", "-00000.npy"))
    with pytest.raises(ShardError, match=r"a\.csv\.gz: not a token array by its name"):
        TokenArray(parquet.with_name("a-00000.csv.gz").rename(parquet.with_name("a.csv.gz")))
    with pytest.raises(ShardError, match=r"no token array: .*label_masks/a\.parquet is missing"):
        TokenArray(tmp_path / "label_masks" / "a-00000.npy")
    pl.read_parquet(parquet).write_parquet(parquet)
    with pytest.raises(ShardError, match="not a record of token arrays of format 1"):
        TokenArray(array)
    parquet.write_bytes(b"\0" * 100)
    with pytest.raises(ShardError, match=r"a\.parquet: cannot be read"):
        TokenArray(array)


@pytest.mark.parametrize("size", [0, 1, 400, -1, -4, -400])
def test_an_array_of_another_size_than_its_record_says_is_refused(
    five: Path, tmp_path: Path, size: int
) -> None:
    path = shutil.copytree(five.parent, tmp_path / "token_arrays") / five.name
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size if size >= 0 else whole + size)
    with pytest.raises(ShardError, match=r"bytes, a\.parquet says [0-9,]+ tokens of 4 bytes"):
        TokenArray(path)


def test_a_path_may_be_text(five: Path) -> None:
    assert [its.id for its in TokenArray(str(five))] == [its.id for its in TokenArray(five)]


def test_an_array_may_be_linked_to(five: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(five)
    assert len(TokenArray(link)) == 5


def test_another_tokenizer_than_the_arrays_is_refused(five: Path, tmp_path: Path) -> None:
    array = TokenArray(five)
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    with pytest.raises(ValueError, match="made with another tokenizer"):
        array[0].text(load_tokenizer(small_recipe(tmp_path / "bpe", ids)))


def test_empty_parts_come_in_the_layouts_order(tmp_path: Path) -> None:
    """BigCode's SPM: prefix and middle stand together, and either may be empty."""
    fim = Fim(split="uniform", spm_format="v2", psm_spm_split=0.0, fim_rate=1.0)
    (array,) = materialize(tmp_path, Recipe(fim=fim), [{"text": "ab"}] * 60)
    orders = {tuple(part.part for part in document.parts if part.part) for document in array}
    assert orders == {("suffix", "prefix", "middle")}
