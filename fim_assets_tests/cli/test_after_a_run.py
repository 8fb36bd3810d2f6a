import re
from pathlib import Path

import pytest
import zstandard

from fim_assets.cli.after_a_run import _cells
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus_report.summary import CorpusTotals
from fim_assets.corpus_report.write import write_report
from fim_assets.token_arrays.reader import TokenArray
from fim_assets.wording import short_number
from fim_assets_tests.cli.running import ROWS, run
from fim_assets_tests.corpora import json_lines, open_corpus, run_all, write_shard
from fim_assets_tests.tokenizer.small_tokenizers import CODE, byte_level_bpe, save


def test_restore_to_standard_output(fim_shard: tuple[str, str]) -> None:
    done = run("restore", *fim_shard)
    assert done.exit_code == 0
    assert done.stdout_bytes == json_lines(ROWS[2:])
    documents_and_files = done.stderr.removesuffix(" rearranged files put back\n")
    assert documents_and_files.startswith("61 documents, ")
    assert 20 < int(documents_and_files.removeprefix("61 documents, ")) < 70


def test_restore_to_a_file_that_is_new(root: Path, fim_shard: tuple[str, str]) -> None:
    output = root / "back.jsonl.zst"
    done = run("restore", *fim_shard, "--output", str(output))
    assert (done.exit_code, done.stdout) == (0, "")
    data = output.read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(data) == json_lines(ROWS[2:])
    again = run("restore", *fim_shard, "--output", str(output))
    assert again.exit_code == 1
    assert "back.jsonl.zst is there already" in again.stderr
    assert output.read_bytes() == data


def test_restore_names_what_is_wrong(root: Path, fim_shard: tuple[str, str]) -> None:
    shard, _ = fim_shard
    done = run("restore", shard, str(root / "nowhere.parquet"))
    assert done.exit_code == 1
    assert "nowhere.parquet: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_summarys_shares_are_of_all_files_long_enough_to_cut() -> None:
    """One in PSM and one in SPM order, one not drawn, and five of documents that are gated."""
    none = dict.fromkeys(CorpusTotals.model_fields, 0)
    totals = CorpusTotals(**none | {"psm": 1, "spm": 1, "not_selected": 1, "gate": 5})
    cells = _cells(totals, {"token_arrays": 0.0})
    assert (cells["rearranged"], cells["PSM share"]) == ("25.00%", "50.00%")


def test_the_summarys_numbers_are_those_of_the_receipts(root: Path) -> None:
    corpus = open_corpus(root)
    run_all(corpus)
    shown = [line.split() for line in run("summary").stdout.splitlines()]
    [total] = [cells for cells in shown if cells[:1] == ["total"]]
    assert total[:3] == ["total", "122", "2"], "61 documents and a line that is none, twice"
    receipts = [read_receipt(corpus.files("token_arrays", key)) for key in ("a", "c__d")]
    tokens = sum(receipt.result.tokens or 0 for receipt in receipts if receipt)
    seconds = sum(receipt.made.seconds for receipt in receipts if receipt)
    assert total[5:] == [f"{tokens:,}", *short_number(tokens / seconds).split()]


def test_the_summary_names_partitions_without_a_document(root: Path) -> None:
    (root / "raw" / "nothing.json").touch()
    run_all(open_corpus(root))
    lines = run("summary").stdout.splitlines()
    assert "empty       1 partition without a document: nothing" in lines


def test_the_summary_names_what_to_do_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    nothing = run("summary")
    assert nothing.exit_code == 1
    assert "0 of 2 partitions complete" in nothing.stdout
    materialize = "dagster asset materialize -m fim_assets.definitions --select"
    assert f"next     {materialize} '*' --partition-range a...c__d\n" in nothing.stdout
    assert not re.search("^(arrays|report) ", nothing.stdout, re.MULTILINE), "they are not there"
    run_all(open_corpus(root))
    done = run("summary").stdout
    assert "report   corpus_report/report.html  (not made yet" in done
    assert f"next     {materialize} corpus_report " in done
    assert re.search(r"^ +fim-assets preview a +before and after$", done, re.MULTILINE)
    assert re.search(r"^ +fim-assets show token_arrays/a-00000.npy +", done, re.MULTILINE)
    assert "make dev" not in done, "there is no Makefile here"
    assert "dagster dev -m fim_assets.definitions" in done
    write_report(open_corpus(root), ["a", "c__d"])
    assert "next     open the report in a browser\n" in run("summary").stdout


