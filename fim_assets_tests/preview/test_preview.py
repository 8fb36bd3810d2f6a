import gzip
import re
from dataclasses import replace
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console, RenderableType

from fim_assets.corpus.staging import Staging
from fim_assets.errors import ShardError
from fim_assets.fim_shards.arrangements import Lengths, Order, Parts, arrange, parse_arrangement
from fim_assets.fim_shards.record import FileRow, FimShardReader
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.preview.documents import (
    DocumentPreview,
    FilePreview,
    document_at_line,
    document_with_id,
    encode_document,
    finished_documents,
    first_rearranged,
    preview_documents,
)
from fim_assets.preview.markdown import (
    MARKDOWN_BYTES,
    OPEN_CHARS,
    first_tokens,
    preview_markdown,
    to_markdown,
    to_open_markdown,
    utf16_units,
)
from fim_assets.preview.terminal import render, render_document, render_tokens
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.raw import Raw
from fim_assets.token_arrays.reader import TokenDocument, TokenPart
from fim_assets.token_arrays.tokenize import encode_documents
from fim_assets.tokenizer.load import LoadedTokenizer, load_tokenizer
from fim_assets_tests.corpora import TOLERANT, documents, partition_files, write_shard

SEED = 7
FIM = Fim()
ALWAYS = Recipe(fim=Fim(fim_rate=1))
HOSTILE = (
    "\x1b[2J\x1b]52;c;ZXZpbA==\x07 \x00 \x7f \x9b31m \r\n\u202eevil\u2066 \u2028 \u200d \ue000\n"
    "````\n```text\n# heading\n| a | b |\n| - | - |\n<script>alert(1)</script> ![x](http://x)\n"
    "\U000e0001 e\u0301\u0301\u0301 👩\u200d👩\u200d👧 עברית العربية \ufeff \x85 \x0b\x0c\n"
)

LAYOUTS: dict[str, dict[str, Any]] = {
    "PSM": {"psm_spm_split": 1},
    "SPM": {"psm_spm_split": 0},
    "SPM v2": {"psm_spm_split": 0, "spm_format": "v2"},
    "no middle token": {"sentinels": "codestral", "psm_spm_split": 0},
    "end token": {"sentinels": "code-llama", "split": "uniform"},
}


@pytest.fixture(scope="module")
def tokenizer() -> LoadedTokenizer:
    return load_tokenizer(Recipe())


def file_preview(order: Order, parts: Parts, fim: Fim = FIM, number: int = 0) -> FilePreview:
    text = "".join(parts)
    lead = len(fim.file_separator_token or "") if number else 0
    if order == "none":
        row = FileRow("none", len(text), Lengths(0, 0, 0), lead)
        return FilePreview(number, row, None, "not_selected", text, ())
    lengths = Lengths(*map(len, parts))
    arranged = arrange(parts, order, fim)
    pieces = tuple(parse_arrangement(arranged, order, lengths, fim))
    row = FileRow(order, len(text), lengths, lead)
    return FilePreview(number, row, "dolma", None, arranged, pieces)


def document(
    *files: FilePreview, identifier: str | None = "x", language: str | None = "C"
) -> DocumentPreview:
    return DocumentPreview(
        3, identifier, language, "<|file_sep|>".join(file.text for file in files), files
    )


