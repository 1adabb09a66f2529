"""Tells a fixture whether the test that uses it has failed."""

from collections.abc import Iterator
from typing import Any

import pytest

FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Remember a failure."""
    report: Any = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
