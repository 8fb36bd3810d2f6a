import re
import shlex
import subprocess
import sys
from pathlib import Path

import orjson
import polars as pl
import pytest

from fim_assets.io.other_formats import ENDINGS

ROWS = [{"id": "007", "text": 'a = "1"\n\tb'}, {"id": "1e5", "text": "12"}]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".arrow"])
def test_the_command_that_is_advised_gives_every_value_as_it_was(
    tmp_path: Path, ending: str
) -> None:
    table, path = pl.DataFrame(ROWS), tmp_path / f"x{ending}"
    if ending == ".arrow":
        table.write_ipc(path)
    else:
        table.write_csv(path, separator="\t" if ending == ".tsv" else ",")
    advised = re.search(r"`python (.*?)`", ENDINGS[ending].advice)
    assert advised is not None
    subprocess.run([sys.executable, *shlex.split(advised[1])], cwd=tmp_path, check=True)
    assert [orjson.loads(line) for line in (tmp_path / "x.jsonl").open()] == ROWS
