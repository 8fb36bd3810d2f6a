import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from fim_assets.cli.doctor.fields import Fields, fields_finding, matching_schema, read_fields
from fim_assets.cli.doctor.findings import Finding, render_finding
from fim_assets.recipe import parse_recipe
from fim_assets.recipe.raw import Raw
from fim_assets_tests.corpora import json_lines

CODE = "def f{0}(a):\n    return a + {0}\n"


def fields_of(folder: Path, rows: Sequence[Any]) -> Fields:
    path = folder / "excerpt.jsonl"
    path.write_bytes(json_lines(rows))
    return read_fields([path])


def finding_of(folder: Path, rows: Sequence[Any]) -> Finding:
    finding = fields_finding(fields_of(folder, rows), Raw(), {})
    assert finding is not None
    return finding


def the_stack(count: int = 40) -> list[dict[str, Any]]:
    return [
        {
            "hexsha": sha256(b"%d" % n).hexdigest(),
            "size": n,
            "ext": "py" if n % 2 else "js",
            "lang": "Python" if n % 2 else "JavaScript",
            "max_stars_repo_path": f"src/{n % 9}.py",
            "max_stars_repo_name": f"user{n % 5}/project",
            "max_stars_repo_head_hexsha": sha256(b"head %d" % n).hexdigest(),
            "max_stars_repo_licenses": ["MIT"],
            "max_stars_count": n if n % 4 == 0 else None,
            "max_issues_repo_path": f"src/{n % 9}.py",
            "content": CODE.format(n) * 9,
            "alphanum_fraction": 0.5,
        }
        for n in range(count)
    ]


def test_fields_are_paths_with_their_values(tmp_path: Path) -> None:
    rows = [
        {"a": {"b.c": 1, "": 2, "d": {}}, "e": [{"f": 1}], "g": None, "": {"h": 1}},
        b"no JSON",
        b"[1]",
        {"a": {"b.c": 2.5}, "g": False},
    ]
    fields = fields_of(tmp_path, rows)
    assert fields == Fields({r"a.b\.c": [1, 2.5], "e": [[{"f": 1}]], "g": [False]}, 2)


def test_keys_without_end_and_deep_ones_are_read(tmp_path: Path) -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    rows = [deep, *({f"key {n}": n} for n in range(3000)), {"key 0": 1}]
    fields = fields_of(tmp_path, rows)
    assert (len(fields.values), fields.lines) == (1000, 3002)
    assert fields.values["key 0"] == [0, 1]


def test_lines_as_the_stack_has_them_give_a_recipe(tmp_path: Path) -> None:
    finding = finding_of(tmp_path, the_stack())
    assert finding.mark == "look"
    assert finding.recipe == {
        "raw": {
            "text_field": "content",
            "id_field": "hexsha",
            "language_field": "lang",
            "path_field": "max_stars_repo_path",
        }
    }
    told = dict(line.split(": ", 1) for line in finding.text.splitlines()[1:])
    assert told["hexsha"] == "string, 100%, median 64 characters"
    assert told["max_stars_count"] == "number, 25%"
    assert told["max_stars_repo_licenses"] == "array, 100%"
    fitting = Raw.model_validate({**finding.recipe["raw"]})
    fits = fields_finding(fields_of(tmp_path, the_stack()), fitting, {})
    assert fits is not None
    assert (fits.mark, fits.recipe) == ("ok", {})
    assert "content: string, 100%, median " in fits.text
    assert "(raw.text_field)" in fits.text


@pytest.mark.parametrize("in_columns", [True, False])
def test_what_is_to_be_written_can_be_copied(tmp_path: Path, in_columns: bool) -> None:
    """Whatever a field is called."""
    name = 'a.b: "#é\u202e\x1b[31m\n'
    rows = [{name: row.pop("content"), **row} for row in the_stack()]
    finding = finding_of(tmp_path, rows)
    console = Console(width=60, record=True, file=(tmp_path / "shown").open("w"))
    console.print(render_finding(finding, in_columns), soft_wrap=True)
    shown = console.export_text()
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    copied = shown[shown.rindex("raw:") :]
    assert parse_recipe(copied, "copied").raw == parse_recipe(json.dumps(finding.recipe), "r").raw
    assert yaml.safe_load(copied) == finding.recipe
    assert len(copied.splitlines()) == (5 if in_columns else 1)


