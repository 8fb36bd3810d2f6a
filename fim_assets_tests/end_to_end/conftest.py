"""A browser for the tests of a file, and where its pictures go."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from fim_assets_tests.end_to_end.browser import browser_program, chromium, visit
from fim_assets_tests.end_to_end.commands import REPOSITORY, needed

Visit = Callable[[str], AbstractContextManager[Page]]


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures of pages are kept: `FIM_TEST_PICTURES`, else a folder that git ignores."""
    folder = Path(os.environ.get("FIM_TEST_PICTURES", REPOSITORY / ".pytest_pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# Not for the session: Playwright's loop would stand in the way of other tests' own.
@pytest.fixture(scope="module")
def session() -> Iterator[BrowserContext]:
    with chromium(needed(browser_program(), "chromium")) as launched:
        yield launched


@pytest.fixture(scope="module")
def visit_page(session: BrowserContext, pictures: Path) -> Visit:
    """Opens an empty page that is watched and pictured, under the picture's name."""
    return partial(visit, session, pictures)
