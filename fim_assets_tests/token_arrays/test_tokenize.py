import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson
import polars as pl
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.arrangements import BESIDE, PARTS, Lengths, Order
from fim_assets.fim_shards.record import SCHEMA, WHOLE, FileRow, FimDocuments, record_metadata
from fim_assets.fim_shards.segments import segments
from fim_assets.io.hashing import HashingWriter
from fim_assets.io.parquet import TableWriter
from fim_assets.raw_shards.shard_reader import Documents
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.tokens import Tokenizer as TokenizerRecipe
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.arrays import ArraySettings
from fim_assets.token_arrays.shuffle_buffer import DOCUMENT, FILE
from fim_assets.token_arrays.tokenize import encode_documents, tokenize_shard
from fim_assets.tokenizer.controls import Controls
from fim_assets.tokenizer.find import DOLMA2
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets.tokenizer.paragraphs import paragraphs
from fim_assets_tests.corpora import documents, open_corpus, partition_files, run_all, write_shard
from fim_assets_tests.tokenizer.small_tokenizers import byte_level_bpe, save, small_recipe

EOS = 100257


def test_segments_by_hand() -> None:
    """A PSM file and one unchanged; the separator has no id in dolma2, so it is text."""
    fim = Fim()
    text = "<|fim_prefix|>ab<|fim_suffix|>de<|fim_middle|>c<|file_sep|>xy"
    files = [FileRow("psm", 5, Lengths(2, 1, 2)), FileRow("none", 2, Lengths(0, 0, 0), lead=12)]
    found = list(segments(text, files, fim, load_tokenizer(Recipe())))
    assert found == [
        (100258, 0, None),
        ("ab", 0, "prefix"),
        (100260, 0, None),
        ("de", 0, "suffix"),
        (100259, 0, None),
        ("c", 0, "middle"),
        ("<|file_sep|>", 1, "separator"),
        ("xy", 1, None),
        (EOS, None, None),
    ]


