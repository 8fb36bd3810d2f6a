import sys
import sysconfig
from pathlib import Path
from types import ModuleType

import pytest

from fim_assets.run.local import _pool


def has_program() -> bool:
    """Whether this process has imported the program that started it."""
    return hasattr(sys.modules["__main__"], "DEFINED")


@pytest.mark.parametrize("folder", ["bin", "work"])
def test_a_worker_imports_a_script_and_no_installed_command(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / folder / "program"
    file.parent.mkdir()
    file.write_text("DEFINED = True\n")
    program = ModuleType("__main__")
    program.__file__ = str(file)
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "bin"))
    with _pool(1) as pool:
        assert pool.submit(has_program).result() == (folder == "work")
    assert program.__file__ == str(file)
