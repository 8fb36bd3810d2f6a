import json
import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from fim_assets.cli.doctor import machine, sample, storage
from fim_assets.cli.doctor.estimate import Estimate
from fim_assets.cli.doctor.examine import examine
from fim_assets.cli.doctor.findings import Finding, Report, render_estimate
from fim_assets.cli.doctor.inputs import separator_findings
from fim_assets.cli.doctor.machine import dagster_finding
from fim_assets.cli.main import main
from fim_assets.io.locations import parse_url
from fim_assets.raw_shards.rejections import EMPTY_TEXTS
from fim_assets.recipe import Recipe
from fim_assets.recipe.fim import Fim
from fim_assets.settings import Settings
from fim_assets.tokenizer.load import load_tokenizer
from fim_assets_tests.corpora import documents, open_corpus, run_all, write_shard
from fim_assets_tests.end_to_end.commands import free_port
from fim_assets_tests.s3_server import BUCKET, file_system, s3_server


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number in range(3):
        write_shard(tmp_path / "raw" / f"{number}.jsonl.zst", documents(40, str(number)))
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE", "FIM_WORKERS", "FIM_ENGINE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}")
    return tmp_path


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", *arguments])


def examined() -> Report:
    report = Report()
    for finding in examine(os.environ, report, lambda _: None):
        report.add(finding)
    return report


def found(report: Report, part: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.part == part]


def recipe(root: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "mine.yaml").write_text(text)
    monkeypatch.setenv("FIM_RECIPE", str(root / "mine.yaml"))


def test_where_all_is_in_order_a_run_can_start_and_nothing_is_left(root: Path) -> None:
    before = files(root)
    done = run()
    assert done.exit_code == 0, done.output
    assert files(root) == before
    marks = [line.split()[1] for line in done.stdout.splitlines() if line.startswith(("✓", "!"))]
    assert set(marks) == {"ok"}
    assert "Estimate, from 120 documents of 3 shards" in done.stdout
    assert done.stdout.splitlines()[-1] == "A run can start."
    assert done.stderr == ""
    assert all(outcome.failure is None for outcome in run_all(open_corpus(root)).values())
    as_json = json.loads(run("--json").stdout)
    assert as_json["can_start"] is True
    assert as_json["estimate"]["documents"] == 120
    made = [f["text"] for f in as_json["findings"] if f["part"] == "made"]
    assert made == ["3 of 3 partitions complete"]


