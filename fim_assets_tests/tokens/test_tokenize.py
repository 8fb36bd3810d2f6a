from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from tokenizers import Tokenizer

from fim_assets.fim.orders import Lengths, Order
from fim_assets.fim.record import FileRow
from fim_assets.recipe import Fim, Recipe, Tokens
from fim_assets.recipe import Tokenizer as TokenizerRecipe
from fim_assets.tokens import dolma2
from fim_assets.tokens.tokenize import segments
from fim_assets.tokens.tokenizer import Controls, LoadedTokenizer, load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

EOS = 100257


def test_segments_by_hand() -> None:
    """A PSM file and one left alone; the separator has no id in dolma2, so it is text."""
    fim = Fim()
    text = "<|fim_prefix|>ab<|fim_suffix|>de<|fim_middle|>c<|file_sep|>xy"
    files = [FileRow("psm", 5, Lengths(2, 1, 2)), FileRow("none", 2, Lengths(0, 0, 0))]
    found = list(segments(text, files, fim, load_tokenizer(Recipe())))
    assert found == [100258, "ab", 100260, "de", 100259, "c", "<|file_sep|>", "xy", EOS]


def with_controls(sentinels: dict[str, int], boundaries: dict[str, int]) -> LoadedTokenizer:
    return replace(
        load_tokenizer(Recipe()), controls=Controls(sentinels, boundaries, bos=None, eos=EOS)
    )


ALONE = Lengths(0, 0, 0)
CUT = Lengths(2, 1, 2)


@pytest.mark.parametrize(
    ("fields", "order", "text", "expected"),
    [
        (
            {},
            "spm",
            "<|fim_suffix|>de<|fim_prefix|>ab<|fim_middle|>c",
            [100260, "de", 100258, "ab", 100259, "c"],
        ),
        (
            {"spm_format": "v2"},
            "spm",
            "<|fim_prefix|><|fim_suffix|>de<|fim_middle|>abc",
            [100258, 100260, "de", 100259, "ab", "c"],
        ),
        (
            {"fim_middle_token": None, "psm_spm_split": 0.0},
            "spm",
            "<|fim_suffix|>de<|fim_prefix|>abc",
            [100260, "de", 100258, "ab", "c"],
        ),
        (
            {"fim_end_token": "<|im_end|>"},
            "psm",
            "<|fim_prefix|>ab<|fim_suffix|>de<|fim_middle|>c<|im_end|>",
            [100258, "ab", 100260, "de", 100259, "c", 100265],
        ),
        (
            {"fim_end_token": "<|im_end|>", "spm_format": "v2"},
            "spm",
            "<|fim_prefix|><|fim_suffix|>de<|fim_middle|>abc<|im_end|>",
            [100258, 100260, "de", 100259, "ab", "c", 100265],
        ),
    ],
)
def test_segments_of_each_layout_by_hand(
    fields: dict[str, Any], order: Order, text: str, expected: list[int | str]
) -> None:
    fim = Fim.model_validate(fields)
    names = {"prefix": 100258, "middle": 100259, "suffix": 100260, "end": 100265}
    found = segments(text, [FileRow(order, 5, CUT)], fim, with_controls(names, {}))
    assert list(found) == [*expected, EOS]


def test_repository_tokens_are_ids_where_the_tokenizer_has_them_else_text() -> None:
    """`<|extra_id_1|>` is an added token of dolma2, `<repo>` is not; the separator is one too."""
    fim = Fim(file_separator_token="<|extra_id_2|>", repository_tokens=("<|extra_id_1|>", "<repo>"))
    rows = [
        FileRow("none", 17, ALONE),
        FileRow("none", 14, ALONE),
        FileRow("psm", 5, CUT),
        FileRow("none", 14, ALONE),
    ]
    pieces = [
        "<|extra_id_1|>a/b",
        "x<repo>y<repo>",
        "<|fim_prefix|>ab<|fim_suffix|>de<|fim_middle|>c",
        "<|extra_id_3|>",
    ]
    text = "<|extra_id_2|>".join(pieces)
    boundaries = {"<|extra_id_1|>": 100266, "<|extra_id_2|>": 100267}
    sentinels = {"prefix": 100258, "middle": 100259, "suffix": 100260}
    found = list(segments(text, rows, fim, with_controls(sentinels, boundaries)))
    assert found == [
        *(100266, "a/b"),
        *(100267, "x", "<repo>", "y", "<repo>"),
        *(100267, 100258, "ab", 100260, "de", 100259, "c"),
        *(100267, "<|extra_id_3|>"),
        EOS,
    ]


