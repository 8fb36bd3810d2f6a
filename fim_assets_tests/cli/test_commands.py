import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from fim_assets.cli.commands import _cells, main
from fim_assets.corpus.corpus import list_shards
from fim_assets.corpus.receipts import read_receipt
from fim_assets.corpus.staging import Staging
from fim_assets.corpus_report.summary import CorpusTotals
from fim_assets.corpus_report.write import write_report
from fim_assets.fim_shards.transform import transform_shard
from fim_assets.settings import Settings
from fim_assets.token_arrays.reader import TokenArray
from fim_assets_tests.corpora import documents, json_lines, open_corpus, run_all, write_shard
from fim_assets_tests.tokenizer.small_tokenizers import CODE, byte_level_bpe, save

PROGRAM = [sys.executable, "-c", "from fim_assets.cli.commands import main; main()"]
ROWS = [b"", b"not json", {"text": "ab"}, *documents(60)]
MORE_THAN_A_PIPE_HOLDS = [*ROWS, {"id": "long", "text": "0123456789" * 100_000}]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.jsonl.zst", "c/d.json.gz"):
        write_shard(tmp_path / "raw" / name, ROWS)
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE", "FIM_WORKERS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    return tmp_path


def make_fim_shard(root: Path, key: str) -> tuple[str, str]:
    """A FIM shard and its parquet."""
    corpus = open_corpus(root)
    shard = list_shards(corpus, root)[key].fetch(root)
    place = corpus.files("fim_shards", key)
    with Staging(place) as staging:
        transform_shard(shard, corpus.recipe.partition_seed(key), corpus.recipe, staging)
        staging.publish()
    return str(place.file(".jsonl.zst")), str(place.file(".parquet"))


@pytest.fixture
def fim_shard(root: Path) -> tuple[str, str]:
    return make_fim_shard(root, "a")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_preview_by_key_and_by_path(root: Path) -> None:
    by_key = run("preview", "c__d")
    assert by_key.exit_code == 0
    assert by_key.stdout.startswith("c__d · partition seed ")
    assert "the first document with a rearranged file" in by_key.stdout
    assert by_key.stdout.splitlines()[-1].strip() == "100257 <|endoftext|>"
    assert run("preview", str(root / "raw" / "c" / "d.json.gz")).stdout == by_key.stdout
    other_seed = run("preview", "a", "--no-tokens").stdout
    assert other_seed.splitlines()[0] != by_key.stdout.splitlines()[0]
    assert "100257" not in other_seed


def test_preview_of_one_document(root: Path) -> None:
    by_line = run("preview", "a", "--line", "10")
    assert by_line.stdout.splitlines()[1] == "line 10 · id 6 · Python"
    assert run("preview", "a", "--id", "6").stdout == by_line.stdout
    assert (root / "raw").parent == root
    assert [path.name for path in root.iterdir()] == ["raw"]


