"""What doctor says of repositories: fields, families, languages, and shards that share them."""

from pathlib import Path
from typing import Any

import pytest

from fim_assets.cli.doctor.fields import Fields
from fim_assets.cli.doctor.findings import Finding
from fim_assets.cli.doctor.repositories import repository_findings
from fim_assets.cli.doctor.sample import Excerpt, SampledShard
from fim_assets.corpus.corpus import Corpus
from fim_assets.corpus.receipts import read_receipt
from fim_assets.recipe import Recipe
from fim_assets.run.partition import Outcome
from fim_assets_tests.corpora import corpus_of, open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.made import recipe, rows

FIELDS = Fields({"text": ["x"] * 4, "meta.repo": ["a"] * 4, "metadata.path": ["p"] * 4}, 4)
FAMILY = {"layout": "starcoder2", "order": "given", "name_field": "meta.repo"}


def found(made: Recipe, fields: Fields = FIELDS, *sampled: SampledShard) -> list[Finding]:
    return [*repository_findings(corpus_of(made, Path()), made, sampled, fields)]


def words(findings: list[Finding]) -> str:
    assert {finding.part for finding in findings} <= {"repositories"}
    return "\n".join(f"{one.mark}: {one.text}: {one.advice}" for one in findings)


def test_without_a_section_a_field_of_repositories_is_told_once() -> None:
    [finding] = found(Recipe())
    assert finding.mark == "ok"
    assert "meta.repo " in finding.text
    assert found(Recipe(), Fields({"text": ["x"]}, 1)) == []


def test_a_section_that_fits_says_nothing() -> None:
    assert found(recipe(layout="dolma", order="given", name_field="meta.repo")) == []
    starcoder = recipe(**FAMILY)
    fim = starcoder.fim.model_validate({"sentinels": "starcoder2"})
    assert found(starcoder.model_copy(update={"fim": fim})) == []


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"layout": "dolma", "order": "given"}, ["metadata.repo_name", "to meta.repo"]),
        (FAMILY, ["look", "fim_prefix_token", "file_separator_token", "sentinels to starcoder2"]),
        (FAMILY | {"layout": "deepseek-coder"}, ["fim_prefix_token", "sentinels to deepseek"]),
    ],
)
def test_what_does_not_fit_is_told(section: dict[str, Any], told: list[str]) -> None:
    findings = found(recipe(**section))
    assert len(findings) == 1
    assert findings[0].mark == "look"
    assert all(word in words(findings) for word in told)


def test_paths_are_missed_only_where_they_are_needed() -> None:
    without = Fields({"text": ["x"], "meta.repo": ["a"]}, 1)
    by_path = recipe(layout="dolma", order="path", name_field="meta.repo")
    [finding] = found(by_path, without)
    assert "raw.path_field is metadata.path" in finding.text
    assert found(recipe(layout="dolma", order="random", name_field="meta.repo"), without) == []


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Corpus, list[SampledShard]]:
    """Two shards that have the same three repositories; one has a file of no language."""
    root = tmp_path_factory.mktemp("sampled")
    for key in "ab":
        write_shard(root / "raw" / f"{key}.jsonl", rows())
    corpus = open_corpus(root, recipe(layout="dolma", order="dependencies"))
    run_all(corpus, ["raw_shards", "repository_shards"], [])
    shards = []
    for key in "ab":
        receipt = read_receipt(corpus.files("repository_shards", key))
        assert receipt is not None
        results = {"repository_shards": receipt.result}
        excerpt = Excerpt(root, 1, 1, complete=True)
        shards.append(SampledShard(key, 1.0, excerpt, Outcome(key), results, 0.0, 0))
    return corpus, shards


def test_repositories_in_several_shards_and_unread_languages(
    sampled: tuple[Corpus, list[SampledShard]],
) -> None:
    corpus, shards = sampled
    fields = Fields({"text": ["x"], "metadata.repo_name": ["r"], "metadata.path": ["p"]}, 1)
    unread, several = repository_findings(corpus, corpus.recipe, shards, fields)
    # `odd` names no language, and its path has an ending of none.
    assert (unread.mark, several.mark) == ("ok", "look")
    assert "2 of 28 files" in unread.text
    assert "3 of 3 repositories" in several.text
    assert "fim-assets regroup" in several.advice
    [alone] = repository_findings(corpus, corpus.recipe, shards[:1], fields)
    assert "1 of 14 files" in alone.text
