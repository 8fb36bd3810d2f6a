"""What Dagster's UI shows of an asset before it is made: description, columns, recipe, source."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import getsourcefile
from typing import Any

import dagster as dg
import pyarrow as pa

from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.stage import About
from fim_assets.corpus_report.asset import ABOUT
from fim_assets.corpus_report.summary import CORPUS_REPORT
from fim_assets.defs.automation import FOLLOW

GROUP = "fim_assets"
"""The group of a corpus without a prefix."""

Dep = str | Sequence[str] | dg.AssetKey | dg.AssetDep | dg.AssetSpec | dg.AssetsDefinition
"""An asset, by all that `deps` of an asset of Dagster's may hold."""


def stage_specs(
    corpus: Corpus,
    keys: Mapping[str, dg.AssetKey],
    group_name: str = GROUP,
    deps: Sequence[Dep] = (),
) -> list[dg.AssetSpec]:
    """The definitions of the stages, each of which depends on the one before it.

    The first one depends on `deps`.
    """
    specs: list[dg.AssetSpec] = []
    before = deps
    for stage in corpus.stages:
        key = keys[stage.name]
        schema = stage.schema_of(corpus.recipe)
        spec = _spec(stage.name, stage.about, schema, key, corpus, group_name)
        specs.append(spec.replace_attributes(deps=before, tags=stage.tags(corpus.recipe)))
        before = [key]
    return specs


def report_spec(corpus: Corpus, key: dg.AssetKey, group_name: str = GROUP) -> dg.AssetSpec:
    """The definition of `corpus_report`, without what it depends on."""
    return _spec(CORPUS_REPORT, ABOUT, None, key, corpus, group_name)


def _spec(
    asset: str,
    about: About,
    schema: pa.Schema | None,
    key: dg.AssetKey,
    corpus: Corpus,
    group_name: str,
) -> dg.AssetSpec:
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
        key,
        description=about.description.strip(),
        group_name=group_name,
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
