"""Where the power is cut."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.disk_node import write_on

MEMORY = Path("/dev/shm")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where fsyncs cost nothing. Later tests write on the real disk again, whatever happens."""
    made = Path(tempfile.mkdtemp(prefix="pilechain-", dir=MEMORY if MEMORY.is_dir() else None))
    yield made
    write_on(os)
    shutil.rmtree(made)