def printed(renderable: RenderableType, width: int = 80) -> str:
    """As it stands in a file: no colours."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=False).print(renderable)
    return out.getvalue()


def in_colour(renderable: RenderableType, width: int = 80) -> str:
    """As it stands in a terminal, colours taken off again."""
    out = StringIO()
    Console(file=out, width=width, force_terminal=True, color_system="truecolor").print(renderable)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert plain != out.getvalue()
    return plain


def read(shard: Path, recipe: Recipe) -> list[DocumentPreview]:
    with ShardReader(shard, recipe.raw) as reader:
        return [p for block in reader for p in preview_documents(block, SEED, recipe)]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_shown_is_what_is_written(tmp_path: Path, layout: str) -> None:
    fim = Fim.model_validate({"fim_rate": 0.7, **LAYOUTS[layout]})
    recipe = Recipe(raw=TOLERANT, fim=fim)
    shard = write_shard(tmp_path / "a.jsonl", [*documents(80), b"refused", b""])
    place = partition_files(tmp_path / "fim", "a")
    with Staging(place) as staging:
        transform_shard(shard, SEED, recipe, staging)
        staging.publish()
    rows = iter(pq.read_table(place.file(".parquet")).to_pylist())
    found = read(shard, recipe)
    with FimShardReader(place.file(".jsonl.zst"), place.file(".parquet")) as reader:
        texts = [text for block in reader for text in block.documents.texts]
    assert [preview.text for preview in found] == texts
    for preview in found:
        assert "<|file_sep|>".join(file.text for file in preview.files) == preview.text
        for file in preview.files:
            row = next(rows)
            assert (preview.line, preview.id, preview.language) == (
                row["line"],
                row["id"],
                row["language"],
            )
            assert (file.file, file.row.order, file.split, file.reason, file.row.chars) == (
                row["file"],
                row["order"],
                row["split"],
                row["reason"],
                row["chars"],
            )
            lengths = (row["prefix_chars"], row["middle_chars"], row["suffix_chars"])
            assert file.row.lengths == lengths
            assert "".join(piece.text for piece in file.pieces) in {file.text, ""}
            assert bool(file.pieces) == (row["order"] != "none")
    assert next(rows, None) is None


def test_terminal_by_hand() -> None:
    """PSM of 20 characters, then an unchanged file; edges' white space is marked."""
    psm = file_preview("psm", Parts("int a;\n  ", "b = 2", ";\nend\n"))
    alone = file_preview("none", Parts("a\tb\n\n", "", ""), number=1)
    assert printed(render(document(psm, alone), FIM)).splitlines() == [
        "line 3 · id x · C",
        "",
        "file 0 PSM: cut by dolma, 20 characters",
        "  original    " + "░" * 27 + "█" * 15 + "▒" * 18,
        "  rearranged  " + "░" * 27 + "▒" * 18 + "█" * 15,
        "              ░ prefix 9   █ middle 5   ▒ suffix 6",
        "  <|fim_prefix|>",
        "  ▌ int a;↵",
        "  ▌ ··",
        "  <|fim_suffix|>",
        "  ▌ ;",
        "  ▌ end↵",
        "  <|fim_middle|>",
        "  ▌ b = 2",
        "",
        "<|file_sep|>",
        "file 1: unchanged: not_selected, 5 characters",
        "  ▌ a   b↵",
        "  ▌ ↵",
    ]


PRE, MID, SUF = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"


@pytest.mark.parametrize(
    ("layout", "rows"),
    [
        ("PSM", [PRE, "▌ pp", SUF, "▌ (empty)", MID, "▌ m"]),
        ("SPM", [SUF, "▌ (empty)", PRE, "▌ pp", MID, "▌ m"]),
        ("SPM v2", [PRE, SUF, "▌ (empty)", MID, "▌ pp", "▌ m"]),
        ("no middle token", ["[SUFFIX]", "▌ (empty)", "[PREFIX]", "▌ pp", "▌ m"]),
        ("end token", ["▁<PRE>", "▌ pp", "▁<SUF>", "▌ (empty)", "▁<MID>", "▌ m", "▁<EOT>"]),
    ],
)
def test_every_layout_in_the_terminal(layout: str, rows: list[str]) -> None:
    fim = Fim.model_validate(LAYOUTS[layout])
    order: Order = "spm" if fim.psm_spm_split == 0 else "psm"
    shown = printed(render(document(file_preview(order, Parts("pp", "m", ""), fim)), fim))
    assert [line.strip() for line in shown.splitlines()[6:]] == rows


def test_bars_are_in_proportion_and_show_every_part() -> None:
    parts = Parts("p", "", "s" * 1_000_000)
    lines = printed(render(document(file_preview("psm", parts)), FIM)).splitlines()
    assert lines[3] == "  original    ░" + "▒" * 59
    assert lines[5].strip() == "░ prefix 1   █ middle 0   ▒ suffix 1,000,000"


def test_long_parts_are_shortened_in_their_middle() -> None:
    long_line = printed(render(document(file_preview("none", Parts("x" * 12_345, "", ""))), FIM))
    assert "… 11,845 characters …" in long_line
    assert long_line.count("x") == 501
    lines = "".join(f"line {number:04d}\n" for number in range(1000))
    many = printed(render(document(file_preview("none", Parts(lines, "", ""))), FIM)).splitlines()
    assert many[3:6] == ["  ▌ line 0000", "  ▌ line 0001", "  ▌ line 0002"]
    assert many[-1] == "  ▌ line 0999↵"
    assert len(many) < 13


