"""A corpus of repositories the whole way: Dagster, resume, verify, report, groups, S3 and Ray."""

from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pytest

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.manifest import COLUMNS as MANIFEST
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.assets import build_assets
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.io.hashing import record_file
from fim_assets.recipe import Recipe
from fim_assets.repository_shards.record import COLUMNS
from fim_assets.run.verify import unlisted_files, verify_partitions
from fim_assets.settings import Settings
from fim_assets_tests.corpora import (
    HOSTILE,
    corpus_of,
    fingerprint,
    open_corpus,
    run_all,
    write_shard,
)
from fim_assets_tests.repository_shards.made import recipe, rows

NAMES = ["raw_shards", "repository_shards", "fim_shards", "token_arrays"]
KEYS = ["a", "b"]
SECTION = {"layout": "starcoder2", "order": "dependencies", "names": 0.5}


def hostile() -> list[dict[str, Any]]:
    return [
        {"text": f"{name}\n", "id": name, "metadata": {"repo_name": name, "path": f"{name}{n}"}}
        for name in HOSTILE
        for n in range(2)
    ]


def write_shards(root: Path) -> None:
    """`b` has the repositories of `a`, and others."""
    write_shard(root / "raw" / "a.jsonl", rows())
    write_shard(root / "raw" / "b.jsonl", [*rows(), *hostile()])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("whole")
    write_shards(root)
    return open_corpus(root, recipe(**SECTION), ("x", "y"))


@pytest.fixture(scope="module")
def definition(corpus: Corpus) -> CorpusDefinition:
    root = Path(str(corpus.data_root))
    return CorpusDefinition(corpus, Settings(root, root, "", workers=1), list_shards(corpus, root))


def materialize(definition: CorpusDefinition) -> dict[tuple[str, str], dict[str, Any]]:
    """Metadata by asset and partition of a run over a range."""
    assets = build_assets(definition)
    with dg.DagsterInstance.ephemeral() as instance:
        result = (
            dg.Definitions(assets)
            .resolve_implicit_global_asset_job_def()
            .execute_in_process(
                instance=instance,
                tags={
                    "dagster/asset_partition_range_start": KEYS[0],
                    "dagster/asset_partition_range_end": KEYS[1],
                },
                asset_selection=[definition.key(name) for name in NAMES],
            )
        )
        corpus = definition.corpus
        checks = [c.name for stage in corpus.stages for c in stage.checks_of(corpus.recipe)]
        verdicts = [(e.check_name, e.passed) for e in result.get_asset_check_evaluations()]
        assert verdicts == [(name, True) for name in checks]
        events = result.get_asset_materialization_events()
    made = [event.step_materialization_data.materialization for event in events]
    return {
        (one.asset_key.path[-1], one.partition): dict(one.metadata)
        for one in made
        if one.partition is not None
    }


@pytest.fixture(scope="module")
def made(definition: CorpusDefinition) -> dict[tuple[str, str], dict[str, Any]]:
    return materialize(definition)


@pytest.mark.usefixtures("made")
def test_documents_files_and_lines_add_up(corpus: Corpus) -> None:
    """Of 14 files, two have no repository: three repositories and these are five documents."""
    receipts = {name: read_receipt(corpus.files(name, "a")) for name in NAMES}
    results = {name: receipt.result for name, receipt in receipts.items() if receipt}
    assert [results[name].documents for name in NAMES] == [14, 5, 5, 5]
    assert [results[name].files for name in NAMES] == [None, 14, 14, 14]
    of_stage = results["repository_shards"]
    assert (of_stage.lines, of_stage.rejected, of_stage.counts["joined"]) == (15, 1, 9)
    assert of_stage.names is not None
    assert (of_stage.names.names, len(of_stage.names.hashes)) == (3, 3)
    assert [result.names is None for result in results.values()] == [True, False, True, True]


def test_a_partition_shows_its_repositories(
    corpus: Corpus, made: dict[tuple[str, str], dict[str, Any]]
) -> None:
    shown = made["repository_shards", "b"]
    assert list(shown)[:12] == [
        *("documents", "files", "repositories", "files_per_repository", "divided_repositories"),
        *("files_without_repository", "repository_copies", "copies_share", "import_edges"),
        *("repository_document_chars_p50", "preview", "preview_documents"),
    ]
    assert (shown["documents"].value, shown["repositories"].value) == (11, 9)
    preview = shown["preview"].value
    assert isinstance(preview, str)
    assert "<script>" not in preview.replace("`<script>", "")
    places = {row.data["place"]: row.data["files"] for row in shown["places"].records}
    assert places["alone"] == 2
    assert places["cycle"] == 2
    [spec] = [
        spec
        for asset in build_assets(
            CorpusDefinition(corpus, Settings(Path(), Path(), "", workers=1), {})
        )
        for spec in asset.specs
        if spec.key.path[-1] == "repository_shards"
    ]
    schema = spec.metadata["dagster/column_schema"]
    assert [column.name for column in schema.columns] == [*COLUMNS]
    assert {"layout": "starcoder2", "order": "dependencies"}.items() <= spec.tags.items()
    names = {one.label for one in spec.metadata["dagster/code_references"].code_references}
    assert {"join_shard", "every_file_once", "order_valid", "layout_valid"} <= names


