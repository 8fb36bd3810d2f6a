"""For all tests: in which order their files begin, how many examples, where caches are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("short", max_examples=50, deadline=None)
settings.load_profile("short")
settings.register_profile(
    "long", max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck)
)

LONGEST = (
    "faults/test_faults.py",
    "end_to_end/test_readme.py",
    "run/test_on_ray.py",
    "end_to_end/test_ui.py",
    "end_to_end/test_command_line.py",
    "end_to_end/test_object_storage.py",
    "test_stored_outputs.py",
    "benchmarks/test_benchmarks.py",
)
"""Files that take a minute or more, in this order."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files: one that began last would be waited for alone."""
    tests = Path(__file__).parent
    first = {tests / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(autouse=True, scope="session")
def cache_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Proofs of encoders go where all workers and subprocesses of this run find them."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    home = base / "cache_home"
    home.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(home))
        yield home