def test_of_many_files_the_rearranged_ones_are_shown() -> None:
    files = [file_preview("none", Parts(f"n{n}", "", ""), number=n) for n in range(100)]
    files[60] = file_preview("spm", Parts("a", "b", "cde"), number=60)
    shown = printed(render(document(*files), FIM))
    assert "file 60 SPM:" in shown
    assert "94 files not shown" in shown
    assert shown.count("not_selected") == 5
    markdown = to_markdown([document(*files)])
    assert "| 60 | spm | dolma |  | 5 | 1 | 1 | 3 |" in markdown
    assert "96 files not shown" in markdown


def test_nothing_in_a_document_drives_the_terminal(tokenizer: LoadedTokenizer) -> None:
    parts = Parts(HOSTILE, HOSTILE[7:], HOSTILE)
    preview = document(file_preview("psm", parts), identifier=HOSTILE, language=HOSTILE)
    encoded = encode_document(preview, FIM, tokenizer)
    for width in (20, 80):
        for shown in (
            in_colour(render(preview, FIM), width),
            in_colour(render_tokens(encoded, tokenizer), width),
        ):
            assert shown.replace("\n", "").isprintable()
            assert max(map(cell_len, shown.splitlines())) <= width
    assert "␛[2J␛]52;c;ZXZpbA==␇ ␀ ␡ ‹U+009B›31m ␍" in printed(render(preview, FIM))
    assert "‹U+202E›evil" in printed(render(preview, FIM))


@given(st.text(min_size=1, max_size=200), st.text(max_size=50), st.text(max_size=50))
def test_any_text_is_shown_without_controls(text: str, identifier: str, language: str) -> None:
    files = [
        file_preview("psm", Parts(text, text[:3], text * 30)),
        file_preview("none", Parts(text, "", "")),
    ]
    shown = in_colour(render(document(*files, identifier=identifier, language=language), FIM))
    assert shown.replace("\n", "").isprintable()


def test_tokens_are_those_of_the_arrays(tmp_path: Path, tokenizer: LoadedTokenizer) -> None:
    shard = write_shard(tmp_path / "a.jsonl", documents(60))
    place = partition_files(tmp_path / "fim", "a")
    with Staging(place) as staging:
        transform_shard(shard, SEED, ALWAYS, staging)
        staging.publish()
    found = [
        [
            token
            for segment in encode_document(preview, ALWAYS.fim, tokenizer)
            for token in segment.ids
        ]
        for preview in read(shard, ALWAYS)
    ]
    with FimShardReader(place.file(".jsonl.zst"), place.file(".parquet")) as reader:
        blocks = [encode_documents(block, reader.fim, tokenizer) for block in reader]
    lengths = [size for block in blocks for size in block.documents["tokens"].tolist()]
    assert [len(ids) for ids in found] == lengths
    assert (
        list(chain.from_iterable(found))
        == np.concatenate([block.tokens for block in blocks]).tolist()
    )


def test_tokens_by_hand(tokenizer: LoadedTokenizer) -> None:
    """In cl100k_base, `a` is 64 and ` b` is 293; a literal sentinel in the text is no control."""
    preview = document(file_preview("psm", Parts("a", " b", "")))
    shown = printed(render_tokens(encode_document(preview, FIM, tokenizer), tokenizer))
    assert [line.strip() for line in shown.splitlines()] == [
        "6 tokens, 4 of them sentinels, EOS and other controls, placed by id",
        "100258 <|fim_prefix|>",
        "64 a",
        "100260 <|fim_suffix|>",
        "(empty)",
        "100259 <|fim_middle|>",
        "293 ·b",
        "100257 <|endoftext|>",
    ]
    literal = document(file_preview("none", Parts("<|fim_prefix|>", "", "")))
    shown = printed(render_tokens(encode_document(literal, FIM, tokenizer), tokenizer))
    assert "100258" not in shown
    assert ", 1 of them sentinels, EOS" in shown


def test_many_tokens_are_shortened(tokenizer: LoadedTokenizer) -> None:
    preview = document(file_preview("none", Parts(" b" * 1000, "", "")))
    shown = printed(render_tokens(encode_document(preview, FIM, tokenizer), tokenizer))
    assert shown.startswith("1,001 tokens, 1 of them")
    assert shown.count("293 ·b") == 24
    assert "… 976 tokens …" in shown


