"""A stage between `raw_shards` and `fim_shards` that nothing else knows, taken the whole way."""

from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import polars as pl
import pyarrow as pa
import pytest
from typing_extensions import override

from fim_assets.corpus.corpus import Corpus, list_shards
from fim_assets.corpus.partition_files import Outputs
from fim_assets.corpus.receipts import Receipt, read_receipt
from fim_assets.corpus.stage import (
    About,
    Check,
    CheckOutcome,
    Facts,
    Finished,
    Stage,
    Statistics,
    Totals,
    Work,
    fault,
    functions,
)
from fim_assets.corpus_report.gather import build_summary
from fim_assets.corpus_report.write import write_report
from fim_assets.defs.assets import build_assets
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.io.parquet import TableWriter
from fim_assets.io.shard_writer import ShardWriter
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.raw_shards.stage import ROW_COLUMNS
from fim_assets.recipe import Recipe
from fim_assets.run.verify import unlisted_files, verify_partitions
from fim_assets.settings import Settings
from fim_assets.stages import stages_of
from fim_assets_tests.corpora import documents, open_corpus, write_shard

SCHEMA = pa.schema([("line", pa.int64()), ("id", pa.string())])


def keep_odd(work: Work) -> Totals:
    """Write the first, third, fifth … document."""
    source, recipe, staging = work.source, work.recipe, work.staging
    seen = chars = 0
    with (
        ShardReader(source.paths, recipe.raw, parquet=source.parquet) as reader,
        ShardWriter(staging.create(".jsonl.zst")) as writer,
        TableWriter(staging.create(".parquet"), SCHEMA) as table,
    ):
        for block in reader:
            kept = [row for row in range(len(block.lines)) if (seen + row) % 2 == 0]
            seen += len(block.lines)
            writer.write(block.lines[row] for row in kept)
            table.write(
                {
                    "line": [block.numbers[row] for row in kept],
                    "id": [block.ids[row] for row in kept],
                }
            )
            chars += sum(len(block.texts[row]) for row in kept)
        read = reader.totals(chars)
    dropped = read.documents // 2
    counts = read.counts | {"dropped:even": dropped}
    fields = vars(read) | {"documents": read.documents - dropped, "counts": counts}
    return Totals(**fields)


def lines_are_odd(finished: Finished) -> CheckOutcome:
    """Whether every second document is there, and no other."""
    rows = pl.read_parquet(finished.files.file(".parquet"))
    with ShardReader(finished.source().paths, finished.recipe.raw) as reader:
        expected = [line for block in reader for line in block.numbers][::2]
    if rows["line"].to_list() != expected:
        return fault("lines_are_odd", "other documents are there")
    documents = finished.receipt.result.documents
    return CheckOutcome("lines_are_odd", True, "All are there.", {"documents": documents})


class EverySecond(Stage):
    """Drops every second document."""

    name = "every_second"
    version = 1
    shard = ".jsonl.zst"
    checks = (Check("lines_are_odd", "Every second document is there.", lines_are_odd),)
    about = About(
        "Every second document.", frozenset({"python"}), functions(keep_odd), SCHEMA, ROW_COLUMNS
    )

    @property
    @override
    def outputs(self) -> Outputs:
        return Outputs((".jsonl.zst", ".parquet"))

    @override
    def make(self, work: Work) -> Totals:
        return keep_odd(work)

    @override
    def statistics(self, parquet: Path) -> Statistics:
        return Statistics({"rows": pl.read_parquet(parquet).height})

    @override
    def facts(self, recipe: Recipe, receipt: Receipt) -> Facts:
        return Facts(numbers={"dropped_documents": receipt.result.counts["dropped:even"]})


