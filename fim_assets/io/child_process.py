"""Python processes of our own, for native code that may end the process it runs in."""

import os
import sys


def own_process(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a process that runs a module.

    It imports from where this process does, and nothing from the working folder.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
