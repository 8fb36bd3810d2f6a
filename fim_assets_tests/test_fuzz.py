"""Hostile bytes and texts by the thousand: what comes in is accounted for, or refused by name.

`pytest fim_assets_tests/test_fuzz.py --hypothesis-profile long` runs for many minutes.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from fim_assets.errors import ShardError
from fim_assets.fim_shards.restore import restore_shard
from fim_assets.io.other_formats import INSTEAD, SIGNATURES
from fim_assets.raw_shards.rejections import RejectedLine
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe, parse_recipe
from fim_assets.recipe.errors import RecipeError
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.recipe.tokens import Tokens
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import (
    PACKINGS,
    documents,
    json_lines,
    open_corpus,
    run_all,
    write_shard,
)

PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": bytes,
    **{f".jsonl{ending}": pack for ending, pack in PACKINGS.items()},
}
PIECES = [
    *(b"\n", b"\r\n", b"\n\n", b" ", b"{", b"}", b"[" * 200, b'"', b"\\", b"\x00", b"\xff", b","),
    *(b"\xef\xbb\xbf", b'{"text":"a"}', b'{"text":"', b'"}', b'"text":', b'"id":', b"null", b"1e9"),
    *(b"\\ud800", b"\\ud83d\\ude00", "é🚀\u2028".encode(), b"NaN", b"x" * 300, b'{"text":""}'),
    *(b'{"id":"1","text":"<|fim_prefix|>"}', b"<|file_sep|>", b"<|endoftext|>"),
]
CONTENT = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=20)), max_size=30).map(
    b"".join
)
SMALL = Raw(max_line_bytes=200)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


def lines_of(path: Path, block_bytes: int) -> tuple[list[bytes | None], list[bytes]]:
    """Every line by its number, None where it is blank or too long, and the rejected records."""
    with ShardReader(path, SMALL, block_bytes) as reader:
        found: dict[int, bytes] = {}
        rejected: list[RejectedLine] = []
        for block in reader:
            found |= dict(zip(block.numbers, map(bytes, block.lines), strict=True))
            rejected += block.rejected
        assert reader.lines == len(found) + reader.blank + len(rejected)
        found |= {line.line: line.content for line in rejected if line.identity is None}
        numbers = range(1, reader.lines + 1)
        return [found.get(number) for number in numbers], [line.to_json() for line in rejected]


@given(CONTENT, st.sampled_from(sorted(PACKED)), st.integers(1, 400))
@example(b"\x28\xb5\x2f\xfd", ".jsonl", 1)
@example(b" <HTML", ".jsonl.gz", 1)
def test_every_line_is_accounted_for(
    folder: Path, content: bytes, ending: str, block_bytes: int
) -> None:
    path = folder / f"a{ending}"
    path.write_bytes(PACKED[ending](content))
    instead = content.lstrip().lower().startswith(tuple(INSTEAD))
    if instead or (ending == ".jsonl" and content.startswith(tuple(SIGNATURES))):
        with pytest.raises(ShardError, match="its content is "):
            lines_of(path, block_bytes)
        return
    found, rejected = lines_of(path, block_bytes)
    expected = content.split(b"\n")
    expected = expected if expected[-1] else expected[:-1]
    assert len(found) == len(expected)
    for line, whole in zip(found, expected, strict=True):
        if line is None:
            assert len(whole) > SMALL.max_line_bytes or not whole.strip(b" \t\r")
        else:
            assert line == whole
    assert (found, rejected) == lines_of(path, 1 << 20)


@given(
    CONTENT,
    st.sampled_from(sorted({*PACKED} - {".jsonl"})),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, 10),
)
def test_damaged_packings_are_read_or_refused_by_name(
    folder: Path, content: bytes, ending: str, changes: list[tuple[int, int]], cut: int
) -> None:
    packed = bytearray(PACKED[ending](content))
    for place, value in changes:
        packed[place % len(packed)] = value
    path = folder / f"b{ending}"
    path.write_bytes(packed[: len(packed) - cut])
    try:
        lines_of(path, 100)
    except ShardError as error:
        starts = (f"{path}: after line ", f"{path}: 0 bytes", f"{path}: the zstd frame at byte 0")
        assert str(error).startswith(starts)  # noqa: PT017 - it may not be raised


FIELDS = ["seed", "raw", "fim", "tokens", "documents", "schema", "text_field", "fim_rate", "split"]
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=8),
        st.sampled_from(["dolma", "uniform", "syntax", "raw/*", "starcoder2", "the-stack"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from([*FIELDS, *Fim.model_fields]), st.text()), inner),
    ),
    max_leaves=12,
)


@given(st.one_of(VALUES.map(yaml.safe_dump), st.text()))
@example("fim: {sentinels: {}}")
@example("raw: {schema: {}}")
@example("raw: {schema: dolma, 1: 2}")
@example("? [a]\n: 1")
def test_a_recipe_is_one_or_is_refused(text: str) -> None:
    try:
        recipe = parse_recipe(text, "r")
    except RecipeError as error:
        assert str(error).startswith("recipe r: ")  # noqa: PT017 - it may not be raised
    else:
        assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


EDGE_CASE_TEXTS = [
    *("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|file_sep|>", "<|endoftext|>"),
    *("\r\n", "\n", "\t", " ", "\x00", "e\u0301", "\u2028", "🚀", "日本語", "def f(x):", "'" * 9),
]
TEXTS = st.lists(
    st.one_of(st.sampled_from(EDGE_CASE_TEXTS), st.text(max_size=12)), min_size=1, max_size=12
).map("".join)
LAWS = st.sampled_from(
    [
        Fim(fim_rate=1.0),
        Fim(fim_rate=0.5, split="uniform", spm_format="v2"),
        Fim.model_validate({"fim_rate": 1.0, "split": "lines", "file_separator_token": None}),
        Fim.model_validate({"fim_rate": 0.7, "split": {"syntax": 0.5, "dolma": 0.5}}),
    ]
)
LAYOUTS = st.sampled_from([Tokens(), Tokens(layout="megatron", max_size=400, shuffle=False)])


@given(
    st.lists(TEXTS.filter(bool), min_size=1, max_size=20),
    LAWS,
    LAYOUTS,
    st.sampled_from(["a.jsonl", "a.parquet"]),
)
def test_texts_come_back_from_shards_and_from_arrays(
    texts: list[str], fim: Fim, tokens: Tokens, shard_name: str
) -> None:
    """All stages with all checks, then both ways back."""
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    recipe = Recipe(raw=Raw(documents=("raw/*",)), fim=fim, tokens=tokens)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_shard(root / "raw" / shard_name, rows)
        outcome = run_all(open_corpus(root, recipe))["a"]
        assert outcome.failure is None, outcome.details or outcome.failure
        place = root / "fim_shards"
        lines = restore_shard(place / "a.jsonl.zst", place / "a.parquet")
        assert [orjson.loads(line)["text"] for line in lines] == texts
        tokenizer = load_tokenizer(recipe)
        ending = ".npy" if tokens.layout == "dolma" else ".bin"
        arrays = map(TokenArray, sorted((root / "token_arrays").glob(f"*{ending}")))
        found = [array[n].text(tokenizer) for array in arrays for n in range(len(array))]
        packed = (place / "a.jsonl.zst").read_bytes()
        shard = zstandard.ZstdDecompressor().decompressobj().decompress(packed).splitlines()
        assert sorted(found) == sorted(orjson.loads(line)["text"] for line in shard)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("finished")
    write_shard(root / "raw" / "a.jsonl", documents(40))
    assert run_all(open_corpus(root))["a"].failure is None
    return root


@given(
    st.sampled_from(["a.jsonl.zst", "a.parquet"]),
    st.lists(st.tuples(st.integers(0, 100_000), st.integers(1, 255)), min_size=1, max_size=3),
)
@example("a.parquet", [(14974, 128)])
def test_a_damaged_fim_shard_gives_the_originals_or_none(
    finished: Path, name: str, changes: list[tuple[int, int]]
) -> None:
    folder = finished / "damaged"
    folder.mkdir(exist_ok=True)
    for file in ("a.jsonl.zst", "a.parquet"):
        content = bytearray((finished / "fim_shards" / file).read_bytes())
        for place, change in changes if file == name else []:
            content[place % len(content)] ^= change
        (folder / file).write_bytes(content)
    originals = json_lines(documents(40)).splitlines()
    try:
        restored = list(restore_shard(folder / "a.jsonl.zst", folder / "a.parquet"))
    except ShardError as error:
        assert str(folder) in str(error)  # noqa: PT017 - it may not be raised
    else:
        texts = [orjson.loads(line)["text"] for line in restored]
        assert texts == [orjson.loads(line)["text"] for line in originals]