def test_the_summary_tells_the_right_recipe_before_the_command_that_replaces(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(open_corpus(root))
    (root / "other.yaml").write_text("seed: 7")
    monkeypatch.setenv("FIM_RECIPE", str(root / "other.yaml"))
    done = run("summary")
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("next "))
    assert lines[first].startswith("next     set FIM_RECIPE to the recipe that made them")
    [replacing] = [n for n, line in enumerate(lines) if "dagster asset materialize" in line]
    assert replacing > first
    assert lines[replacing].endswith("   replaces what another recipe made")


def test_the_summary_fits_the_terminal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_all(open_corpus(root))
    for width, columns in ((40, 3), (120, 7)):
        monkeypatch.setenv("COLUMNS", str(width))
        table = run("summary").stdout.partition("arrays ")[0].splitlines()
        assert max(map(len, table)) <= width
        [heading] = [line for line in table if "partition " in line]
        assert len(re.split(r"\s{2,}|(?<=[a-z]) (?=[dt])", heading.strip())) == columns
        assert not any("…" in line for line in table)


def test_verify_names_a_hostile_file_on_one_line(root: Path) -> None:
    run_all(open_corpus(root))
    (root / "token_arrays" / "evil\x1b[31m\u202e\nfault  other").write_bytes(b"")
    done = run("verify")
    assert done.exit_code == 1
    [fault] = [line for line in done.stdout.splitlines() if line.startswith("fault")]
    assert fault.endswith("evil␛[31m‹U+202E›↵fault  other: in no receipt")
    assert done.stdout.endswith(" kB: 1 fault\n")


@pytest.fixture
def array(root: Path) -> Path:
    assert run_all(open_corpus(root))["a"].failure is None
    return root / "token_arrays" / "a-00000.npy"


def test_show_decodes_a_document_of_an_array(array: Path) -> None:
    documents_of_it = TokenArray(array)
    number = next(n for n, document in enumerate(documents_of_it) if document.orders == ("psm",))
    document = documents_of_it[number]
    shown = run("show", str(array), "--document", str(number))
    assert shown.exit_code == 0
    lines = shown.stdout.splitlines()
    heading = f"document {number} · id {document.id} · line {document.line} of the raw shard · "
    assert lines[0].startswith(heading)
    controls = [line.strip() for line in lines if line.startswith("  <|")]
    assert controls == ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|endoftext|>"]
    assert "100258" not in shown.stdout
    with_ids = run("show", str(array), "--document", str(number), "--tokens").stdout
    assert "100258 <|fim_prefix|>" in with_ids
    number = next(n for n, document in enumerate(documents_of_it) if document.orders == ("none",))
    unchanged = run("show", str(array), "--document", str(number)).stdout.splitlines()
    assert unchanged[0].endswith(" · not rearranged")


def test_show_of_a_partition_is_of_its_first_array(root: Path, array: Path) -> None:
    assert run("show", "a").stdout == run("show", str(array)).stdout
    for nothing in ("b", "a-00001.npy", "c/d"):
        refused = run("show", nothing)
        assert refused.exit_code == 1
        assert f"{nothing}: no such file" in refused.stderr
    assert "no partition with token_arrays; keys: a, c__d" in run("show", "b").stderr
    write_shard(root / "raw" / "none.jsonl", [])
    run_all(open_corpus(root))
    assert "none: holds no document, and so no array" in run("show", "none").stderr


def test_show_of_a_folder_names_an_array_in_it(array: Path) -> None:
    refused = run("show", str(array.parent))
    assert refused.exit_code == 1
    assert f"a folder; name one array in it, such as {array}" in refused.stderr
    assert "it holds none" in run("show", str(array.parents[1])).stderr


def test_show_names_a_document_that_is_not_there(array: Path) -> None:
    refused = run("show", str(array), "--document", "62")
    assert refused.exit_code == 1
    assert "no document 62; it holds 61, counted from 0" in refused.stderr


def test_show_refuses_the_ids_of_another_tokenizer(
    array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = save(tmp_path / "bpe", byte_level_bpe(CODE))
    other = tmp_path / "other.yaml"
    named = f"{{name_or_path: {tmp_path / 'bpe'}, eos_token_id: {ids['<eos>']}}}"
    other.write_text(f"tokens: {{tokenizer: {named}}}\n")
    monkeypatch.setenv("FIM_RECIPE", str(other))
    refused = run("show", str(array))
    assert refused.exit_code == 1
    assert "made with another tokenizer (content hash " in refused.stderr