EVERY_SECOND = EverySecond()
PLAIN = stages_of(Recipe())
RAW, *REST = PLAIN
WITH_ANOTHER: tuple[Stage, ...] = (RAW, EVERY_SECOND, *REST)
NAMES = ["raw_shards", "every_second", "fim_shards", "token_arrays"]
KEYS = ["x__0", "x__1"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("stage")
    for number in range(2):
        rows = [*documents(31, f"{number}-"), b"refused", *documents(10, f"{number}+")]
        write_shard(root / "raw" / "x" / f"{number}.jsonl.zst", rows)
    plain = open_corpus(root)
    return Corpus(plain.recipe, plain.tokenizer_hash, root, WITH_ANOTHER)


@pytest.fixture(scope="module")
def definition(corpus: Corpus) -> CorpusDefinition:
    root = Path(str(corpus.data_root))
    settings = Settings(root, root, "olmo_midtraining", workers=1)
    return CorpusDefinition(corpus, settings, list_shards(corpus, root))


Metadata = dict[str, Any]


def materialize(definition: CorpusDefinition) -> dict[tuple[str, str], Metadata]:
    """Metadata by asset and partition of a run over all partitions."""
    assets = build_assets(definition)
    with dg.DagsterInstance.ephemeral() as instance:
        tags = {
            "dagster/asset_partition_range_start": KEYS[0],
            "dagster/asset_partition_range_end": KEYS[1],
        }
        job = dg.Definitions(assets).resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(
            instance=instance,
            tags=tags,
            asset_selection=[dg.AssetKey(name) for name in NAMES],
        )
        assert result.success
        events = result.get_asset_materialization_events()
        corpus = definition.corpus
        checks = [c.name for stage in corpus.stages for c in stage.checks_of(corpus.recipe)]
        verdicts = [(e.check_name, e.passed) for e in result.get_asset_check_evaluations()]
        assert verdicts == [(name, True) for name in checks]
    made = [event.step_materialization_data.materialization for event in events]
    return {
        (one.asset_key.to_user_string(), one.partition): dict(one.metadata)
        for one in made
        if one.partition is not None
    }


@pytest.fixture(scope="module")
def made(definition: CorpusDefinition) -> dict[tuple[str, str], Metadata]:
    return materialize(definition)


def results(corpus: Corpus, key: str) -> dict[str, Any]:
    receipts = {name: read_receipt(corpus.files(name, key)) for name in NAMES}
    return {name: receipt.result for name, receipt in receipts.items() if receipt is not None}


@pytest.mark.parametrize("key", KEYS)
def test_later_stages_see_what_it_leaves(
    corpus: Corpus, made: dict[tuple[str, str], Metadata], key: str
) -> None:
    by_name = results(corpus, key)
    assert [by_name[name].documents for name in NAMES] == [41, 21, 21, 21]
    assert by_name["every_second"].counts["dropped:even"] == 20
    lines = [
        pl.read_parquet(corpus.files(name, key).file(".parquet"))["line"].unique().sort().to_list()
        for name in NAMES
    ]
    assert lines[1] == lines[2] == lines[3] == lines[0][::2]
    assert by_name["fim_shards"].input in by_name["every_second"].outputs
    assert made["every_second", key]["dropped_documents"].value == 20
    preview = made["fim_shards", key]["preview"].value
    assert isinstance(preview, str)
    assert preview


@pytest.mark.usefixtures("made")
def test_the_report_says_so(corpus: Corpus) -> None:
    summary = write_report(corpus, KEYS)
    assert summary.partitions.complete == 2
    assert summary.dropped == {"even": 40}
    folder = Path(str(corpus.folder("corpus_report")))
    for name in ("report.html", "README.md"):
        text = (folder / name).read_text()
        assert "every_second" in text
        assert "40" in text
    assert orjson.loads((folder / "summary.json").read_bytes())["dropped"] == {"even": 40}


@pytest.mark.usefixtures("made")
def test_it_is_verified_and_its_damage_found(corpus: Corpus, definition: CorpusDefinition) -> None:
    verdicts = list(verify_partitions(corpus, definition.shards, KEYS, 1))
    assert [verdict.faults for verdict in verdicts] == [[], []]
    assert [*verdicts[0].receipts] == NAMES
    assert list(unlisted_files(corpus, verdicts)) == []
    parquet = corpus.files("every_second", KEYS[0]).file(".parquet")
    content = parquet.read_bytes()
    parquet.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        [first, second] = verify_partitions(corpus, definition.shards, KEYS, 1)
        assert (len(first.faults), len(second.faults)) == (1, 0)
    finally:
        parquet.write_bytes(content)


@pytest.mark.usefixtures("made")
def test_what_is_complete_is_skipped_and_without_it_nothing_is(
    corpus: Corpus, definition: CorpusDefinition
) -> None:
    again = materialize(definition)
    assert all(metadata["skipped"].value for metadata in again.values())
    assert len(again) == 8
    plain = Corpus(corpus.recipe, corpus.tokenizer_hash, corpus.data_root, PLAIN)
    assert plain.fingerprint("raw_shards") == corpus.fingerprint("raw_shards")
    assert plain.fingerprint("fim_shards") != corpus.fingerprint("fim_shards")
    assert build_summary(plain, KEYS).partitions.complete == 0