@pytest.mark.parametrize(
    ("rows", "recipe"),
    [
        ([{"prompt": CODE * 3, "answer": CODE * 2, "n": n} for n in range(9)], {}),
        ([{"code": CODE * 3, "blob": "x" * 300, "n": n} for n in range(9)], {}),
        ([{"code": CODE * 3, "blob": "x" * 30, "n": n} for n in range(9)], {"text_field": "code"}),
        ([{"a": {"b": CODE.format(n)}, "n": n} for n in range(9)], {"text_field": "a.b"}),
        ([{"query": "select 1", "n": n} for n in range(9)], {}),
        ([{"text": 1, "b": CODE.format(n)} for n in range(9)], {"text_field": "b"}),
        ([*[{"text": CODE}] * 4, *[{"code": CODE}] * 5], {"text_field": "code"}),
        ([*[{"text": CODE}] * 5, *[{"code": CODE}] * 4], {}),
    ],
)
def test_a_text_is_named_where_it_is_clear(
    tmp_path: Path, rows: list[Any], recipe: dict[str, str]
) -> None:
    finding = finding_of(tmp_path, rows)
    assert finding.recipe.get("raw", {}) == recipe
    text_fits = sum(isinstance(row.get("text"), str) for row in rows) * 2 > len(rows)
    assert (finding.mark == "ok") == text_fits
    if not (recipe or text_fits):
        names = [name for name, value in rows[0].items() if isinstance(value, str)]
        told = "raw.text_field is not clear" in finding.advice
        assert told == any("\n" in str(row[name]) for row in rows for name in names)


def with_text(values: Sequence[Any], name: str = "x", **more: Any) -> list[dict[str, Any]]:
    return [{"text": CODE, name: value, **more} for value in values]


HASHES = [sha256(b"%d" % n).hexdigest() for n in range(40)]


@pytest.mark.parametrize(
    ("rows", "part", "named"),
    [
        (with_text(HASHES), "id_field", "x"),
        (with_text([*HASHES[:39], HASHES[0]]), "id_field", None),
        (with_text(HASHES, "commit_sha"), "id_field", None),
        (with_text(range(40)), "id_field", None),
        (with_text(range(40), "uuid"), "id_field", "uuid"),
        (with_text([n / 2 for n in range(40)], "uuid"), "id_field", None),
        (with_text(["one and the same"] * 40, "uuid"), "id_field", None),
        (with_text([f"two words {n}" for n in range(40)], "uuid"), "id_field", None),
        (with_text([*range(38), None, None], "uuid"), "id_field", None),
        (
            [{"text": CODE, "sha": h, "meta": {"doc_id": h}} for h in HASHES],
            "id_field",
            "meta.doc_id",
        ),
        ([{"text": CODE, "a": h, "b": h[::-1]} for h in HASHES], "id_field", ("a", "b")),
        (with_text(["C++", "c-sharp", "Go", "Ada"]), "language_field", "x"),
        (with_text(["en", "fr", "Go", "de"]), "language_field", None),
        (with_text(["py", "js"], "ext"), "language_field", None),
        (with_text(["Python", "C"], lang="Go"), "language_field", "lang"),
        (with_text(["Python", "C"], y="Go"), "language_field", ("x", "y")),
        (with_text(["src/a.py", "b.py", "src/Makefile"]), "path_field", "x"),
        (with_text(["src/a.unknown", "b.unknown"]), "path_field", None),
        (with_text(["src/a.unknown", "b.unknown"], "file_path"), "path_field", "file_path"),
        (with_text(["https://a/b.py", "http://c/d.py"]), "path_field", None),
        (with_text(["user/project", "user/other"], "path"), "path_field", None),
        (with_text(["a.py", "b.py"], y="c.py"), "path_field", ("x", "y")),
        (with_text(["a.py", "b.py"], meta={"path": "c.py"}), "path_field", "meta.path"),
    ],
)
def test_other_fields_are_named_where_they_are_clear(
    tmp_path: Path, rows: list[Any], part: str, named: str | tuple[str, ...] | None
) -> None:
    """Several that could be it are told, and none is written."""
    finding = finding_of(tmp_path, rows)
    several = isinstance(named, tuple)
    assert finding.recipe.get("raw", {}).get(part) == (None if several else named)
    assert (f"raw.{part} is not clear: " in finding.advice) == several
    if named is not None:
        assert finding.mark == "look"


