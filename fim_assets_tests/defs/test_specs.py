import inspect
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import read_receipt
from fim_assets.defs.corpus_definition import CorpusDefinition
from fim_assets.defs.specs import report_spec, stage_specs
from fim_assets.recipe import Recipe
from fim_assets.recipe.context import Context
from fim_assets.recipe.fim import Fim
from fim_assets.recipe.repositories import Repositories
from fim_assets.recipe.tokens import Tokens
from fim_assets.settings import Settings
from fim_assets.stages import ASSETS
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

ALL = (*ASSETS, "corpus_report")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """One finished partition."""
    root = tmp_path_factory.mktemp("about")
    write_shard(root / "raw" / "a.jsonl", [*documents(20), b"refused"])
    made = open_corpus(root)
    assert run_all(made)["a"].failure is None
    return made


def specified(asset: str, corpus: Corpus) -> dg.AssetSpec:
    graph = CorpusDefinition(corpus, Settings(corpus.data_root), {})
    specs = {spec.key: spec for spec in (*stage_specs(graph), report_spec(graph))}
    return specs[graph.key(asset)]


def names(schema: pa.Schema) -> Iterator[str]:
    for column in schema:
        yield column.name
        if pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type):
            yield from (f"{column.name}.{inner.name}" for inner in column.type.value_type)


@pytest.mark.parametrize("asset", ASSETS)
def test_each_column_of_the_files_is_described_with_its_type(asset: str, corpus: Corpus) -> None:
    written = pq.read_schema(corpus.files(asset, "a").file(".parquet"))
    schema = specified(asset, corpus).metadata["dagster/column_schema"]
    described = schema.columns
    assert [column.name for column in described] == list(names(written))
    types = {column.name: column.type for column in described}
    for column in written:
        if not pa.types.is_list(column.type):
            assert types[column.name] == str(column.type)
    for column in described:
        assert (column.description or "").endswith(".")


def test_columns_that_some_recipes_add_are_described_there(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl", documents(3))
    context, repositories = Context(tokens=64, longer="pieces"), Repositories(order="path")
    made = open_corpus(tmp_path, Recipe(context=context, repositories=repositories))
    assert run_all(made)["a"].failure is None
    for asset in made.names:
        written = pq.read_schema(made.files(asset, "a").file(".parquet"))
        schema = specified(asset, made).metadata["dagster/column_schema"]
        assert [column.name for column in schema.columns] == list(names(written))
        assert {column.name for column in schema.columns} == set(made.stage(asset).about.columns)


@pytest.mark.parametrize("asset", ASSETS)
def test_the_description_names_every_file_of_a_partition(asset: str, corpus: Corpus) -> None:
    receipt = read_receipt(corpus.files(asset, "a"))
    assert receipt is not None
    description = specified(asset, corpus).description or ""
    for output in receipt.result.outputs:
        ending = output.name.removeprefix("a").removeprefix("-00000")
        assert f"{ending}`" in description


@pytest.mark.parametrize("asset", ALL)
def test_source_is_named_by_the_line_that_defines_it(asset: str, corpus: Corpus) -> None:
    references = specified(asset, corpus).metadata["dagster/code_references"].code_references
    assert references
    for reference in references:
        assert isinstance(reference, dg.LocalFileCodeReference)
        assert reference.line_number is not None
        line = Path(reference.file_path).read_text("utf-8").splitlines()[reference.line_number - 1]
        assert line.startswith(f"def {reference.label}(")


def test_without_source_no_reference_leads_nowhere(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim_assets.defs.specs.getsourcefile", lambda _: None)
    references = specified("fim_shards", corpus).metadata["dagster/code_references"]
    assert references.code_references == []


@pytest.mark.parametrize("asset", ALL)
def test_an_asset_says_where_it_lies_and_by_which_law_it_is_made(
    asset: str, corpus: Corpus
) -> None:
    spec = specified(asset, corpus)
    assert spec.metadata["dagster/uri"] == str(corpus.folder(asset))
    assert spec.code_version == corpus.fingerprint(asset)
    assert 1 <= len(spec.kinds) <= 3, "Dagster takes three at most"
    assert spec.owners == []
    assert spec.description == inspect.cleandoc(spec.description or "")


def test_tags_tell_the_same_asset_of_two_recipes_apart(tmp_path: Path) -> None:
    fim = Fim.model_validate({"split": {"syntax": 0.9, "uniform": 0.1}, "spm_format": "v2"})
    other = open_corpus(tmp_path, Recipe(fim=fim, tokens=Tokens(layout="megatron")))
    tags = {asset: specified(asset, other).tags for asset in ALL}
    assert {"split": "syntax_uniform", "spm_format": "v2"}.items() <= tags["fim_shards"].items()
    assert {"layout": "megatron", "dtype": "uint32"}.items() <= tags["token_arrays"].items()
    (section,) = specified("fim_shards", other).metadata["recipe"].data.items()
    assert section == ("fim", other.recipe.model_dump(mode="json")["fim"])