def test_long_ids_are_whole_where_no_terminal_shows_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identifier = "/".join(["some/folder"] * 100)
    rows = [{"id": identifier, "text": "a text that is long enough\n" * 4}]
    write_shard(root / "raw" / "long.jsonl", rows)
    run_all(open_corpus(root))
    for columns in ("40", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        for command in (
            ["preview", "long", "--line", "1"],
            ["show", f"{root}/token_arrays/long-00000.npy"],
        ):
            assert f" · id {identifier} · " in run(*command).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "--line", "1"], "line 1 is blank"),
        (["a", "--line", "2"], "line 2 is rejected as not_json"),
        (["a", "--line", "64"], "no line 64; the shard has 63 lines"),
        (["a", "--id", "y"], "no document has the id 'y'"),
        (["nowhere"], "nowhere: no partition key, and no path of a shard of the recipe; keys: a, "),
        (["fim_shards/a.jsonl.zst"], "no partition key, and no path of a shard"),
        (["a", "--line", "0"], "0 is not in the range"),
        (["a", "--line", "3", "--id", "6"], "give one of them"),
    ],
)
@pytest.mark.usefixtures("root")
def test_preview_refuses(arguments: list[str], message: str) -> None:
    done = run("preview", *arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("fim: {sentinels: codestral, psm_spm_split: 0, fim_rate: 1}", "[PREFIX]: not one id"),
        ("tokens: {tokenizer: {name_or_path: EMPTY}}", "holds none of a tokenizer's files"),
    ],
)
def test_preview_without_a_tokenizer(
    root: Path, monkeypatch: pytest.MonkeyPatch, recipe: str, message: str
) -> None:
    empty = root / "empty"
    empty.mkdir()
    path = root / "mine.yaml"
    path.write_text(recipe.replace("EMPTY", str(empty)))
    monkeypatch.setenv("FIM_RECIPE", str(path))
    done = run("preview", "a")
    assert done.exit_code == 0
    shown = " ".join(done.stdout.split())
    assert "original" in shown
    assert "no tokens: " in shown
    assert message in shown


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


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["restore", "preview"])
def test_nobody_reads_on(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: str, unbuffered: str
) -> None:
    """More than a pipe holds; the reader goes away after the first line."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    write_shard(root / "raw" / "long.jsonl", MORE_THAN_A_PIPE_HOLDS)
    arguments = make_fim_shard(root, "long") if command == "restore" else ("a", "--id", "6")
    program = [*PROGRAM, command]
    with subprocess.Popen(
        [*program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if command == "restore":
            assert process.stdout.readline() == b'{"text":"ab"}\n'
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() != 0


def test_the_summarys_shares_are_of_all_files_long_enough_to_cut() -> None:
    """One in PSM and one in SPM order, one not drawn, and five of documents that are gated."""
    none = dict.fromkeys(CorpusTotals.model_fields, 0)
    totals = CorpusTotals(**none | {"psm": 1, "spm": 1, "not_selected": 1, "gate": 5})
    assert _cells(totals, 0.0)[2:4] == ["25.00%", "50.00%"]


def test_help_explains_every_command_in_a_section() -> None:
    shown = run("--help").stdout
    listed = [line.split()[0] for line in shown.splitlines() if re.match(r"  [a-z]+  ", line)]
    assert sorted(listed) == sorted(main.commands)
    settings = {f"FIM_{field.name.upper()}" for field in fields(Settings)}
    assert settings == set(re.findall(r"^  (FIM_\w+)  ", shown, re.MULTILINE))
    for name in main.commands:
        assert "  Examples:\n    " in run(name, "--help").stdout


def test_a_user_error_is_one_message_and_debug_shows_the_traceback(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_RECIPE", str(root / "no\x1b[31m.yaml"))
    done = run("keys")
    assert done.exit_code == 1
    message = f"Error: recipe {root}/no␛[31m.yaml: no such file, and no built-in recipe has this"
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    shown = subprocess.run(
        [*PROGRAM, "--debug", "keys"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert shown.returncode == 1
    assert shown.stderr.startswith("Traceback")
    assert "fim_assets.recipe.errors.RecipeError: recipe " in shown.stderr


def test_a_wrong_use_has_status_2() -> None:
    for arguments in (["nonsense"], ["preview"], ["completion", "tcsh"]):
        done = run(*arguments)
        assert done.exit_code == 2
        assert "Usage: fim-assets" in done.stderr.replace("main", "fim-assets")


def test_a_fault_of_the_program_shows_where_it_is(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(f"of {root}\x1b[31m")

    monkeypatch.setattr("fim_assets.corpus.sources.find_shards", broken)
    done = run("keys")
    assert done.exit_code == 1
    assert done.stderr.startswith("Traceback")
    assert f"RuntimeError: of {root}␛[31m" in done.stderr
    assert "this is a fault of fim-assets, not of what it was given" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.usefixtures("root")
def test_an_interrupt_ends_quietly_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fim_assets.corpus.sources.find_shards", interrupted)
    done = run("keys")
    assert (done.exit_code, done.output) == (130, "")


def test_keys_are_of_no_outputs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fim_shard(root, "a")
    (root / "mine.yaml").write_text("raw: {documents: ['**/a.jsonl.zst']}")
    monkeypatch.setenv("FIM_RECIPE", str(root / "mine.yaml"))
    done = run("keys")
    assert done.exit_code == 1
    assert "a.jsonl.zst: raw.documents matches this output; narrow the glob" in done.stderr


def test_what_is_asked_most_loads_little() -> None:
    """Help, keys and completion answer before heavy libraries would be loaded."""
    code = (
        "import sys; from click.testing import CliRunner; from fim_assets.cli.commands import main;"
        "CliRunner().invoke(main, ['--help']); CliRunner().invoke(main, ['keys']);"
        "print(*{'altair', 'dagster', 'polars', 'pyarrow', 'rich', 'scipy', 'tokenizers'}"
        " & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_summarys_numbers_are_those_of_the_receipts(root: Path) -> None:
    corpus = open_corpus(root)
    run_all(corpus)
    shown = [line.split() for line in run("summary").stdout.splitlines()]
    [total] = [cells for cells in shown if cells[:1] == ["total"]]
    assert total[:3] == ["total", "122", "2"], "61 documents and a line that is none, twice"
    receipts = [read_receipt(corpus.files("token_arrays", key)) for key in ("a", "c__d")]
    tokens = sum(receipt.result.tokens or 0 for receipt in receipts if receipt)
    seconds = sum(receipt.made.seconds for receipt in receipts if receipt)
    assert total[5:] == [f"{tokens:,}", f"{tokens / seconds / 1e6:.1f}", "M"]


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


def test_every_command_can_be_told_which_corpus_of_the_data_root(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    prefixed = open_corpus(root, prefix=["low", "b"])
    run_all(prefixed)
    told = ("--key-prefix", "low/b")
    nothing = run("summary")
    assert nothing.exit_code == 1
    assert "fim-assets --key-prefix low/b summary   another corpus\n" in nothing.stdout
    done = run(*told, "summary")
    assert done.exit_code == 0
    assert "2 of 2 partitions complete" in done.stdout
    assert "report   low/b/corpus_report/report.html  (not made yet" in done.stdout
    assert """-f FILE.py --select 'key:"low/b/corpus_report"' """ in done.stdout
    assert "fim-assets --key-prefix low/b preview a " in done.stdout
    assert "fim-assets show low/b/token_arrays/a-00000.npy " in done.stdout
    assert "fim_assets.definitions" not in done.stdout
    assert run(*told, "show", "a").stdout == run("show", "low/b/token_arrays/a-00000.npy").stdout
    assert "keys: none" in run("show", "a").stderr
    made = [line for line in run(*told, "doctor").stdout.splitlines() if "made " in line]
    assert made[0].endswith("2 of 2 partitions complete")
    (root / "mine.yaml").write_text("raw: {documents: ['**/a.jsonl.zst']}")
    monkeypatch.setenv("FIM_RECIPE", str(root / "mine.yaml"))
    for command in (("keys",), ("preview", "a")):
        refused = run(*told, *command)
        assert "low/b/fim_shards/a.jsonl.zst: raw.documents matches this output" in refused.stderr


@pytest.mark.usefixtures("root")
def test_a_key_prefix_is_folders() -> None:
    for prefix in ("/", "/a", "a//b", "../a", "."):
        done = run("--key-prefix", prefix, "keys")
        assert done.exit_code == 2
        assert "give the parts of a key_prefix joined by /" in done.stderr


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
    assert done.stdout.endswith(" MB: 1 fault\n")


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
