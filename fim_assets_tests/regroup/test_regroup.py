"""The command on real files: what shards hold, and that the lines alone decide their bytes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from fim_assets.corpus.manifest import read_manifest
from fim_assets.corpus.sources import find_shards
from fim_assets.io.hashing import record_file
from fim_assets.raw_shards.shard_reader import ShardReader
from fim_assets.recipe.raw import Raw
from fim_assets.regroup import read as read_module
from fim_assets.regroup import regroup as module
from fim_assets.regroup import runs
from fim_assets_tests.corpora import json_lines, write_shard
from fim_assets_tests.regroup.corpora import (
    document,
    files,
    name_of,
    refuse_others,
    regroup,
    regrouped,
    shard_lines,
    write_inputs,
)

SMALL = "--shard-size", "4kB"


def numbers(output: str) -> dict[str, list[int]]:
    """The numbers of each line that the command prints."""
    rows = (line.partition(" ") for line in output.splitlines())
    return {
        name: [int(n.replace(",", "")) for n in re.findall(r"\b\d[\d,]*\b", text)]
        for name, _, text in rows
    }


def test_every_line_is_in_one_shard_and_every_repository_in_one_piece(root: Path) -> None:
    lines = write_inputs(root)
    found = regrouped(root, *SMALL)
    shards = shard_lines(found)
    refuse_others(lines, shards)
    assert len(shards) > 5
    for shard in shards:
        assert sum(map(len, shard)) + len(shard) <= 4000 or len({*map(name_of, shard)} - {None}) < 3
    assert len({name_of(line) for line in lines} - {None}) == 23, "17 is the name of two"


def test_the_numbers_add_up(root: Path) -> None:
    lines = write_inputs(root)
    done = regroup("raw/**/*", "-o", "whole", *SMALL)
    told = numbers(done.stdout)
    blank = sum(not line.strip() for line in lines)
    unnamed = sum(name_of(line) is None for line in lines) - blank
    assert told["lines"] == [len(lines), 4, len(lines) - blank, blank]
    assert told["repositories"] == [23, len(lines) - blank - unnamed]
    assert told["others"] == [unnamed]
    assert told["rejected"] == [5 * 4]
    written = shard_lines(files(root / "whole"))
    assert told["shards"][0] == len(written)


def test_raw_shards_judges_every_line_as_before(root: Path) -> None:
    write_inputs(root)
    regrouped(root, *SMALL)

    def judged(folder: Path) -> tuple[int, dict[str, int]]:
        documents, reasons = 0, dict[str, int]()
        for shard in find_shards([f"{folder}/**/*.jsonl*", f"{folder}/**/*.gz"], root).values():
            with ShardReader(Path(str(shard)), Raw()) as reader:
                documents += sum(len(block.numbers) for block in reader)
                for reason, count in reader.rejections.reasons.items():
                    reasons[reason] = reasons.get(reason, 0) + count
        return documents, reasons

    assert judged(root / "whole") == judged(root / "raw")
    assert len(judged(root / "raw")[1]) == 5


def two_workers(patch: pytest.MonkeyPatch) -> None:
    a_task_for_each_input_and_shard(patch)
    patch.setenv("FIM_WORKERS", "2")


def tiny_runs_and_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_RUN_BYTES", 2_000)
    patch.setattr(module, "isqrt", lambda _: 1)
    patch.setattr(runs, "BLOCK_BYTES", 100)


def a_task_for_each_input_and_shard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_TASK_BYTES", 1)
    patch.setattr(module, "_MOST_TASKS", 1 << 40)


def a_task_for_all_shards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_MOST_WRITE_TASKS", 1)


def tasks_of_a_few_shards(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(module, "_MOST_WRITE_TASKS", 3)


WAYS = [
    two_workers,
    tiny_runs_and_blocks,
    a_task_for_each_input_and_shard,
    a_task_for_all_shards,
    tasks_of_a_few_shards,
]


@pytest.mark.parametrize("way", WAYS)
def test_how_it_is_done_decides_no_byte(
    root: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[pytest.MonkeyPatch], None]
) -> None:
    write_inputs(root)
    expected = regrouped(root, *SMALL)
    way(monkeypatch)
    again = regroup("raw/**/*", "-o", "again", *SMALL)
    assert again.exit_code == 0, again.output
    assert files(root / "again") == expected


def test_how_inputs_are_packed_and_divided_decides_no_shard_of_repositories(root: Path) -> None:
    """The hash of a name places it, and the numbers of inputs and lines only order."""
    rows = [document(number) for number in range(1, 200) if number % 7]
    for number in range(4):
        write_shard(root / "raw" / f"{number}.jsonl.bz2", rows[number * 50 : number * 50 + 50])
    divided = regrouped(root, *SMALL)
    write_shard(root / "one.jsonl", rows)
    assert regroup("one.jsonl", "-o", "one", *SMALL).exit_code == 0
    assert files(root / "one") == divided


def test_rows_are_the_lines_that_they_stand_for(root: Path) -> None:
    rows = [
        {"id": f"{n}", "text": f"é = {n}\n", "metadata": {"repo_name": f"r{n % 5}", "n": n}}
        for n in range(50)
    ]
    rows[8]["text"] = ""
    write_shard(root / "rows" / "a.parquet", rows)
    write_shard(root / "lines" / "a.jsonl", rows)
    made = []
    for name in ("rows", "lines"):
        done = regroup(f"{name}/*", "-o", f"of_{name}")
        assert done.exit_code == 0, done.output
        assert numbers(done.stdout)["rejected"] == [1]
        made.append(files(root / f"of_{name}"))
    assert made[0] == made[1]
    refuse_others(json_lines(rows).split(b"\n")[:-1], shard_lines(made[0]))


def test_a_manifest_and_its_groups_come_in_their_order(root: Path) -> None:
    lines = write_inputs(root)
    expected = regrouped(root, *SMALL)
    (root / "mine.tsv").write_text("key\turl\tbytes\tetag\tblake2b\n" + manifest_of(root))
    done = regroup("mine.tsv", "-o", "again", *SMALL)
    assert done.exit_code == 0, done.output
    assert files(root / "again") == expected
    refuse_others(lines, shard_lines(expected))


def manifest_of(root: Path) -> str:
    """All inputs of `raw/` as one group."""
    paths = [root / "raw" / name for name in ("a.jsonl", "b/c.json.gz", "b/d.jsonl.zst")]
    paths.append(root / "raw" / "e.jsonl.xz")
    return "".join(f"all\t{p}\t{p.stat().st_size}\t\t{record_file(p).blake2b}\n" for p in paths)


def test_the_manifest_that_it_writes_is_one(root: Path) -> None:
    write_inputs(root)
    found = regrouped(root, *SMALL)
    listed = read_manifest(root / "whole" / "repositories.tsv")
    assert {f"{key}.jsonl.zst" for key in listed} == {n for n in found if n.endswith(".zst")}
    for shard in listed.values():
        [member] = shard.members
        path = Path(member.place)
        assert (member.bytes, member.blake2b) == (path.stat().st_size, record_file(path).blake2b)
    assert find_shards(["whole/repositories.tsv"], root) == listed
    assert len(find_shards(["whole/*.json*"], root)) == len(listed), "nothing else looks like one"


def test_a_repository_larger_than_a_shard_stands_whole(root: Path) -> None:
    rows = [{**document(n), "metadata": {"repo_name": "large"}} for n in range(1, 100)]
    rows += [{**document(n), "metadata": {"repo_name": f"{n}"}} for n in range(100, 110)]
    write_shard(root / "raw" / "a.jsonl", rows)
    shards = shard_lines(regrouped(root, "--shard-size", "1kB"))
    refuse_others(json_lines(rows).split(b"\n")[:-1], shards)
    [large] = [shard for shard in shards if name_of(shard[0]) == "large"]
    assert len(large) == 99
    assert len(shards) > 2


def test_repositories_of_one_hash_stand_one_behind_another(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = write_inputs(root)
    monkeypatch.setattr(read_module, "repository_hash", len)
    shards = shard_lines(regrouped(root, *SMALL))
    refuse_others(lines, shards)
    named = [shard for shard in shards if name_of(shard[0])]
    assert len(named) == 1


def test_without_any_repository_lines_are_spread_and_keep_their_order(root: Path) -> None:
    rows = [{"id": f"{n}", "text": "x = 1\n" * 20} for n in range(300)]
    rows += [{"id": "same", "text": "x"}] * 100
    write_shard(root / "raw" / "a.jsonl", rows[:150])
    write_shard(root / "raw" / "b.jsonl", rows[150:])
    done = regroup("raw/*", "-o", "whole", "--shard-size", "5kB")
    assert done.exit_code == 0
    assert "\nwarning " in done.stdout
    assert numbers(done.stdout)["others"] == [400]
    shards = shard_lines(files(root / "whole"))
    place = {line: n for n, line in enumerate(json_lines(rows[:300]).split(b"\n"))}
    for shard in shards:
        own = [place[line] for line in shard if line in place]
        assert own == sorted(own)
    copies = [sum(orjson.loads(line)["id"] == "same" for line in shard) for shard in shards]
    assert sum(map(len, shards)) == 400
    assert sum(count > 0 for count in copies) > len(shards) / 2, "copies are spread too"


def test_a_line_over_the_bound_goes_on_whole(root: Path) -> None:
    rows = [document(1, text="é" * 900), document(2), b"x" * 2_000]
    write_shard(root / "raw" / "a.jsonl", rows)
    (root / "recipe.yaml").write_text("raw: {max_line_bytes: 1000}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIM_RECIPE", str(root / "recipe.yaml"))
        done = regroup("raw/*", "-o", "whole")
    assert numbers(done.stdout)["rejected"] == [2]
    [shard] = shard_lines(files(root / "whole"))
    assert sorted(shard) == sorted(json_lines(rows).split(b"\n")[:-1])


def test_the_recipe_names_the_field_and_the_inputs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"content": f"x{n}", "lang": "C", "max_stars_repo_name": f"r{n % 3}"} for n in range(9)]
    write_shard(root / "in" / "a.jsonl", rows)
    (root / "recipe.yaml").write_text('raw: {documents: ["in/*"], schema: the-stack}\n')
    monkeypatch.setenv("FIM_RECIPE", str(root / "recipe.yaml"))
    done = regroup("-o", "whole")
    assert done.exit_code == 0, done.output
    told = numbers(done.stdout)
    assert (told["repositories"], told["others"]) == ([3, 9], [0])
    assert "rejected" not in told


def test_blank_lines_alone_give_no_shard(root: Path) -> None:
    write_shard(root / "raw" / "a.jsonl", [b"", b" "])
    done = regroup("raw/*", "-o", "whole")
    assert done.exit_code == 1
    assert numbers(done.stdout)["lines"] == [2, 1, 0, 2]
    assert read_manifest(root / "whole" / "repositories.tsv") == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["raw/*"], "Missing option '-o'"),
        (["nothing/*", "-o", "whole"], "no shard found: nothing/*"),
        (["raw/*", "-o", "whole", "--shard-size", "much"], "'much' is no size"),
        (["raw/*", "-o", "raw"], "raw.documents matches this output"),
        (["raw/**/*", "-o", "raw/whole"], "would match the shards too"),
        (["raw/*", "-o", "hf://datasets/a/b"], "hf:// is only read"),
        (["raw/cut.jsonl.zst", "-o", "whole"], "raw/cut.jsonl.zst: after line 0: ends inside"),
        (["other/a.parquet", "-o", "whole"], "other/a.parquet: has no column text"),
    ],
)
def test_what_cannot_be_used_is_one_message(root: Path, arguments: list[str], message: str) -> None:
    content = write_shard(root / "raw" / "cut.jsonl.zst", [document(1)]).read_bytes()
    (root / "raw" / "cut.jsonl.zst").write_bytes(content + content[:-5])
    write_shard(root / "other" / "a.parquet", [{"code": "x"}])
    done = regroup(*arguments)
    assert done.exit_code in {1, 2}
    assert message in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(root.glob("whole/[!.]*"))


def test_a_recipe_that_leaves_the_name_out_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shard(root / "raw" / "a.parquet", [{"text": "x", "repo": "r", "n": 1}] * 3)
    for kept, status in (("[n]", 1), ("[n, repo]", 0)):
        text = f"raw: {{keep_fields: {kept}}}\nrepositories: {{name_field: repo}}\n"
        (root / "recipe.yaml").write_text(text)
        monkeypatch.setenv("FIM_RECIPE", str(root / "recipe.yaml"))
        done = regroup("raw/*", "-o", "whole")
        assert (done.exit_code, "raw.keep_fields leaves out repo" in done.stderr) == (
            status,
            status == 1,
        )
    [shard] = shard_lines(files(root / "whole"))
    assert json.loads(shard[0]) == {"text": "x", "repo": "r", "n": 1}


def test_a_full_disk_is_told_before_anything_is_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(root)
    monkeypatch.setattr("shutil.disk_usage", lambda _: DiskUsage())
    done = regroup("raw/**/*", "-o", "whole")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {root}/whole: about ")
    assert "10 Bytes are free" in done.stderr
    assert not list(root.glob("whole/.repositories.regroup/*.runs"))


class DiskUsage:
    free = 10


def test_one_input_that_cannot_be_read_costs_nothing_of_the_others(root: Path) -> None:
    lines = write_inputs(root)
    broken = root / "raw" / "b" / "c.json.gz"
    content = broken.read_bytes()
    broken.write_bytes(b"no gzip")
    write_shard(root / "raw" / "f.parquet", [{"code": "x"}])
    with pytest.MonkeyPatch.context() as patch:
        a_task_for_each_input_and_shard(patch)
        done = regroup("raw/**/*", "-o", "whole", *SMALL)
        assert done.exit_code == 1
        told = done.stderr.splitlines()
        assert told[0].startswith(f"Error: {broken}: after line 0: named as gzip")
        assert told[1].startswith(f"{root}/raw/f.parquet: has no column text")
        assert len([*root.glob("whole/.repositories.regroup/read-*.json")]) == 3
    (root / "raw" / "f.parquet").unlink()
    broken.write_bytes(content)
    refuse_others(lines, shard_lines(regrouped(root, *SMALL)))


def test_the_order_of_a_repositorys_files_is_theirs_in_the_inputs(root: Path) -> None:
    rows: list[Any] = [document(n, metadata={"repo_name": "r", "n": n}) for n in range(30)]
    write_shard(root / "raw" / "b.jsonl.gz", rows[20:])
    write_shard(root / "raw" / "a.jsonl", rows[:20])
    [shard] = shard_lines(regrouped(root))
    assert [orjson.loads(line)["metadata"]["n"] for line in shard] == [*range(30)]