ROWS = [
    {"id": "too short", "text": "ab"},
    {"id": 7, "text": "0123456789"},
    b"",
    b"[1]",
    {"id": "last", "text": "", "more": 1},
    {"id": "last", "text": "abcdefghij", "metadata": {"language": "C"}},
]


def test_documents_are_found(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl.gz", ROWS)
    first = first_rearranged(shard, SEED, ALWAYS)
    assert (first.line, first.id, first.language) == (2, "7", None)
    assert document_at_line(shard, SEED, ALWAYS, 2) == first
    assert document_with_id(shard, SEED, ALWAYS, "7") == first
    last = document_with_id(shard, SEED, ALWAYS, "last")
    assert (last.line, last.language) == (6, "C")
    assert document_at_line(shard, SEED, ALWAYS, 1).files[0].reason == "too_short"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (3, "line 3 is blank"),
        (4, "line 4 is rejected as not_an_object: the line is a JSON array"),
        (5, "line 5 is rejected as empty: text is empty"),
        (7, "no line 7; the shard has 6 lines"),
    ],
)
def test_lines_without_a_document(tmp_path: Path, line: int, message: str) -> None:
    shard = write_shard(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(ShardError, match=re.escape(f"{shard}: {message}")):
        document_at_line(shard, SEED, ALWAYS, line)


def test_a_document_in_pieces_is_found_and_named(tmp_path: Path) -> None:
    """The first piece that is rearranged, or else the first."""
    rows = [*ROWS, {"id": "long", "text": "x = f(y)\n" * 200}, {"text": "x = 1\n" * 9}]
    shard = write_shard(tmp_path / "a.jsonl", rows)
    context = {"tokens": 64, "longer": "pieces"}
    recipe = Recipe.model_validate({"fim": {"fim_rate": 0.1}, "context": context})
    pieces = [its for its in read(shard, recipe) if its.line == 7]
    names = [f"line 7, piece {n} of {len(pieces)}" for n in range(1, len(pieces) + 1)]
    assert [its.name for its in pieces] == names
    first = next(number for number, its in enumerate(pieces) if its.rearranged)
    assert first > 0
    found = document_at_line(shard, SEED, recipe, 7)
    assert found == replace(pieces[first], place=(shard, 7))
    assert document_with_id(shard, SEED, recipe, "long") == found
    assert names[first] in printed(render(found, recipe.fim))
    never = recipe.model_copy(update={"fim": Fim(fim_rate=0)})
    assert document_at_line(shard, SEED, never, 7).name == names[0]
    assert document_at_line(shard, SEED, recipe, 8).name == "line 8"


@pytest.mark.parametrize(
    ("piece", "pieces", "shown"), [(0, 1, "raw shard"), (1, 3, "raw shard, piece 2 of 3")]
)
def test_a_piece_in_an_array_is_named(
    piece: int, pieces: int, shown: str, tokenizer: LoadedTokenizer
) -> None:
    ids = np.array([87, 100257], np.uint32)
    parts = (
        TokenPart(ids[:1], 0, None, control=False),
        TokenPart(ids[1:], None, None, control=True),
    )
    its = TokenDocument(7, "x", 0, 2, ids, ("none",), parts, 0, "", piece, pieces)
    heading = printed(render_document(its, 5, tokenizer, tokens=False)).splitlines()[0]
    assert re.search(f"line 7 of the {shown} .*tokens 0 to 2", heading)


def test_no_such_id_and_nothing_rearranged(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl", ROWS)
    with pytest.raises(ShardError, match="no document has the id 'y'; the shard has 6 lines, 3 of"):
        document_with_id(shard, SEED, ALWAYS, "y")
    with pytest.raises(ShardError, match="rearranges no file of its 3 documents"):
        first_rearranged(shard, SEED, Recipe(fim=Fim(fim_rate=0)))


def test_reading_stops_at_the_document(tmp_path: Path) -> None:
    """The end of the shard is damaged, and nobody gets there."""
    shard = tmp_path / "a.jsonl.gz"
    rows = [{"id": str(n), "text": np.random.default_rng(n).bytes(60_000).hex()} for n in range(60)]
    shard.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, rows)))[:-1000])
    assert document_at_line(shard, SEED, ALWAYS, 2).id == "1"
    assert document_with_id(shard, SEED, ALWAYS, "3").line == 4
    assert first_rearranged(shard, SEED, ALWAYS).line == 1
    with pytest.raises(ShardError, match="ends inside the gzip member"):
        document_with_id(shard, SEED, ALWAYS, "59")