@pytest.mark.usefixtures("made")
def test_the_report_counts_repositories_in_several_partitions(corpus: Corpus) -> None:
    summary = write_report(corpus, KEYS)
    joined = summary.repositories
    assert joined is not None
    assert (joined.documents, joined.repositories, joined.files_without_repository) == (16, 12, 4)
    assert joined.in_several.model_dump() == {
        "names": 9,
        "in_several": 3,
        "low": 3,
        "high": 3,
        "exact": True,
        "looked_at": 9,
    }
    assert any("fim-assets regroup" in warning for warning in summary.warnings)
    folder = Path(str(corpus.folder("corpus_report")))
    content = orjson.loads((folder / "summary.json").read_bytes())
    assert content["repositories"]["places"]["cycle"] == 4
    assert (content["totals"]["documents"], content["totals"]["joined"]) == (40, 24)
    page, card = ((folder / name).read_text() for name in ("report.html", "README.md"))
    assert '<section id="repositories">' in page
    assert "<script>" not in page
    assert "### Repositories" in card


@pytest.mark.usefixtures("made")
def test_it_is_verified_resumed_and_its_damage_found(
    corpus: Corpus, definition: CorpusDefinition
) -> None:
    again = materialize(definition)
    assert len(again) == 8
    assert all(metadata["skipped"].value for metadata in again.values())
    verdicts = list(verify_partitions(corpus, definition.shards, KEYS, 1))
    assert [verdict.faults for verdict in verdicts] == [[], []]
    assert [*verdicts[0].receipts] == NAMES
    assert list(unlisted_files(corpus, verdicts)) == []
    shard = corpus.files("repository_shards", "a").file(".jsonl.zst")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        [first, second] = verify_partitions(corpus, definition.shards, KEYS, 1)
        assert (len(first.faults), len(second.faults)) == (1, 0)
    finally:
        shard.write_bytes(content)


def test_a_group_of_shards_is_one_partition(tmp_path: Path) -> None:
    """A repository whose files are in two members of a group is one document."""
    write_shards(tmp_path)
    content = [MANIFEST]
    for name in ("a.jsonl", "b.jsonl"):
        record = record_file(tmp_path / "raw" / name)
        content.append(("both", f"raw/{name}", str(record.bytes), "", record.blake2b))
    (tmp_path / "shards.tsv").write_text("".join("\t".join(row) + "\n" for row in content))
    made = recipe(**SECTION)
    grouped = made.model_copy(
        update={"raw": made.raw.model_copy(update={"documents": ("shards.tsv",)})}
    )
    corpus = open_corpus(tmp_path, grouped)
    assert run_all(corpus)["both"].failure is None
    receipt = read_receipt(corpus.files("repository_shards", "both"))
    assert receipt is not None
    assert (receipt.result.documents, receipt.result.counts["repositories"]) == (13, 9)


FIELDS: dict[str, Any] = {
    "name_field": "repo",
    "group": "neighbours",
    "by_language": True,
    "order": "given",
    "layout": "qwen2.5-coder",
    "names": 0.25,
    "max_tokens": 100,
    "max_bytes": 100,
    "max_repository_bytes": 100,
}
DECIDE_NOTHING = {"max_repository_bytes"}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_changes_the_fingerprints_from_the_stage_on(name: str) -> None:
    one, other = recipe(**SECTION), recipe(**SECTION | {name: FIELDS[name]})
    assets = [*NAMES, "corpus_report"]
    changed = [
        asset for asset in assets if fingerprint(one, asset, "0") != fingerprint(other, asset, "0")
    ]
    assert changed == ([] if name in DECIDE_NOTHING else assets[1:])
    assert {*FIELDS} == {*type(one.repositories or one).model_fields}


def test_without_the_section_there_is_no_such_asset() -> None:
    made = recipe(**SECTION)
    without = made.model_copy(update={"repositories": None})
    assert fingerprint(without, "raw_shards", "0") == fingerprint(made, "raw_shards", "0")
    plain, with_it = (corpus_of(each, Path()) for each in (without, made))
    assert plain.names == ("raw_shards", "fim_shards", "token_arrays")
    assert with_it.names == tuple(NAMES)


def test_other_parts_of_the_recipe_that_decide_its_bytes() -> None:
    made = recipe(**SECTION)
    parts: list[tuple[dict[str, Any], bool]] = [
        ({"seed": 1}, True),
        ({"fim": {"file_separator_token": "<sep>"}}, True),
        ({"fim": {"syntax_max_bytes": 1 << 12}}, True),
        ({"fim": {"fim_rate": 0.25}}, False),
        ({"tokens": {"dtype": "uint16"}}, False),
    ]
    for part, changes in parts:
        fields = made.model_dump(exclude_defaults=True) | part
        other = Recipe.model_validate(fields)
        same = fingerprint(made, "repository_shards", "0") == fingerprint(
            other, "repository_shards", "0"
        )
        assert same is not changes, part


def test_the_table_of_languages_decides_the_bytes_of_paths_as_comments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A path is written as a comment of its file's language, by Linguist's names."""
    layouts = ("deepseek-coder", "starcoder2")

    def fingerprints() -> list[str]:
        made = [recipe(layout=layout, order="path") for layout in layouts]
        return [fingerprint(one, "repository_shards", "0") for one in made]

    before = fingerprints()
    monkeypatch.setattr("fim_assets.languages.names.names_identity", lambda: {"table": "other"})
    assert [a != b for a, b in zip(before, fingerprints(), strict=True)] == [True, False]
