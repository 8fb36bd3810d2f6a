"""The locks: one version of each package, with its hashes, the same for whoever runs and tests."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fim_assets_tests.end_to_end.commands import REPOSITORY

RUNNING, ON_CLUSTERS, TESTING = LOCKS = (
    "requirements.lock",
    "deploy/requirements.lock",
    "requirements-dev.lock",
)
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
ASKED = PROJECT["project"]["dependencies"]
BUILD = PROJECT["dependency-groups"]["build"]
EXTRAS = [
    requirement
    for extra in ("s3", "ray", "postgres")
    for requirement in PROJECT["project"]["optional-dependencies"][extra]
]
DEV = [asked for asked in PROJECT["dependency-groups"]["dev"] if isinstance(asked, str)]


def pins(lock: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock, with its hashes."""
    text = (REPOSITORY / lock).read_text("utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    found = [line.split("--hash=") for line in lines]
    return [(Requirement(asked), [each.strip() for each in hashes]) for asked, *hashes in found]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_versions_and_hashes_and_no_host(lock: str) -> None:
    found = pins(lock)
    assert len(found) > 100
    for pinned, hashes in found:
        assert [each.operator for each in pinned.specifier] == ["=="], pinned
        assert pinned.url is None
        assert hashes, pinned
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", each) for each in hashes), pinned
    assert "://" not in (REPOSITORY / lock).read_text("utf-8")


@pytest.mark.parametrize(("smaller", "larger"), [(RUNNING, ON_CLUSTERS), (ON_CLUSTERS, TESTING)])
def test_a_lock_has_the_versions_and_hashes_of_the_larger_one(smaller: str, larger: str) -> None:
    few, many = (
        {
            (canonicalize_name(pinned.name), str(pinned.specifier)): set(h)
            for pinned, h in pins(lock)
        }
        for lock in (smaller, larger)
    )
    assert few.items() < many.items()


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        (RUNNING, [*ASKED, *BUILD]),
        (ON_CLUSTERS, [*ASKED, *BUILD, *EXTRAS]),
        (TESTING, [*ASKED, *BUILD, *EXTRAS, *DEV]),
    ],
    ids=LOCKS,
)
def test_a_lock_has_what_the_project_asks_for(lock: str, asked: list[str]) -> None:
    versions: dict[str, list[str]] = {}
    for pinned, _ in pins(lock):
        [version] = pinned.specifier
        versions.setdefault(canonicalize_name(pinned.name), []).append(version.version)
    for requirement in map(Requirement, asked):
        found = versions[canonicalize_name(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in found), requirement


def test_running_needs_no_library_of_an_extra() -> None:
    found = {canonicalize_name(pinned.name) for pinned, _ in pins(RUNNING)}
    assert found.isdisjoint(canonicalize_name(Requirement(asked).name) for asked in EXTRAS)