def structure(markdown: str) -> tuple[int, list[str]]:
    """How many headings there are, and the fences' contents; refuses all other markup of texts."""
    blocks = MarkdownIt("commonmark").enable("table").parse(markdown)
    inline = [child.type for block in blocks for child in block.children or []]
    allowed = {"text", "code_inline", "strong_open", "strong_close"}
    assert set(inline) <= allowed
    kinds = {block.type.removesuffix("_open").removesuffix("_close") for block in blocks}
    assert kinds <= {"heading", "paragraph", "inline", "fence"} | {
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }
    headings = sum(block.type == "heading_open" for block in blocks)
    return headings, [block.content for block in blocks if block.type == "fence"]


def test_markdown_by_hand(tokenizer: LoadedTokenizer) -> None:
    psm = document(file_preview("psm", Parts("a", " b", "")), identifier="x|`y`", language=None)
    assert to_markdown([psm], [first_tokens(psm, FIM, tokenizer)]) == (
        "### PSM: line 3, id `` x|`y` ``, no language\n\n"
        "| file | order | split | reason | characters | prefix | middle | suffix |\n"
        "| --: | :-- | :-- | :-- | --: | --: | --: | --: |\n"
        "| 0 | psm | dolma |  | 3 | 1 | 2 | 0 |\n\n"
        "🟦 `<|fim_prefix|>` prefix\n\n```text\na\n```\n\n"
        "🟩 `<|fim_suffix|>` suffix\n\n```text\n(empty)\n```\n\n"
        "🟧 `<|fim_middle|>` middle\n\n```text\n·b\n```\n\n"
        "**First 6 tokens**\n\n```text\n"
        "100258 <|fim_prefix|> │ 64 a │ 100260 <|fim_suffix|> │ 100259 <|fim_middle|> │ 293 ·b │ "
        "100257 <|endoftext|>\n```\n"
    )


@pytest.mark.parametrize(
    ("layout", "labels"),
    [
        (
            "SPM v2",
            [
                "🟩 `<|fim_prefix|>` `<|fim_suffix|>` suffix",
                "🟦 `<|fim_middle|>` prefix",
                "🟧 middle",
            ],
        ),
        ("no middle token", ["🟩 `[SUFFIX]` suffix", "🟦 `[PREFIX]` prefix", "🟧 middle"]),
        (
            "end token",
            ["🟦 `▁<PRE>` prefix", "🟩 `▁<SUF>` suffix", "🟧 `▁<MID>` middle", "⬛ `▁<EOT>`"],
        ),
    ],
)
def test_layouts_in_markdown(layout: str, labels: list[str]) -> None:
    fim = Fim.model_validate(LAYOUTS[layout])
    order: Order = "spm" if fim.psm_spm_split == 0 else "psm"
    markdown = to_markdown([document(file_preview(order, Parts("p", "m", "s"), fim))])
    assert [line for line in markdown.splitlines() if line[0:1] in "🟦🟧🟩⬛" and line] == labels


def finished_markdown(shard: Path, recipe: Recipe, tokenizer: LoadedTokenizer | None = None) -> str:
    """The preview of a FIM shard that is made of this raw shard."""
    place = partition_files(shard.parent / "fim", shard.name)
    with Staging(place) as staging:
        transform_shard(shard, SEED, recipe, staging)
        staging.publish()
    shard, parquet = place.file(".jsonl.zst"), place.file(".parquet")
    example, shown = preview_markdown(shard, parquet, recipe, tokenizer)
    assert utf16_units(example) < OPEN_CHARS
    return shown


def test_three_documents_in_markdown(tmp_path: Path, tokenizer: LoadedTokenizer) -> None:
    """The first of each kind, and a document that holds both orders counts as the first of one."""
    recipe = Recipe()
    shard = write_shard(tmp_path / "a.jsonl", documents(300))
    found = read(shard, recipe)
    psm = next(p for p in found if "psm" in p.orders)
    spm = next(p for p in found if "spm" in p.orders and p is not psm)
    alone = next(p for p in found if p.orders == {"none"})
    assert finished_markdown(shard, recipe, tokenizer) == to_markdown(
        [psm, spm, alone],
        [first_tokens(preview, recipe.fim, tokenizer) for preview in (psm, spm, alone)],
    )
    headings, _ = structure(finished_markdown(shard, recipe, tokenizer))
    assert headings == 3


