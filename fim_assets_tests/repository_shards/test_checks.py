"""Each check of the stage passes what is right, and finds each kind of damage in real files."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from fim_assets.repository_shards.stage import REPOSITORY_SHARDS
from fim_assets_tests.repository_shards.made import Edit, Shard, changed, checked, make, recipe

Lines = list[bytes]
Rows = list[dict[str, Any]]

CHECKS = [check.name for check in REPOSITORY_SHARDS.checks]
LAYOUTS = ("dolma", "starcoder2", "qwen2.5-coder", "deepseek-coder")


@pytest.fixture(scope="module")
def by_imports(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    return make(tmp_path_factory.mktemp("imports"), layout="starcoder2", order="dependencies")


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Shard:
    """No document of several files has more than 60 bytes."""
    folder = tmp_path_factory.mktemp("divided")
    return make(folder, layout="dolma", order="path", max_bytes=60)


def test_the_whole_is_as_by_hand(by_imports: Shard) -> None:
    """`utils` imports `helpers`, and `main` both; `x` and `y` one another; ties go by path."""
    paths: dict[str | None, list[str]] = {}
    for row in by_imports.rows:
        paths.setdefault(row["repository"], []).append(row["path"])
    assert paths["r/tree"].index("helpers.py") < paths["r/tree"].index("utils.py")
    assert paths["r/tree"].index("utils.py") < paths["r/tree"].index("main.py")
    assert set(paths["r/cycle"][1:]) == {"x.py", "y.py"}
    assert [check.name for check in REPOSITORY_SHARDS.checks] == [
        *("every_file_once", "order_valid", "layout_valid", "names_rate")
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["given", "path", "random"])
def test_right_partitions_pass(tmp_path: Path, layout: str, order: str) -> None:
    """`make` runs the checks; by language, and divided by tokens, too."""
    make(tmp_path, layout=layout, order=order, by_language=order == "random", max_tokens=40)


def drop_document(lines: Lines, rows: Rows) -> None:
    lines.pop(0)
    last = next(n for n, row in enumerate(rows[1:], 1) if row["file"] == 0)
    del rows[:last]


def write_twice(lines: Lines, rows: Rows) -> None:
    """The document of the last line, which is one file without a repository or with one."""
    alone = next(n for n, row in enumerate(rows) if row["place"] == "alone")
    lines.append(lines[sum(row["file"] == 0 for row in rows[: alone + 1]) - 1])
    rows.append(rows[alone])


def other_text(lines: Lines, rows: Rows) -> None:
    del rows
    lines[0] = lines[0].replace(b"import", b"inport").replace(b"int", b"imt")


def other_member(lines: Lines, rows: Rows) -> None:
    del rows
    lines[0] = lines[0].replace(b'"stars":', b'"stars": ', 1)


def other_line(lines: Lines, rows: Rows) -> None:
    del lines
    rows[0]["line"] = 1000


def swapped_lines(lines: Lines, rows: Rows) -> None:
    del lines
    rows[0]["line"], rows[1]["line"] = rows[1]["line"], rows[0]["line"]


def other_value(name: str, value: Any) -> Any:
    def edit(lines: Lines, rows: Rows) -> None:
        del lines
        rows[0][name] = value

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        *(drop_document, write_twice, other_text, other_member, other_line, swapped_lines),
        *(other_value("path", "other"), other_value("language", None)),
        *(other_value("file_id", "other"), other_value("repository", "other")),
        *(other_value("chars", 3), other_value("tail_chars", 9)),
    ],
)
def test_every_file_once_finds_damage(by_imports: Shard, edit: Any) -> None:
    assert checked(by_imports, "every_file_once").passed
    assert not checked(by_imports, "every_file_once", edit).passed


def test_a_missing_file_is_named_by_its_line(by_imports: Shard) -> None:
    line = by_imports.rows[0]["line"]
    found = checked(by_imports, "every_file_once", drop_document).description
    assert "raw/a.jsonl: line " in found
    assert checked(by_imports, "every_file_once", other_line).description.endswith(
        f"a.jsonl: line {line} is in no document of the repository shard"
    )


def turned_round(name: str) -> Edit:
    """Put the files of a repository in the opposite order, in the line and in the parquet."""
    return reordered(name, lambda ids: ids[::-1])


def reordered(name: str, order: Callable[[list[str]], list[str]]) -> Edit:
    """Put the files of a repository in another order of their ids, in line and parquet."""

    def edit(lines: Lines, rows: Rows) -> None:
        at = [n for n, row in enumerate(rows) if row["repository"] == name]
        number = sum(row["file"] == 0 for row in rows[: at[0] + 1]) - 1
        of_document = rows[at[0] : at[-1] + 1]
        text, begins = orjson.loads(lines[number])["text"], [0]
        for row in of_document:
            begins.append(begins[-1] + sum(row[f"{n}chars"] for n in PARTS))
        texts = [text[b:e] for b, e in pairwise(begins)]
        members = orjson.loads(lines[number])["members"]
        ids = [row["file_id"] for row in of_document]
        places = [ids.index(one) for one in order([*ids])]
        lines[number] = changed(
            lines[number],
            text="".join(texts[n] for n in places),
            members=[members[n] for n in places],
        )
        rows[at[0] : at[-1] + 1] = [of_document[n] | {"file": f} for f, n in enumerate(places)]

    return edit


PARTS = ("lead_", "header_", "", "tail_")


def test_an_import_that_stands_behind_is_found(by_imports: Shard) -> None:
    """`main` imports `utils`, and no order of `x` and `y` puts both behind what they import."""
    assert checked(by_imports, "order_valid").passed
    edit = turned_round("r/tree")
    assert "which it imports" in checked(by_imports, "order_valid", edit).description


def test_an_order_that_breaks_ties_otherwise_is_found(by_imports: Shard) -> None:
    """`config` and `helpers` import nothing: either can come first, and by their paths `config`."""

    def swapped(ids: list[str]) -> list[str]:
        first, second = (ids.index(f"r/tree:{name}.py") for name in ("config", "helpers"))
        assert first < second < ids.index("r/tree:utils.py")
        ids[first], ids[second] = ids[second], ids[first]
        return ids

    found = checked(by_imports, "order_valid", reordered("r/tree", swapped))
    assert "by the order dependencies " in found.description


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("place", "cycle"), ("place", "imports"), ("copy", True), ("depends_on", [1000])),
        *(("document", 1), ("documents", 2), ("named", False), ("file", 5)),
    ],
)
def test_order_valid_finds_other_rows(by_imports: Shard, name: str, value: Any) -> None:
    _, row = by_imports.numbers("helpers.py")

    def edit(lines: Lines, rows: Rows) -> None:
        del lines
        rows[row][name] = value

    assert by_imports.rows[row][name] != value
    assert not checked(by_imports, "order_valid", edit).passed


def test_a_cycle_is_no_excuse_for_what_is_outside_of_it(by_imports: Shard) -> None:
    """`z` is imported by `x`, which is in a cycle with `y`; `z` is not."""
    _, first = by_imports.numbers("z.py")
    assert by_imports.rows[first]["file"] == 0

    def edit(lines: Lines, rows: Rows) -> None:
        del lines
        x = next(row for row in rows if row["path"] == "x.py")
        rows[first]["depends_on"] = [x["line"]]
        rows[first]["place"] = "imports"

    assert not checked(by_imports, "order_valid", edit).passed


@pytest.mark.parametrize("order", ["given", "path", "random"])
def test_another_order_is_found(tmp_path: Path, order: str) -> None:
    shard = make(tmp_path, layout="dolma", order=order)
    names = {row["repository"] for row in shard.rows} - {None}
    found = [checked(shard, "order_valid", turned_round(name)).passed for name in sorted(names)]
    assert found == [False] * 3
    assert (
        f"by the order {order} "
        in checked(shard, "order_valid", turned_round("r/tree")).description
    )


def longer_tail(lines: Lines, rows: Rows) -> None:
    lines[0] = changed(lines[0], text=orjson.loads(lines[0])["text"] + "\n")
    last = next(n for n, row in enumerate(rows[1:], 1) if row["file"] == 0) - 1
    rows[last]["tail_chars"] += 1


def other_marker(lines: Lines, rows: Rows) -> None:
    del rows
    number = next(n for n, line in enumerate(lines) if b"<repo_name>" in line)
    lines[number] = lines[number].replace(b"<repo_name>", b"<REPO_name>")


def moved_edge(lines: Lines, rows: Rows) -> None:
    del lines
    rows[0]["lead_chars"] += 1
    rows[0]["chars"] -= 1


def other_id(lines: Lines, rows: Rows) -> None:
    del rows
    lines[0] = changed(lines[0], id="other")


@pytest.mark.parametrize("edit", [longer_tail, other_marker, moved_edge, other_id, drop_document])
def test_layout_valid_finds_other_surroundings(by_imports: Shard, edit: Any) -> None:
    assert checked(by_imports, "layout_valid").passed
    found = checked(by_imports, "layout_valid", edit).passed
    # Of a repository in one document, nothing is known to be missing.
    assert found == (edit is drop_document)


def test_a_document_is_no_larger_than_it_may_be(divided: Shard) -> None:
    sizes: dict[tuple[str, int], Rows] = {}
    for row in divided.rows:
        sizes.setdefault((row["id"], row["document"]), []).append(row)
    several = [files for files in sizes.values() if len(files) > 1]
    assert several
    assert any(files[0]["documents"] > 1 for files in several)
    assert checked(divided, "layout_valid").passed
    fewer = recipe(layout="dolma", order="path", max_bytes=20)
    other = divided._replace(corpus=replace(divided.corpus, recipe=fewer))
    assert "max_bytes" in checked(other, "layout_valid").description


def drop_part(lines: Lines, rows: Rows) -> None:
    """A document of a repository that is divided."""
    begins = [n for n, row in enumerate(rows) if row["file"] == 0]
    at = next(n for n, row in enumerate(rows) if row["documents"] > 1 and row["document"] == 1)
    end = next((n for n in begins if n > at), len(rows))
    lines.pop(begins.index(at))
    del rows[at:end]


@pytest.mark.parametrize("check", ["every_file_once", "order_valid", "layout_valid"])
def test_a_part_of_a_repository_that_is_gone_is_found(divided: Shard, check: str) -> None:
    assert not checked(divided, check, drop_part).passed


@pytest.mark.parametrize("check", CHECKS[:3])
def test_shard_and_parquet_of_other_documents_are_refused(by_imports: Shard, check: str) -> None:
    def edit(lines: Lines, rows: Rows) -> None:
        del lines
        rows.pop()

    assert not checked(by_imports, check, edit).passed


def test_names_rate(tmp_path: Path) -> None:
    """Of 300 repositories, 0.5 asked: the exact test accepts 98 to 202; all 300 are refused."""
    content = [
        {"text": f"x{n}", "metadata": {"repo_name": f"r{n}", "path": "p"}} for n in range(300)
    ]
    shard = make(tmp_path, content, layout="starcoder2", order="path", names=0.5)
    verdict = checked(shard, "names_rate")
    assert verdict.passed
    assert verdict.numbers["names_trials"] == 300
    low, high = verdict.numbers["names_fewest_accepted"], verdict.numbers["names_most_accepted"]
    assert (low, high) == (98, 202)

    def edit(lines: Lines, rows: Rows) -> None:
        del lines
        for row in rows:
            row["named"] = True

    assert not checked(shard, "names_rate", edit).passed
