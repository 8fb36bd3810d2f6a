"""The check `lossless`, of raw shards that a FIM shard was made of, or just not made of."""

from dataclasses import dataclass
from pathlib import Path
from unittest.mock import Mock

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fim_assets.corpus.stage import CheckOutcome, Finished, Source
from fim_assets.corpus.staging import Staging
from fim_assets.fim_shards.checks import lossless
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.raw_shards.documents import replace_text
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import TOLERANT, partition_files

RECIPE = Recipe(
    raw=TOLERANT.model_copy(update={"text_field": "content.text", "max_line_bytes": 120}),
    fim=Fim(fim_rate=1.0),
)

SHORT, BLANK, REARRANGED, ESCAPED, REFUSED, TWICE, LONG, SEPARATED, LAST = range(9)
LINES = [
    b'{"content": {"text": "ab"}, "id": 1}\r',
    b" \t\r",
    b'{"content": {"text": "def add(a, b)"}, "id": "2"}',
    rb'{ "id" :"3","content":{"text" : "\u0064ef \ud83d\ude80 \"quoted\"\n" , "n":[1.50] } }',
    b'{"content": {"text": 5}, "id": "4"}',
    b'{"content":{"text":"earlier","text":"the later of two"},"id":null}',
    b'{"content":{"text":"' + b"x" * 120 + b'"}}',
    b'{"content":{"text":"one file<|file_sep|>and another"},"text":"of no matter"}',
    b'{"id":"5","content":{"text":"the end of the shard"}}',
]
"""Documents in all but three lines, rearranged in all but the first of these."""


@dataclass(frozen=True)
class Made:
    """A FIM shard that was made of `LINES`, in a folder."""

    folder: Path

    def check(self, lines: list[bytes], raw: Raw = RECIPE.raw) -> CheckOutcome:
        """The verdict where the raw shard holds these lines."""
        path = self.write(lines)
        recipe = RECIPE.model_copy(update={"raw": raw})
        files, source = partition_files(self.folder, "a"), Source((path,), None, path.name, None)
        return lossless(Finished(recipe, "", files, Mock(), lambda: source, Mock(), None))

    def write(self, lines: list[bytes]) -> Path:
        path = self.folder / "raw.jsonl"
        path.write_bytes(b"\n".join(lines))
        return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(tmp_path_factory.mktemp("lossless"))
    with Staging(partition_files(made.folder, "a")) as staging:
        transform_shard(made.write(LINES), 1, RECIPE, staging)
        staging.publish()
    return made


def with_line(number: int, line: bytes) -> list[bytes]:
    return [*LINES[:number], line, *LINES[number + 1 :]]


def edited(number: int, old: bytes, new: bytes) -> list[bytes]:
    assert LINES[number].count(old) == 1
    return with_line(number, LINES[number].replace(old, new))


@pytest.mark.parametrize(
    "lines",
    [
        LINES,
        [*LINES, b"", b"\r"],
        with_line(BLANK, b""),
        with_line(BLANK, b"{}"),
        with_line(REFUSED, b""),
        with_line(LONG, b'{"content":{"text":"' + b"y" * 200 + b'"}}'),
        edited(ESCAPED, rb"\u0064ef", b"def"),
        edited(ESCAPED, rb"\n", rb"\u000A"),
        edited(SEPARATED, b"<|", rb"\u003c|"),
    ],
)
def test_the_same_documents_come_back(made: Made, lines: list[bytes]) -> None:
    check = made.check(lines)
    assert check.passed, check.description
    assert check.numbers["documents"] == 6


