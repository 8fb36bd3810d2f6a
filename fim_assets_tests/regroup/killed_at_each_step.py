"""A process whose children regroup, each killed one step later, and each followed by one that ends.

Called with the folder of the inputs and the number of steps between two kills; prints how many
steps there were.
"""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from fim_assets.cli.main import main
from fim_assets_tests.regroup.corpora import files, regrouped

SMALL = "--shard-size", "10kB"

STEPS = {"os.rename", "os.remove", "os.mkdir", "shutil.rmtree"}
"""What changes names in a folder; the content of a file that has its name changes no more."""


def regroup(root: Path, killed_before: int | None) -> int:
    """Run the command in a child; how it ended."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    step = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal step
        if event in STEPS and str(root / "whole") in str(arguments[0]):
            if step == killed_before:
                os.kill(os.getpid(), signal.SIGKILL)
            step += 1

    sys.addaudithook(count)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    with suppress(SystemExit):
        main(["regroup", "raw/**/*", "-o", str(root / "whole"), *SMALL])
    os._exit(0)  # what a command does at its end takes longer than all before


def kill_at_each_step(root: Path, between: int) -> int:
    """See the module; the number of the first step that is none."""
    # In this process, so that no child has to import what it needs.
    expected = regrouped(root, *SMALL)
    step = 0
    while True:
        shutil.rmtree(root / "whole")
        status = regroup(root, step)
        if status != 0:
            assert status == -signal.SIGKILL, status
            assert regroup(root, None) == 0, step
        assert files(root / "whole") == expected, step
        assert not (root / "whole" / ".repositories.regroup").exists()
        if status == 0:
            return step
        step += between


if __name__ == "__main__":
    print(kill_at_each_step(Path(sys.argv[1]), int(sys.argv[2])))
