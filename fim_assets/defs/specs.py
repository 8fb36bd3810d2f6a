"""What Dagster's UI shows of an asset before it is made: description, columns, recipe, source."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import getsourcefile
from typing import Any

import dagster as dg
import pyarrow as pa

from fim_assets.corpus.stage import About
from fim_assets.corpus_report.asset import ABOUT
from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.defs.automation import FOLLOW
from fim_assets.defs.corpus_definition import CorpusDefinition, Dep


def stage_specs(graph: CorpusDefinition) -> list[dg.AssetSpec]:
    """The definitions of the stages, each of which depends on the one before it."""
    specs: list[dg.AssetSpec] = []
    recipe, before = graph.corpus.recipe, graph.deps
    for stage in graph.corpus.stages:
        spec = _spec(graph, stage.name, stage.about, before, stage.schema_of(recipe))
        specs.append(spec.replace_attributes(tags=stage.tags(recipe)))
        before = [spec.key]
    return specs


def report_spec(graph: CorpusDefinition) -> dg.AssetSpec:
    """The definition of `corpus_report`, which depends on all partitions of the last stage."""
    last = graph.key(graph.corpus.names[-1])
    arrays = dg.AssetDep(last, partition_mapping=dg.AllPartitionMapping())
    return _spec(graph, CORPUS_REPORT, ABOUT, [arrays])


def _spec(
    graph: CorpusDefinition,
    asset: str,
    about: About,
    deps: Sequence[Dep],
    schema: pa.Schema | None = None,
) -> dg.AssetSpec:
    corpus = graph.corpus
    metadata: dict[str, Any] = {
        "dagster/uri": str(corpus.folder(asset)),
        "dagster/code_references": _code_references(about),
    }
    if schema is not None:
        metadata["dagster/column_schema"] = column_schema(schema, about.columns)
    if about.section is not None:
        section = corpus.recipe.model_dump(mode="json")[about.section]
        metadata["recipe"] = dg.MetadataValue.json({about.section: section})
    return dg.AssetSpec(
        graph.key(asset),
        deps=deps,
        description=about.description.strip(),
        group_name=graph.group,
        kinds=set(about.kinds),
        code_version=corpus.fingerprint(asset),
        automation_condition=FOLLOW,
        metadata=metadata,
    )


def column_schema(schema: pa.Schema, columns: Mapping[str, str]) -> dg.TableSchema:
    """The columns of an asset's parquet files: types as they are written, and what they mean."""
    fields = _fields(schema)
    return dg.TableSchema([dg.TableColumn(name, kind, columns[name]) for name, kind in fields])


def _fields(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Names and types; the fields of a list of structs follow it, with its name before theirs."""
    for column in schema:
        if not (pa.types.is_list(column.type) and pa.types.is_struct(column.type.value_type)):
            yield column.name, str(column.type)
            continue
        yield column.name, "list<struct>"
        for inner in column.type.value_type:
            yield f"{column.name}.{inner.name}", str(inner.type)


def _code_references(about: About) -> dg.CodeReferencesMetadataValue:
    """Where this machine has the source of what makes the asset, and of what checks it."""
    references = [
        dg.LocalFileCodeReference(
            file_path=path, line_number=work.__code__.co_firstlineno, label=work.__name__
        )
        for work in about.work
        if (path := getsourcefile(work))
    ]
    return dg.CodeReferencesMetadataValue(code_references=references)