def schema(*names: str) -> dict[str, str]:
    return dict(zip(("text_field", "id_field", "language_field", "path_field"), names, strict=True))


SCHEMAS = {
    "dolma": schema("text", "id", "metadata.language", "metadata.path"),
    "stack": schema("content", "hexsha", "lang", "max_stars_repo_path"),
    "stars": schema("content", "id", "lang", "max_stars_repo_path"),
    "blobs": schema("text", "blob_id", "language", "path"),
}


def without(*names: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in names} for row in the_stack()]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (the_stack(), {"schema": "stack"}),
        (without("hexsha"), {"language_field": "lang", "path_field": "max_stars_repo_path"}),
        (
            [{**row, "id": n} for n, row in enumerate(without("hexsha", "lang"))],
            {"schema": "stars"},
        ),
        (with_text(HASHES, "blob_id", path="a/b.py"), {"schema": "blobs"}),
        (with_text(HASHES, "sha", path="a/b.py"), {"id_field": "sha", "path_field": "path"}),
        (with_text(range(9), "id"), {}),
    ],
)
def test_a_schema_is_written_where_no_other_names_the_parts_so(
    tmp_path: Path, rows: list[Any], named: dict[str, str]
) -> None:
    """Though it may name a part that the lines do not have."""
    finding = fields_finding(fields_of(tmp_path, rows), Raw(), SCHEMAS)
    assert finding is not None
    written = finding.recipe.get("raw", {})
    assert {name: field for name, field in written.items() if name != "text_field"} == named


def test_fields_that_no_schema_names_are_written_in_its_place(tmp_path: Path) -> None:
    """A recipe cannot name a field next to a schema, nor do without those that it has from one."""
    rows = [
        row | {"uid": row["hexsha"], "file_path": f"src/{row['size']}.py"} for row in the_stack()
    ]
    kept = [{name: row[name] for name in ("uid", "content", "lang", "file_path")} for row in rows]
    finding = fields_finding(fields_of(tmp_path, kept), Raw(schema="the-stack"), {})
    assert finding is not None
    written = parse_recipe(yaml.safe_dump(finding.recipe), "written").raw
    assert (written.text_field, written.id_field) == ("content", "uid")
    assert (written.language_field, written.path_field) == ("lang", "file_path")


@pytest.mark.parametrize(
    ("empty", "raw", "share"),
    [
        (0, {}, None),
        (1, {}, 0.1),
        (10, {}, 0.1),
        (11, {}, None),
        (1, {"max_rejected_share": 0.01}, None),
        (2, {"max_rejected_share": 0.01}, 0.1),
        (2, {"max_empty_share": 0.0}, 0.0),
    ],
)
def test_empty_texts_that_a_run_would_refuse_are_in_what_is_to_be_written(
    tmp_path: Path, empty: int, raw: dict[str, float], share: float | None
) -> None:
    """Of 100 lines, up to 10 of them empty; and as well next to a schema."""
    rows = [row | ({"content": ""} if n < empty else {}) for n, row in enumerate(the_stack(100))]
    for schemas in ({}, SCHEMAS):
        finding = fields_finding(fields_of(tmp_path, rows), Raw.model_validate(raw), schemas)
        assert finding is not None
        assert ("schema" in finding.recipe["raw"]) == bool(schemas)
        assert finding.recipe["raw"].get("max_empty_share") == share


def test_one_part_alone_is_of_no_schema() -> None:
    blobs = SCHEMAS["blobs"]
    for part, name in blobs.items():
        assert matching_schema({part: name}, {"blobs": blobs}) is None
    assert matching_schema({"text_field": "text", "id_field": "blob_id"}, SCHEMAS) == "blobs"
    assert matching_schema({"path_field": "path", "id_field": "blob_id"}, SCHEMAS) is None