@pytest.mark.parametrize(
    ("lines", "number", "what"),
    [
        (edited(SHORT, b"ab", b"ac"), SHORT, "its bytes differ"),
        (edited(SHORT, b"ab", rb"\u0061b"), SHORT, "its bytes differ"),
        (edited(SHORT, b"\r", b""), SHORT, "its bytes differ"),
        (with_line(BLANK, LINES[SHORT]), BLANK, "the FIM shard has line 3 there"),
        (with_line(REFUSED, LINES[SHORT]), REFUSED, "the FIM shard has line 6 there"),
        (with_line(LONG, LINES[SHORT]), LONG, "the FIM shard has line 8 there"),
        ([*LINES, LINES[SHORT]], LAST + 1, "is not in the FIM shard"),
        ([b"", *LINES], SHORT, "its bytes differ"),
        (edited(REARRANGED, b"add", b"sub"), REARRANGED, "another text"),
        (edited(REARRANGED, b"def add(a, b)", b""), REARRANGED, "another text"),
        (edited(REARRANGED, b'"def add(a, b)"', b"7"), REARRANGED, "another text"),
        (edited(REARRANGED, b"add", b'add""'), REARRANGED, "another text"),
        (edited(REARRANGED, b'"def', b' "def'), REARRANGED, "another text"),
        (edited(REARRANGED, b')"', b')" '), REARRANGED, "another text"),
        (edited(REARRANGED, b'"2"', b'"6"'), REARRANGED, "outside the text"),
        (edited(ESCAPED, b"1.50", b"1.5"), ESCAPED, "outside the text"),
        (edited(TWICE, b"earlier", b"later"), TWICE, "outside the text"),
        (with_line(REARRANGED, b"{}"), REARRANGED, "outside the text"),
    ],
)
def test_other_documents_are_noticed(
    made: Made, lines: list[bytes], number: int, what: str
) -> None:
    check = made.check(lines)
    assert not check.passed
    assert f"line {number + 1}" in check.description
    assert what in check.description


def test_fewer_lines_are_noticed(made: Made) -> None:
    check = made.check(LINES[:LAST])
    assert not check.passed
    assert "has more documents than" in check.description


@pytest.mark.parametrize("number", [SHORT, REARRANGED])
def test_a_document_over_the_bound_is_none(made: Made, number: int) -> None:
    """The FIM shard's lines have no bound, as the raw shard's have."""
    bound = len(LINES[number]) - 1
    check = made.check(LINES, RECIPE.raw.model_copy(update={"max_line_bytes": bound}))
    assert not check.passed


def as_read(made: Made, lines: list[bytes]) -> list[tuple[int, bytes, str]]:
    """What the reader that parses every line takes for documents."""
    found: list[tuple[int, bytes, str]] = []
    with ShardReader(made.write(lines), RECIPE.raw) as reader:
        for block in reader:
            found += zip(block.numbers, map(bytes, block.lines), block.texts, strict=True)
    return found


def outside(line: bytes) -> bytes:
    return replace_text(line, RECIPE.raw.text_field, "")


@given(
    number=st.integers(0, len(LINES) - 1),
    at=st.integers(0, 140),
    taken=st.integers(0, 2),
    put=st.text(st.sampled_from('" \\u{}[],:0an\n\r\t\x00é'), max_size=2).map(str.encode)
    | st.sampled_from([b"\xff", b"\xc3", b"\xed\xa0\x80"]),
)
@example(number=REARRANGED, at=22, taken=0, put=b"\\")
def test_the_verdict_is_that_of_parsing_every_line(
    made: Made, number: int, at: int, taken: int, put: bytes
) -> None:
    """Any few bytes of the raw shard are replaced."""
    line = LINES[number]
    lines = with_line(number, line[:at] + put + line[at + taken :])
    before, now = as_read(made, LINES), as_read(made, lines)
    orders = pl.read_parquet(partition_files(made.folder, "a").file(".parquet"))
    changed = set(orders.filter(pl.col("order") != "none")["line"])
    same = len(before) == len(now) and all(
        old[0] == new[0]
        and (
            (outside(old[1]), old[2]) == (outside(new[1]), new[2])
            if old[0] in changed
            else old[1] == new[1]
        )
        for old, new in zip(before, now, strict=False)
    )
    assert made.check(lines).passed == same


def test_a_shard_whose_lines_were_judged_by_other_fields_is_refused(made: Made) -> None:
    """Each of its lines may stand in the raw shard and be no document of this recipe."""
    with pytest.raises(ValueError, match="section raw"):
        made.check(LINES, RECIPE.raw.model_copy(update={"id_field": "other"}))
