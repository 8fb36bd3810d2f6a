from pathlib import Path

import pytest


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root in which one worker, this process, does all."""
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE", "FIM_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    monkeypatch.setenv("FIM_WORKERS", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path