def test_only_kinds_that_exist_in_markdown(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl", documents(40))
    never = Recipe(raw=TOLERANT, fim=Fim(fim_rate=0))
    assert finished_markdown(shard, never).count("### ") == 1
    assert finished_markdown(shard, never).startswith("### Unchanged: line 1, id `0`, `Py")
    nothing = write_shard(tmp_path / "b.jsonl", [b"refused"])
    assert "No document" in finished_markdown(nothing, never)


def test_lines_that_sentinels_make_longer_than_the_bound_are_shown(tmp_path: Path) -> None:
    """`raw.max_line_bytes` bounds the raw shard's lines, not those of the FIM shard."""
    shard = write_shard(tmp_path / "a.jsonl", rows := [{"text": f"x = {n}\n"} for n in range(5)])
    bound = max(map(len, shard.read_bytes().splitlines()))
    recipe = Recipe(raw=Raw(max_line_bytes=bound), fim=ALWAYS.fim)
    finished_markdown(shard, recipe)
    place = partition_files(shard.parent / "fim", shard.name)
    fim, parquet = place.file(".jsonl.zst"), place.file(".parquet")
    previews = list(finished_documents(fim, parquet, blocks=1))
    assert [preview.rearranged for preview in previews] == [True] * len(rows)
    assert previews == read(shard, recipe)


@given(st.text(), st.text(max_size=30), st.text(max_size=30))
def test_no_text_breaks_out_of_the_markdown(text: str, identifier: str, language: str) -> None:
    files = [
        file_preview("psm", Parts(text, text[1:], text[2:])),
        file_preview("none", Parts(text, "", ""), number=1),
    ]
    preview = document(*files, identifier=identifier, language=language)
    headings, fences = structure(to_markdown([preview]))
    assert headings == 1
    assert len(fences) == 4
    headings, fences = structure(to_open_markdown([preview]))
    assert (headings, len(fences)) == (0, 3)


@pytest.mark.parametrize(
    "text",
    [
        HOSTILE * 20,
        "\U0010fffd" * 5000,
        "\xa0" * 40_000,
        "`" * 5000,
        "\U0010fffd`\n" * 5000,
        " \n" * 5000,
        "日本語" * 100_000,
        "x" * 3_000_000,
    ],
)
@pytest.mark.parametrize("files", [1, 50])
def test_markdown_is_small_and_safe(text: str, files: int, tokenizer: LoadedTokenizer) -> None:
    parts = Parts(text, text[1:], text[2:])
    preview = document(
        *[file_preview("psm", parts, number=number) for number in range(files)],
        identifier=text,
        language=text,
    )
    markdown = to_markdown([preview] * 3, [first_tokens(preview, FIM, tokenizer)] * 3)
    assert len(markdown.encode()) < MARKDOWN_BYTES
    headings, fences = structure(markdown)
    assert headings == 3
    assert len(fences) >= 12
    example = to_open_markdown([preview], [first_tokens(preview, FIM, tokenizer)])
    assert utf16_units(example) < OPEN_CHARS
    headings, fences = structure(example)
    assert (headings, len(fences)) in {(0, 3), (0, 4)}


def test_an_example_that_is_shown_without_a_click(tokenizer: LoadedTokenizer) -> None:
    """Of a document the first file that is rearranged, in narrow lines, with its first tokens."""
    parts = Parts("# a comment\n" + "x" * 99 + "\n", "def f", "(): pass\n")
    files = [file_preview("none", parts), file_preview("spm", parts, number=1)]
    markdown = to_open_markdown(
        [preview := document(*files)], [first_tokens(preview, FIM, tokenizer)]
    )
    assert markdown.startswith("**SPM**, line 3, cut by ")
    assert [line for line in markdown.splitlines() if line[0:1] in "🟦🟧🟩" and line] == [
        "🟩 `<|fim_suffix|>` suffix",
        "🟦 `<|fim_prefix|>` prefix",
        "🟧 `<|fim_middle|>` middle",
    ]
    assert "x" * 60 + "…" in markdown.splitlines()
    assert utf16_units("🟦a") == 3


def test_a_shard_of_no_documents_says_why(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "a.jsonl", [{"content": "x"}, {"content": "y"}])
    with pytest.raises(ShardError, match=r"2 of 2 lines rejected \(no_text 2\)"):
        first_rearranged(shard, SEED, ALWAYS)
    with pytest.raises(ShardError, match="holds no document"):
        first_rearranged(write_shard(tmp_path / "b.jsonl", []), SEED, ALWAYS)
