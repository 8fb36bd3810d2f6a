from pathlib import Path

import pytest

from fim_assets_tests.cli.running import ROWS, make_fim_shard
from fim_assets_tests.corpora import write_shard


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.jsonl.zst", "c/d.json.gz"):
        write_shard(tmp_path / "raw" / name, ROWS)
    for name in ("FIM_INPUT_ROOT", "FIM_RECIPE", "FIM_WORKERS", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FIM_DATA_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def fim_shard(root: Path) -> tuple[str, str]:
    return make_fim_shard(root, "a")
