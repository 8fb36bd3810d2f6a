"""What is counted by language where a repository's files are in several."""

from pathlib import Path

from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus_report.write import write_report
from fim_assets_tests.corpora import open_corpus, run_all, write_shard
from fim_assets_tests.repository_shards.shards import file_of, recipe_of

MORE = "context: {tokens: 128, longer: pieces}\nfim: {fim_rate: 0.8}"


def test_tokens_are_those_of_each_files_language(tmp_path: Path) -> None:
    files = [
        file_of(f"{number}.x", f"x = {number}\n" * 60, f"r{number % 2}", language)
        for number, language in enumerate(["Python", "TOML", None, "Python", "C", "TOML"] * 2)
    ]
    write_shard(tmp_path / "raw" / "a.jsonl.zst", files)
    corpus = open_corpus(tmp_path, recipe_of("{order: path, layout: qwen2.5-coder}", MORE))
    outcome = run_all(corpus)["a"]
    assert outcome.failure is None, outcome.details
    receipts = [read_receipt(corpus.files(name, "a")) for name in ("fim_shards", "token_arrays")]
    fim, tokens = (receipt.result for receipt in receipts if receipt is not None)
    by_language = {
        language: tokens.counts[f"tokens:{language}"] for language in ("", "Python", "TOML", "C")
    }
    # Files of equal texts: two of a language have twice as many as one, but for what is around.
    assert sum(by_language.values()) == tokens.tokens
    assert 1.8 < by_language["Python"] / by_language["C"] < 2.2
    assert 1.8 < by_language["TOML"] / by_language[""] < 2.2
    assert tokens.histograms["prefix_tokens"].count == fim.counts["psm"] + fim.counts["spm"] > 0
    summary = write_report(corpus, ["a"])
    assert summary.tokens_by_language == by_language
    assert summary.context
    assert sum(one.tokens for one in summary.context.values()) <= tokens.tokens


def test_a_field_that_no_file_has_is_a_warning(tmp_path: Path) -> None:
    write_shard(tmp_path / "raw" / "a.jsonl.zst", [file_of("a.py", "x = 1\n")])
    corpus = open_corpus(tmp_path, recipe_of("{order: path, name_field: metadata.nothing}"))
    assert run_all(corpus)["a"].failure is None
    [warning] = write_report(corpus, ["a"]).warnings
    assert "metadata.nothing" in warning