def test_a_wrong_text_field_is_named_with_the_fields_that_hold_text(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": n, "blob": {"content": row["text"]}} for n, row in enumerate(documents(30))]
    for number in range(3):
        write_shard(root / "raw" / f"{number}.jsonl.zst", rows)
    done = run()
    assert done.exit_code == 1
    assert "30 of 30 lines rejected (no_text 30), raw.max_rejected_share is" in done.stdout
    assert "and so" not in done.stdout
    assert "others like it in 2 more shards looked at" in done.stdout
    assert "write what `fields` says below" in done.stdout
    assert "raw: {text_field: blob.content}" in done.stdout
    recipe(root, "raw: {text_field: blob.content}", monkeypatch)
    assert examined().can_start


def test_fields_to_keep_are_refused_for_lines_as_a_run_refuses_them(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(root, "raw: {keep_fields: [id]}", monkeypatch)
    report = examined()
    assert not report.can_start
    assert {finding.advice for finding in found(report, "sample")} == {"leave it out of the recipe"}


def test_an_unknown_corpus_gets_the_lines_of_recipe_that_it_needs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told, written, and in order: the way that somebody takes who knows nothing of the data."""
    for path in (root / "raw").iterdir():
        path.unlink()
    for number, ending in enumerate(("bz2", "xz")):
        rows = [
            {"blob_id": f"{number}-{n}", "lang": row["metadata"]["language"], "code": row["text"]}
            for n, row in enumerate(documents(60))
        ]
        write_shard(root / "train" / "en" / f"{number}.jsonl.{ending}", rows)
    [shards] = found(examined(), "shards")
    assert (shards.mark, "1 file *.jsonl.bz2 in train/" in shards.text) == ("mend", True)
    documents_to_write = shards.advice[shards.advice.index("raw:") :]
    recipe(root, documents_to_write, monkeypatch)
    findings = json.loads(run("--json").stdout)["findings"]
    [fields] = [finding for finding in findings if finding["part"] == "fields"]
    assert fields["mark"] == "look"
    raw = {"text_field": "code", "id_field": "blob_id", "language_field": "lang"}
    assert fields["recipe"] == {"raw": yaml.safe_load(documents_to_write)["raw"] | raw}
    recipe(root, yaml.safe_dump(fields["recipe"]), monkeypatch)
    report = examined()
    [fits] = found(report, "fields")
    assert (fits.mark, report.can_start) == ("ok", True)
    assert report.estimate is not None
    assert report.estimate.documents == 120
    [listed] = found(report, "shards")
    assert "1 .jsonl.bz2, 1 .jsonl.xz" in listed.text


def test_what_is_no_shard_of_json_lines_is_told(root: Path) -> None:
    garbage = b"".join(sha256(b"%d" % n).digest() for n in range(100))
    for name in ("0.jsonl", "1.jsonl.zst"):
        (root / "raw" / f"garbage-{name}").write_bytes(garbage)
    told = [finding for finding in found(examined(), "sample") if finding.mark == "mend"]
    assert sorted(finding.text.partition(": ")[0] for finding in told) == [
        f"{root}/raw/garbage-0.jsonl",
        f"{root}/raw/garbage-1.jsonl.zst",
    ]
    for finding in told:
        assert finding.advice.startswith("fetch it again, or leave it out of raw.documents")


@pytest.mark.parametrize(
    ("seen", "of", "rough"), [(99, 100, True), (99, 99, False), (100, 101, False)]
)
def test_an_estimate_from_few_documents_is_rough(seen: int, of: int, rough: bool) -> None:
    few = Estimate(of, 1, 1, {}, 1, 1.0, 1, 1.0, 1.0, seen, 1, 1)
    title = str(render_estimate(few).title)
    assert title.startswith("Rough estimate, from " if rough else "Estimate, from ")


def test_shards_of_0_bytes_and_what_lies_in_place_of_one_are_told(root: Path) -> None:
    for name in ("a.jsonl.zst", "b.json.gz", "c.jsonl"):
        (root / "raw" / name).touch()
    (root / "raw" / "d.jsonl.gz").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (root / "raw" / "e.json").write_text(json.dumps(documents(5), indent=1))
    report = examined()
    _, refused, empty = found(report, "shards")
    assert (refused.mark, empty.mark) == ("mend", "look")
    assert "a.jsonl.zst, " in refused.text
    assert "b.json.gz: 0 bytes" in refused.text
    assert "c.jsonl: 0 bytes" in empty.text
    assert "empty partitions: c" in empty.text
    pointer, array = [f for f in found(report, "sample") if f.mark == "mend"]
    assert "a Git LFS pointer" in pointer.text
    assert "git lfs pull" in pointer.advice
    assert "e.json" in array.text
    assert "jq -c" in array.advice


def test_an_empty_member_of_a_group_makes_no_empty_partition(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "raw" / "a.jsonl").touch()
    listed = ["manifest", "--group", "1GB", "raw/*", "-o", f"{root}/groups.tsv"]
    assert CliRunner().invoke(main, listed).exit_code == 0
    recipe(root, "raw: {documents: [groups.tsv]}", monkeypatch)
    report = examined()
    _, empty = found(report, "shards")
    assert (empty.mark, report.can_start) == ("look", True)
    assert "a.jsonl: 0 bytes" in empty.text
    assert "empty partition" not in empty.text
    (root / "raw" / "b.jsonl").touch()
    (root / "groups.tsv").unlink()
    listed[3] = "raw/*.jsonl"
    assert CliRunner().invoke(main, listed).exit_code == 0
    _, empty = found(examined(), "shards")
    assert "a.jsonl, " in empty.text
    assert "empty partitions: a.group" in empty.text


def test_empty_texts_are_answered_with_their_share(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(root / "raw" / "1.jsonl.zst", [*[{"text": ""}] * 5, *documents(95)])
    [sample] = [f for f in found(examined(), "sample") if f.mark == "mend"]
    assert sample.advice == EMPTY_TEXTS
    recipe(root, "raw: {max_empty_share: 0.05}", monkeypatch)
    assert examined().can_start
    recipe(root, "raw: {max_empty_share: 0.04}", monkeypatch)
    [sample] = [f for f in found(examined(), "sample") if f.mark == "mend"]
    assert "raw.max_empty_share is 0.04" in sample.text


def test_rejected_lines_are_judged_by_the_share_that_the_recipe_allows(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = [b"not json", b"", {"text": ""}, {"content": "one that is not like the others"}]
    write_shard(root / "raw" / "1.jsonl.zst", [*bad, *documents(198)])
    report = examined()
    assert not report.can_start
    [sample] = [f for f in found(report, "sample") if f.mark == "mend"]
    assert "3 of 201 lines rejected (" in sample.text
    assert sample.advice == "mend the shard, or raise raw.max_rejected_share"
    recipe(root, "raw: {max_rejected_share: 0.015}", monkeypatch)
    report = examined()
    assert report.can_start
    assert "3 lines rejected" in found(report, "sample")[0].text


@pytest.mark.parametrize("fim", ["{}", "{max_middle: {tokens: 9}}"])
def test_an_eos_that_the_tokenizer_has_not_is_told_and_the_rest_looked_at(
    fim: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(root, f"fim: {fim}\ntokens: {{tokenizer: {{eos_token_id: 5}}}}", monkeypatch)
    report = examined()
    [tokenizer] = found(report, "tokenizer")
    assert tokenizer.mark == "mend"
    assert "tokens.tokenizer.eos_token_id = 5: no added token" in tokenizer.text
    assert found(report, "sample")[0].text.startswith("120 documents of 3 shards")
    assert report.estimate is None
    assert report.verdict == "No run can start: 1 to mend."


def test_what_another_recipe_made_or_is_damaged_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all(open_corpus(root))
    (root / "token_arrays" / "1-00000.npy").write_bytes(b"")
    [damaged] = found(examined(), "made")
    complete, _, of_assets = damaged.text.partition("; ")
    assert complete == "2 of 3 partitions complete"
    assert of_assets.startswith("1 of token_arrays: not what their receipts say")
    recipe(root, "seed: 7", monkeypatch)
    report = examined()
    [other] = found(report, "made")
    complete, _, of_assets = other.text.partition("; ")
    assert complete == "0 of 3 partitions complete"
    assert of_assets.startswith("3 of fim_shards, 3 of token_arrays: made by another recipe")
    assert other.advice.startswith("set FIM_RECIPE to the recipe that made them")
    assert (other.mark, report.can_start) == ("look", True)
    assert found(report, "recipe")[0].text.endswith("differs in seed 7")
    recipe(root, "fim: {split: {syntax: 0.9, uniform: 0.1}}", monkeypatch)
    told = found(examined(), "recipe")[0].text
    assert told.endswith('differs in fim.split {"uniform":0.1,"syntax":0.9}')


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("raw: {documents: ['nowhere/*.jsonl']}", "no shard found: nowhere/*.jsonl below "),
        ("raw: {documents: ['mine.yaml']}", "matches what is no shard by its name"),
        ("raw: {documents: ['none.tsv']}", "none.tsv: no such manifest"),
    ],
)
def test_shards_that_are_not_there_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, text: str, shown: str
) -> None:
    recipe(root, text, monkeypatch)
    report = examined()
    [shards] = found(report, "shards")
    assert (shards.mark, report.can_start) == ("mend", False)
    assert shown in shards.text


def test_a_glob_that_matches_nothing_and_a_manifests_rows_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = CliRunner().invoke(
        main, ["manifest", "raw/[01].*", "-o", f"{root}/some.tsv"], catch_exceptions=False
    )
    assert listed.exit_code == 0, listed.output
    recipe(root, "raw: {documents: [some.tsv, 'raw/*.jsonl.zst', 'old/*.jsonl']}", monkeypatch)
    report = examined()
    warning, shards = found(report, "shards")
    assert (warning.mark, report.can_start) == ("look", True)
    assert "old/*.jsonl matches nothing" in warning.text
    assert shards.text.startswith("3, ")
    assert f"2 pinned by {root}/some.tsv" in shards.text
    (root / "raw" / "0.jsonl.zst").unlink()
    recipe(root, "raw: {documents: [some.tsv]}", monkeypatch)
    report = examined()
    assert "is gone; " in found(report, "sample")[0].text
    assert not report.can_start


def test_a_data_root_that_cannot_be_written_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "file").write_bytes(b"")
    monkeypatch.setenv("FIM_INPUT_ROOT", str(root))
    monkeypatch.setenv("FIM_DATA_ROOT", str(root / "file" / "below"))
    [storage] = found(examined(), "storage")
    assert storage.mark == "mend"
    assert storage.text == f"{root}/file/below: cannot be written: Not a directory"
    assert storage.advice == "set FIM_DATA_ROOT to where you may write, or make this writable"
    monkeypatch.setenv("FIM_DATA_ROOT", str(root / "not" / "yet"))
    assert found(examined(), "storage")[0].mark == "ok"
    assert not (root / "not").exists()


def test_a_disk_without_room_is_told(tmp_path: Path) -> None:
    free = storage._space(tmp_path, 1, "", "")
    assert free.mark == "ok"
    full = storage._space(tmp_path, 1 << 60, "", "make room")
    assert (full.mark, full.advice) == ("mend", "make room")


@pytest.mark.parametrize(
    ("home", "mark", "shown"),
    [
        (None, "look", "no DAGSTER_HOME"),
        ("relative", "mend", "is no absolute path"),
        ("/nowhere/at/all", "mend", "is no folder"),
        ("plain", "look", "no dagster.yaml"),
        ("postgres", "ok", "dagster.yaml with storage in postgres"),
        ("broken", "mend", "dagster.yaml: "),
    ],
)
def test_dagsters_home_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, mark: str, shown: str
) -> None:
    contents = {"plain": None, "postgres": "storage: {postgres: {}}", "broken": "a: [b"}
    for name, content in contents.items():
        (tmp_path / name).mkdir()
        if content is not None:
            (tmp_path / name / "dagster.yaml").write_text(content)
    monkeypatch.chdir(tmp_path)
    value = {} if home is None else {"DAGSTER_HOME": home}
    if home in contents:
        value = {"DAGSTER_HOME": str(tmp_path / home)}
    finding = dagster_finding(value)
    assert finding.mark == mark
    assert shown in finding.text
    (tmp_path / ".env").write_text(f"DAGSTER_HOME='{tmp_path / 'postgres'}'")
    finding = dagster_finding(value)
    assert finding.text.endswith("dagster.yaml with storage in postgres"), "as `.env` says"


def test_a_home_that_dagster_could_not_write_without_its_own_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    finding = dagster_finding({})
    assert (finding.mark, str(tmp_path / "file") in finding.text) == ("mend", True)
    assert "DAGSTER_HOME=" in finding.advice


@pytest.mark.usefixtures("root")
def test_more_workers_than_memory_or_cores_hold_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._memory() > 0
    monkeypatch.setattr(machine, "_memory", lambda: 4 * machine.WORKER_BYTES)
    monkeypatch.setattr(machine, "usable_cores", lambda: 3)
    for number, mark, advice in (
        ("3", "ok", ""),
        ("4", "look", "FIM_WORKERS=3"),
        ("5", "look", "FIM_WORKERS=3, or a machine with more memory"),
    ):
        monkeypatch.setenv("FIM_WORKERS", number)
        finding = machine.worker_finding(Settings.from_environment())
        assert (finding.mark, finding.advice) == (mark, advice)


@pytest.mark.usefixtures("root")
def test_a_cluster_that_is_not_there_and_a_bad_setting_are_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIM_ENGINE", "ray")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    _, engine = machine.executor_finding(Settings.from_environment())
    assert (engine.mark, "no cluster at RAY_ADDRESS" in engine.text) == ("mend", True)
    monkeypatch.setenv("FIM_WORKERS", "many")
    done = run()
    assert done.exit_code == 1
    assert "✗ mend  settings   FIM_WORKERS=many: give a whole number" in done.stdout


def test_syntax_without_languages_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe(root, "{raw: {language_field: l, path_field: p}, fim: {split: syntax}}", monkeypatch)
    _, fallback = found(examined(), "sample")
    assert fallback.mark == "look"
    assert "cut by the fallback" in fallback.text


def test_the_fallbacks_share_is_of_all_cuts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 of Python and 60 of a language without a grammar, all cut: 75.0 % by the fallback."""
    for path in (root / "raw").iterdir():
        path.unlink()
    rows = [
        {"id": str(n), "text": f"def f():\n    return {n}\n", "metadata": {"language": language}}
        for n, language in enumerate(["Python", *["Lua"] * 3] * 20)
    ]
    write_shard(root / "raw" / "a.jsonl", rows)
    recipe(root, "fim: {split: syntax, fim_rate: 1}", monkeypatch)
    sample = found(examined(), "sample")[0]
    assert "75.0% of the cuts are by the fallback (no_grammar 100%)" in sample.text
    [shards] = found(examined(), "shards")
    assert shards.text.endswith("(1 .jsonl), a"), "one shard is named once"


def test_a_sample_of_fewer_shards_says_that_time_was_over(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "SECONDS", 0.001)
    report = examined()
    assert "40 documents of 1 shard " in found(report, "sample")[0].text
    assert "2 more shards not begun" in found(report, "sample")[0].text
    assert root.is_dir()


def test_lines_of_a_part_of_a_shard_are_no_whole_shard(root: Path) -> None:
    """And what is rejected of them contradicts nothing that came through."""
    rows = [{"id": str(n), "text": f"{n} = 1\n" * 2000} for n in range(2000)]
    rows[::5] = [{"text": ""}] * 400
    write_shard(root / "raw" / "0.jsonl", rows)
    (root / "raw" / "0.jsonl.zst").unlink()
    refused, came_through = found(examined(), "sample")
    assert " sampled lines rejected (empty " in refused.text
    assert "came through all stages and checks without these lines; " in came_through.text
    assert " lines rejected in all; " in came_through.text
    piped = next(line for line in run().stdout.splitlines() if line.startswith("✓ ok    fields"))
    assert " lines: text: string, " in piped
    assert "; id: string, " in piped
    assert "↵" not in piped


def test_a_language_that_no_document_has_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe(root, "fim: {fim_rate: {default: 0.5, python: 0, Ada: 1}}", monkeypatch)
    report = examined()
    _, ada, python = found(report, "sample")
    assert (ada.mark, python.mark, report.can_start) == ("look", "look", True)
    assert "the language Ada, which no document names; they name Python, C" in ada.text
    assert python.text.endswith("close: Python")
    recipe(root, "raw: {id_field: key}", monkeypatch)
    _, field = found(examined(), "sample")
    assert (field.mark, "raw.id_field is key, which no document has" in field.text) == (
        "look",
        True,
    )


def test_a_separator_that_is_no_token_is_told() -> None:
    """That of the default recipe is none of dolma2's, and no reason to look."""
    tokenizer = load_tokenizer(Recipe())
    for separator, mark, ids in (("<|file_sep|>", "ok", 6), ("<|fim_sufix|>", "look", 9)):
        [told] = separator_findings(Recipe(fim=Fim(file_separator_token=separator)), tokenizer)
        assert told.mark == mark
        assert f"is {separator}, no token of the tokenizer" in told.text
        assert told.text.endswith(f"as text of {ids} ids")
    assert told.advice.startswith("close among its tokens: <|fim_suffix|>")
    for token_or_none in (None, "<|endofprompt|>"):
        silent = Recipe(fim=Fim(file_separator_token=token_or_none))
        assert list(separator_findings(silent, load_tokenizer(silent))) == []


def test_hostile_names_act_on_no_terminal(root: Path) -> None:
    rows = documents(30)
    for row in rows:
        row["metadata"]["language"] = "\x1b[31mred\u202e\n"
    for number in range(3):
        write_shard(root / "raw" / f"{number}.jsonl.zst", rows)
    done = run()
    assert "languages ␛[31mred‹U+202E›↵ 100%" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.fixture
def bucket(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with s3_server(root / "log", refused=23) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        file_system().put(str(root / "raw"), f"{BUCKET}/raw", recursive=True)
        monkeypatch.setenv("FIM_INPUT_ROOT", f"s3://{BUCKET}")
        monkeypatch.setenv("FIM_DATA_ROOT", f"s3://{BUCKET}/out")
        yield root


def test_object_storage_is_read_written_and_left_as_it_was(
    bucket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_system().find(BUCKET)
    report = examined()
    assert report.can_start, report.findings
    assert report.estimate is not None
    assert report.estimate.documents == 120
    written, scratch = found(report, "storage")
    assert written.text == f"s3://{BUCKET}/out: written, read and deleted"
    assert "needed for temporary files" in scratch.text
    assert file_system().find(BUCKET) == before
    file_system().pipe_file(f"{BUCKET}/raw/empty.jsonl.gz", b"")
    assert [(f.mark, "empty.jsonl.gz: 0 bytes" in f.text) for f in found(examined(), "shards")] == [
        ("ok", False),
        ("mend", True),
    ]
    monkeypatch.setenv("FIM_DATA_ROOT", "s3://no-such-bucket/out")
    refused = found(examined(), "storage")
    assert [finding.mark for finding in refused] == ["mend"]
    assert str(parse_url("s3://no-such-bucket/out")) in refused[0].text
    assert bucket.is_dir()
