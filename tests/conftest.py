"""What all suites share: hypothesis profile, skips for missing system software, the folder of real data."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from tests.small_disk import SmallDisk, small_disk_at

ROOT = Path(__file__).resolve().parent.parent

# No deadline: a busy machine is not a bug. In CI the same examples every time, so that a red run is the commit's fault.
settings.register_profile("pilechain", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("pilechain")

SYSTEM_SOFTWARE = {
    "needs_mosquitto": ("mosquitto",),
    "needs_chromium": ("chromium", "chromium-browser", "google-chrome"),
    "needs_podman": ("podman",),
}
"""Marker -> names of the program on PATH, any of which will do."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--rewrite`: write the traces of tests/scenarios/traces anew, for a reviewer to read the difference; `--oracles`:
    the Python twins of the contracts in their place."""
    parser.addoption("--rewrite", action="store_true", help="write the expected traces of scenario files anew")
    parser.addoption("--oracles", action="store_true", help="run the oracles in place of the library's contracts")


def pytest_configure(config: pytest.Config) -> None:
    """Have the oracles rule, if `--oracles` says so."""
    if config.getoption("--oracles"):
        from tests.oracles.catalogue import METHODS
        from tests.vm.swap import running

        until_the_end = ExitStack()
        until_the_end.enter_context(running(METHODS))
        config.add_cleanup(until_the_end.close)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, the tests whose system software is not on this machine."""
    path = os.environ.get("PATH", "") + ":/usr/sbin"  # where Debian puts brokers
    for marker, programs in SYSTEM_SOFTWARE.items():
        if any(shutil.which(program, path=path) for program in programs):
            continue
        skip = pytest.mark.skip(reason=f"{programs[0]} is not on PATH")
        for item in items:
            if marker in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real sessions and stations, named by PILECHAIN_DATA (relative to the repository's root)."""
    name = os.environ.get("PILECHAIN_DATA")
    if not name:
        pytest.skip("PILECHAIN_DATA is not set: no real data on this machine")
    folder = (ROOT / name).resolve()
    if not folder.is_dir():
        pytest.fail(f"PILECHAIN_DATA={name}: no such folder ({folder})")
    return folder


@pytest.fixture
def small_disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """A disk of 2 MiB, or of the size that the test's parameter names."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        with small_disk_at(folder, getattr(request, "param", "2m")) as disk:
            yield disk
    except PermissionError as error:
        pytest.skip(str(error))
