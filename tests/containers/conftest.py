"""Tells a fixture whether a test that used it has failed."""

from collections.abc import Iterator
from typing import Any

import pytest

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember a failure in the session."""
    report: Any = yield
    if report.failed:
        item.session.stash[FAILED] = True
    return report