def with_controls(sentinels: dict[str, int], boundaries: dict[str, int]) -> LoadedTokenizer:
    return replace(
        load_tokenizer(Recipe()),
        controls=Controls(sentinels, boundaries, None, EOS, "<|extra_id_2|>"),
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
    found = list(segments(text, [FileRow(order, 5, CUT)], fim, with_controls(names, {})))
    assert [segment.content for segment in found] == [*expected, EOS]
    parts = {"ab": "prefix", "c": "middle", "de": "suffix"}
    assert [segment.part for segment in found] == [parts.get(str(n)) for n in expected] + [None]
    assert [segment.file for segment in found] == [0] * len(expected) + [None]


def test_repository_tokens_are_ids_where_the_tokenizer_has_them_else_text() -> None:
    """`<|extra_id_1|>` is an added token of dolma2, `<repo>` is not; the separator is one too."""
    fim = Fim(file_separator_token="<|extra_id_2|>", repository_tokens=("<|extra_id_1|>", "<repo>"))
    rows = [
        FileRow("none", 17, ALONE),
        FileRow("none", 14, ALONE, lead=14),
        FileRow("psm", 5, CUT, lead=14),
        FileRow("none", 14, ALONE, lead=14),
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
    assert [segment.content for segment in found] == [
        *(100266, "a/b"),
        *(100267, "x", "<repo>", "y", "<repo>"),
        *(100267, 100258, "ab", 100260, "de", 100259, "c"),
        *(100267, "<|extra_id_3|>"),
        EOS,
    ]
    assert [segment.file for segment in found] == [
        *(0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, None)
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<repo>r\n<repo>:", ["<repo>", "r\n", "<repo>:"]),
        ("<repo>:", ["<repo>:"]),
        ("<repo><repo>:<repo>:<repo>:", ["<repo>", "<repo>:<repo>:", "<repo>:"]),
        ("", []),
    ],
)
def test_what_stands_before_a_file_ends_with_the_separator(text: str, expected: list[str]) -> None:
    """A separator may begin as the repository token does, and a name may hold either."""
    controls = Controls({}, {}, None, EOS, separator="<repo>:", repository="<repo>")
    assert controls.lead(text) == expected


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
    content = orjson.loads((DOLMA2 / "tokenizer.json").read_bytes())
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
    reference = Tokenizer.from_file(str(DOLMA2 / "tokenizer.json"))
    lines = decompress(tmp_path / "fim_shards" / "a.jsonl.zst")
    found = read_documents(tmp_path, "a")
    for number, line in enumerate(lines, 1):
        assert found[number] == [*reference.encode(orjson.loads(line)["text"]).ids, EOS]


def decompress(path: Path) -> list[bytes]:
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
    rows = [{"id": "small", "text": "a"}, {"id": "la\x1brge", "text": "word " * 100}]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    outcome = run_all(open_corpus(tmp_path, Recipe(tokens=Tokens(max_size=50))))["a"]
    assert outcome.failure is not None
    assert r"line 2 (id 'la\x1brge')" in outcome.failure
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


@contextmanager
def open_files_at_most(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_more_arrays_than_files_that_may_be_open(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", [{"text": "x = 1"}] * 200)
    recipe = Recipe(tokens=Tokens(max_size=7, label_mask="middle"))
    with open_files_at_most(160):
        outcome = run_all(open_corpus(tmp_path, recipe))["a"]
    assert outcome.failure is None, outcome.details
    assert len([*(tmp_path / "token_arrays").glob("*.npy")]) == 200


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


# Offsets by hand, with a tokenizer that gives an id for each byte. Its ids: EOS 0, pad 1, PRE 2,
# MID 3, SUF 4, separator 5, repository 6.


class Tokenized(NamedTuple):
    ids: list[int]
    table: pl.DataFrame

    def offsets(self) -> list[list[dict[str, tuple[int, int] | None]]]:
        """Of each document's files: where it and its parts start and end."""
        names = ("file", *PARTS)
        return [
            [
                {
                    name: None
                    if file[f"{name}_start"] is None
                    else (file[f"{name}_start"], file[f"{name}_end"])
                    for name in names
                }
                for file in files
            ]
            for files in self.table["files"]
        ]


def tokenized(
    folder: Path,
    rows: Sequence[tuple[str, list[FileRow]]],
    fim: Mapping[str, object] | None = None,
    **tokenizer: object,
) -> Tokenized:
    """Tokenize a FIM shard that is written here, each document in a line of its own."""
    ids = save(folder / "bytes", byte_level_bpe([], size=264))
    recipe = small_recipe(folder / "bytes", ids, {"shuffle": False}, fim, **tokenizer)
    shard, parquet = folder / "a.jsonl.zst", folder / "a.parquet"
    write_shard(shard, [{"id": str(n), "text": text} for n, (text, _) in enumerate(rows)])
    files = [
        {"line": line, "id": str(line), "file": n, "chars": row.chars, "order": row.order}
        | {"split": None, "reason": None, "draw_key": line, "language": None}
        | {f"{part}_chars": getattr(row.lengths, part) for part in PARTS}
        for line, (_, of_it) in enumerate(rows, 1)
        for n, row in enumerate(of_it)
    ]
    metadata = record_metadata(Recipe(fim=recipe.fim), seed=0)
    with HashingWriter(parquet) as file, TableWriter(file, SCHEMA, metadata) as table:
        table.write({name: [row[name] for row in files] for name in SCHEMA.names})
    place = partition_files(folder / "token_arrays", "a")
    with Staging(place) as staging:
        settings = ArraySettings(recipe.tokens, recipe.fim, "a.jsonl.zst", "0" * 32)
        totals = tokenize_shard(shard, parquet, settings, load_tokenizer(recipe), staging)
        staging.publish()
    found = np.fromfile(place.file("-00000.npy"), "<u2").tolist()
    assert totals.tokens == len(found)
    assert totals.files == len(files)
    return Tokenized(found, pl.read_parquet(place.file(".parquet")))


PSM_TEXT = "<pre>ab<suf>de<mid>c"
PSM = FileRow("psm", 5, CUT)
OF_PSM = {"file": (0, 8), "prefix": (1, 3), "middle": (7, 8), "suffix": (4, 6)}
NO_PARTS = {"prefix": None, "middle": None, "suffix": None}


def shifted(spans: dict[str, tuple[int, int]], by: int) -> dict[str, tuple[int, int]]:
    return {name: (start + by, end + by) for name, (start, end) in spans.items()}


def test_offsets_of_a_psm_and_an_spm_file_by_hand(tmp_path: Path) -> None:
    """PRE a b SUF d e MID c EOS, then SUF d e PRE a b MID c EOS: nine tokens each."""
    spm = ("<suf>de<pre>ab<mid>c", [FileRow("spm", 5, CUT)])
    found = tokenized(tmp_path, [(PSM_TEXT, [PSM]), spm])
    controls = [i if i < 8 else 99 for i in found.ids]
    assert controls == [2, 99, 99, 4, 99, 99, 3, 99, 0, 4, 99, 99, 2, 99, 99, 3, 99, 0]
    of_spm = {"file": (9, 17), "prefix": (13, 15), "middle": (16, 17), "suffix": (10, 12)}
    assert found.offsets() == [[OF_PSM], [of_spm]]
    assert found.table["order"].to_list() == ["psm", "spm"]
    assert found.table["start"].to_list() == [0, 9]


def test_offsets_of_a_v2_file_by_hand(tmp_path: Path) -> None:
    """PRE SUF d e MID a b c EOS: between prefix and middle stands nothing."""
    row = ("<pre><suf>de<mid>abc", [FileRow("spm", 5, CUT)])
    found = tokenized(tmp_path, [row], {"spm_format": "v2"})
    assert found.offsets() == [
        [{"file": (0, 8), "prefix": (5, 7), "middle": (7, 8), "suffix": (2, 4)}]
    ]


def test_offsets_without_a_middle_token_and_with_an_end_token_by_hand(tmp_path: Path) -> None:
    """SUF d e PRE a b c END EOS: the end token is the file's, not the middle's."""
    law = {"fim_middle_token": None, "psm_spm_split": 0.0, "fim_end_token": "<end>"}
    row = ("<suf>de<pre>abc<end>", [FileRow("spm", 5, CUT)])
    found = tokenized(tmp_path, [row], law)
    assert found.ids[-2:] == [7, 0]
    assert found.offsets() == [
        [{"file": (0, 8), "prefix": (4, 6), "middle": (6, 7), "suffix": (1, 3)}]
    ]


def test_offsets_of_empty_parts_by_hand(tmp_path: Path) -> None:
    """PRE SUF d MID EOS: an empty part begins and ends where it would stand."""
    row = ("<pre><suf>d<mid>", [FileRow("psm", 1, Lengths(0, 0, 1))])
    assert tokenized(tmp_path, [row]).offsets() == [
        [{"file": (0, 4), "prefix": (1, 1), "middle": (4, 4), "suffix": (2, 3)}]
    ]


@pytest.mark.parametrize(("separator", "size"), [("<sep>", 1), ("||", 2)])
def test_offsets_of_two_files_by_hand(tmp_path: Path, separator: str, size: int) -> None:
    """A separator with an id is one token, one without is its text: in no file either way."""
    text = f"{PSM_TEXT}{separator}é{separator}{PSM_TEXT}"
    rows = [PSM, FileRow("none", 1, ALONE), PSM]
    found = tokenized(tmp_path, [(text, rows)], {"file_separator_token": separator})
    alone = NO_PARTS | {"file": (8 + size, 10 + size)}
    assert found.offsets() == [[OF_PSM, alone, shifted(OF_PSM, 10 + 2 * size)]]
    assert found.table["order"].to_list() == ["mixed"]
    assert (5 in found.ids) == (size == 1)
    assert len(found.ids) == 10 + 2 * size + 9


def test_offsets_of_a_repository_by_hand(tmp_path: Path) -> None:
    """REPO n SEP, then the PSM file, then a separator and a file of no character."""
    text = f"<repo>n<sep>{PSM_TEXT}<sep>"
    rows = [FileRow("none", 7, ALONE), PSM, FileRow("none", 0, ALONE)]
    found = tokenized(tmp_path, [(text, rows)], {"repository_tokens": ["<repo>"]})
    assert found.ids[0] == 6
    first, last = NO_PARTS | {"file": (0, 2)}, NO_PARTS | {"file": (12, 12)}
    assert found.offsets() == [[first, shifted(OF_PSM, 3), last]]
    assert len(found.ids) == 13


def test_bos_shifts_offsets_by_one_and_is_in_no_file(tmp_path: Path) -> None:
    found = tokenized(tmp_path, [(PSM_TEXT, [PSM])] * 2, bos_token_id=1)
    assert found.ids[:2] == [1, 2]
    assert found.offsets() == [[shifted(OF_PSM, 1)], [shifted(OF_PSM, 11)]]


def test_paragraphs_of_a_part_are_one_span(tmp_path: Path) -> None:
    """PRE a LF LF b SUF LF MID LF c EOS."""
    row = ("<pre>a\n\nb<suf>\n<mid>\nc", [FileRow("psm", 7, Lengths(4, 2, 1))])
    found = tokenized(tmp_path, [row], segment_before_tokenization=True)
    assert found.offsets() == [
        [{"file": (0, 10), "prefix": (1, 5), "middle": (8, 10), "suffix": (6, 7)}]
    ]


def test_an_encoded_block_by_hand(tmp_path: Path) -> None:
    """Ids one document after the other, offsets from each document's own beginning."""
    ids = save(tmp_path / "bytes", byte_level_bpe([], size=264))
    recipe = small_recipe(tmp_path / "bytes", ids)
    texts = [PSM_TEXT, "<eos><pre>"]
    files = [[PSM], [FileRow("none", 10, ALONE)]]
    lines = Documents(numbers=[4, 5], lines=[b"", b""], ids=["a", None], texts=texts)
    block = FimDocuments(lines, [7, 9], [0, 0], files, [WHOLE] * 2, [False] * 2)
    found = encode_documents(block, recipe.fim, load_tokenizer(recipe))
    assert found.tokens.dtype == np.uint32
    assert len(found.tokens) == 9 + 11
    assert (found.documents.dtype, found.files.dtype) == (DOCUMENT, FILE)
    names = ["tokens", "files", "line", "shard_line", "literals", "changed"]
    assert found.documents[names].tolist() == [(9, 1, 7, 4, 0, False), (11, 1, 9, 5, 2, False)]
    beside = [-1] * 2 * len(BESIDE)
    assert found.files.tolist() == [
        (1, 0, 8, 1, 3, 7, 8, 4, 6, *beside),
        (0, 0, 10, *[-1] * 6, *beside),
    ]


def test_an_empty_block_is_encoded_to_nothing() -> None:
    found = encode_documents(
        FimDocuments(Documents(), [], [], [], [], []), Fim(), load_tokenizer(Recipe())
    )
    assert (len(found.tokens), len(found.documents), len(found.files)) == (0, 0, 0)


# Paragraphs.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a\n", ["a", "\n"]),
        ("\na", ["\na"]),
        ("\n\n", ["\n\n"]),
        ("a\nb\n\n\nc", ["a", "\nb", "\n\n\nc"]),
        ("a\r\nb", ["a\r", "\nb"]),
        ("a\u2028b\x85c\x0bd", ["a\u2028b\x85c\x0bd"]),
    ],
)
def test_paragraphs_by_hand(text: str, expected: list[str]) -> None:
    assert paragraphs(text) == expected


@given(st.text(st.sampled_from("ab \n\n\r\u2028é")))
def test_paragraphs_are_dolmas_and_lose_nothing(text: str) -> None:
    dolmas = [match.group() for match in re.finditer(r"(^\n*|\n+)[^\n]*", text)]
    assert paragraphs(text) == dolmas
    assert "".join(dolmas) == text


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_ids_of_paragraphs_are_those_of_each_alone(tmp_path: Path, rate: float) -> None:
    """Against Hugging Face, paragraph by paragraph; sentinels of rearranged files by their ids."""
    rows = [
        {"id": str(n), "text": f"x = {n} \n\n\n  def f():\n\treturn {n}  \n{'é ' * (n % 5)}\n\n"}
        for n in range(60)
    ]
    write_shard(tmp_path / "raw" / "a.jsonl", rows)
    law = Tokens(tokenizer=TokenizerRecipe(segment_before_tokenization=True))
    recipe = Recipe(fim=Fim(fim_rate=rate), tokens=law)
    assert run_all(open_corpus(tmp_path, recipe))["a"].failure is None
    sentinels = {"<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260}
    encode = Tokenizer.from_str(plain_tokenizer()).encode
    found = read_documents(tmp_path, "a")
    other = 0
    for number, line in enumerate(decompress(tmp_path / "fim_shards" / "a.jsonl.zst"), 1):
        expected: list[int] = []
        for piece in re.split(r"(<\|fim_\w+\|>)", orjson.loads(line)["text"]):
            if piece in sentinels:
                expected.append(sentinels[piece])
                continue
            for match in re.finditer(r"(^\n*|\n+)[^\n]*", piece):
                expected += encode(match.group()).ids
            other += encode(piece).ids != expected
        assert found[number] == [*expected, EOS]
    assert other, "else paragraphs make no difference to these texts"