def test_a_repositorys_arrays_by_hand(tmp_path: Path) -> None:
    """A marker by id where there is one, and the name of another added token rearranged as text."""
    fim = Fim(
        fim_rate=1.0,
        file_separator_token="<|extra_id_2|>",
        repository_tokens=("<|extra_id_1|>", "<repo>"),
    )
    recipe = Recipe(fim=fim, tokens=Tokens(shuffle=False))
    rows = [
        {"id": "a", "text": "<|extra_id_1|>name<|extra_id_2|>ab<|extra_id_2|>"},
        {"id": "b", "text": "<repo>name"},
        {"id": "c", "text": "<|extra_id_3|>"},
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    assert run_all(open_corpus(tmp_path, recipe))["a"].failure is None
    found = read_documents(tmp_path, "a")
    encode = Tokenizer.from_str(plain_tokenizer()).encode
    name = encode("name").ids
    assert found[1] == [100266, *name, 100267, *encode("ab").ids, 100267, EOS]
    assert found[2] == [*encode("<repo>").ids, *name, EOS]
    assert {i for i in found[3] if i > 100256} == {100258, 100259, 100260, EOS}


def plain_tokenizer() -> str:
    content = orjson.loads((dolma2.FOLDER / "tokenizer.json").read_bytes())
    return orjson.dumps(content | {"added_tokens": []}).decode()


LAYOUTS: dict[str, dict[str, Any]] = {
    "no middle": {"fim_middle_token": None, "psm_spm_split": 0.0},
    "all the rest": {
        "spm_format": "v2",
        "fim_end_token": "<|im_end|>",
        "repository_tokens": ["<|extra_id_1|>", "print("],
        "file_separator_token": "<|extra_id_2|>",
        "split": {"syntax": 0.5, "lines": 0.5},
        "document_rate": 0.8,
    },
}


@pytest.mark.parametrize("fields", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_passes_every_check(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Among them, that arrays decode to the FIM texts exactly."""
    write_shard(tmp_path / "raw" / "a.jsonl.zst", documents(300))
    recipe = Recipe(fim=Fim.model_validate({"fim_rate": 0.9} | fields))
    outcome = run_all(open_corpus(tmp_path, recipe))["a"]
    assert outcome.failure is None
    tokenizer = load_tokenizer(recipe)
    found = read_documents(tmp_path, "a")
    for number, line in enumerate(decompress(tmp_path / "fim_shards" / "a.jsonl.zst"), 1):
        ids = np.array(found[number][:-1], np.uint32)
        assert tokenizer.decode(ids).decode() == orjson.loads(line)["text"]


def read_documents(root: Path, key: str) -> dict[int, list[int]]:
    """Ids of each document by raw line, EOS included."""
    table = pl.read_parquet(root / "token_arrays" / f"{key}.parquet")
    arrays = {
        name: np.fromfile(root / "token_arrays" / name, "<u4") for name in table["array"].unique()
    }
    return {
        row["line"]: arrays[row["array"]][row["start"] : row["end"]].tolist()
        for row in table.iter_rows(named=True)
    }


def test_ids_are_those_of_the_whole_rearranged_text(tmp_path: Path) -> None:
    """Encoding part by part equals Hugging Face on the whole text, literal tokens aside."""
    rows = [row for row in documents(200) if "<|" not in row["text"]]
    write_shard(tmp_path / "raw" / "a.jsonl.zst", rows)
    outcome = run_all(open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=1.0))))["a"]
    assert outcome.failure is None
    reference = Tokenizer.from_file(str(dolma2.FOLDER / "tokenizer.json"))
    lines = decompress(tmp_path / "fim_shards" / "a.jsonl.zst")
    found = read_documents(tmp_path, "a")
    for number, line in enumerate(lines, 1):
        assert found[number] == [*reference.encode(orjson.loads(line)["text"]).ids, EOS]


def decompress(path: Path) -> list[bytes]:
    import zstandard

    return zstandard.decompress(path.read_bytes(), 1 << 30).split(b"\n")[:-1]


def test_no_document_can_forge_a_control_token(tmp_path: Path) -> None:
    names = load_tokenizer(Recipe()).added
    rows = [{"id": name, "text": f"{name}{name} code {name}"} for name in names]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    outcome = run_all(open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=0.0))))["a"]
    assert outcome.failure is None
    for ids in read_documents(tmp_path, "a").values():
        assert ids[-1] == EOS
        assert max(ids[:-1]) < 100_256
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    assert receipt.result.counts["added_token_literals"] == 3 * 22
    assert receipt.result.counts["documents_with_added_token_literals"] == 22


def test_sentinels_are_placed_by_id_around_literal_ones(tmp_path: Path) -> None:
    row = {"id": "a", "text": "<|fim_middle|> <|fim_prefix|> <|fim_suffix|> and more"}
    write_shard(tmp_path / "raw" / "a.jsonl", [row])
    outcome = run_all(open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=1.0))))["a"]
    assert outcome.failure is None
    ids = read_documents(tmp_path, "a")[1]
    assert sorted(i for i in ids if i >= 100_256) == [EOS, 100258, 100259, 100260]


def test_whitespace_at_a_parts_end_stays(tmp_path: Path) -> None:
    rows = [{"id": str(n), "text": " \n\t " * 5 + "x" + "  \n" * 5} for n in range(50)]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    outcomes = run_all(open_corpus(tmp_path, Recipe(fim=Fim(fim_rate=1.0))))
    assert outcomes["a"].failure is None


def test_bos_stands_before_every_document(tmp_path: Path) -> None:
    for bos in (100264, EOS):
        recipe = Recipe(tokens=Tokens(tokenizer=TokenizerRecipe(bos_token_id=bos)))
        root = tmp_path / str(bos)
        write_shard(root / "raw" / "a.jsonl", documents(20))
        assert run_all(open_corpus(root, recipe))["a"].failure is None
        for ids in read_documents(root, "a").values():
            assert (ids[0], ids[-1]) == (bos, EOS)
            assert {bos, EOS}.isdisjoint(ids[1:-1])


def test_shuffle_and_order(tmp_path: Path) -> None:
    lines = {}
    for shuffle in (True, False):
        root = tmp_path / str(shuffle)
        write_shard(root / "raw" / "a.jsonl", documents(100))
        run_all(open_corpus(root, Recipe(tokens=Tokens(shuffle=shuffle))))
        lines[shuffle] = pl.read_parquet(root / "token_arrays" / "a.parquet")["line"].to_list()
    assert lines[False] == list(range(1, 101))
    assert lines[True] != lines[False]
    assert sorted(lines[True]) == lines[False]


def test_document_larger_than_an_array_is_named(tmp_path: Path) -> None:
    rows = [{"id": "small", "text": "a"}, {"id": "large", "text": "word " * 100}]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    outcome = run_all(open_corpus(tmp_path, Recipe(tokens=Tokens(max_size=50))))["a"]
    assert outcome.failure is not None
    assert "line 2 (id large)" in outcome.failure
    assert "tokens.max_size is 50" in outcome.failure
    assert not list((tmp_path / "token_arrays").iterdir()), "nothing half-written is left"


def test_small_arrays_lose_nothing(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(100))
    recipe = Recipe(tokens=Tokens(max_size=2000))
    outcome = run_all(open_corpus(tmp_path, recipe))["a"]
    assert outcome.failure is None
    sizes = [path.stat().st_size // 4 for path in (tmp_path / "token_arrays").glob("*.npy")]
    assert len(sizes) > 3
    assert max(sizes) <= 2000
    receipt = outcome.stages[-1].receipt
    assert receipt is not None
    assert sum(sizes) == receipt.result.tokens


def test_shard_and_parquet_of_different_runs_are_refused(tmp_path: Path) -> None:
    for name, count in (("a", 10), ("b", 11)):
        write_shard(tmp_path / "raw" / f"{name}.jsonl", documents(count, name))
    corpus = open_corpus(tmp_path)
    run_all(corpus, ["fim_shards"], [])
    folder = tmp_path / "fim_shards"
    (folder / "a.parquet").write_bytes((folder / "b.parquet").read_bytes())
    failure = run_all(corpus, ["token_arrays"], [])["a"].failure
    assert failure is not None
    assert "fim_shards" in failure
