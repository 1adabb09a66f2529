"""Room to write: what is looked at, and what only a write can tell."""

import asyncio
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.core.disk_watch import DiskWatch
from node.effects import DiskFull
from node.storage.store import FREE_BYTES_MIN, Store
from tests.unit.test_store import GENESIS, STATE, sealed_block


class Disk:
    """The ledger's disk, the log's disk, and what the node hears of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shortage_text = ""
        self.log_free_bytes = FREE_BYTES_MIN
        self.told: list[DiskFull] = []
        self.said: list[tuple[str, str]] = []
        self.room = asyncio.Event()
        self.room.set()
        me: Any = self
        self.watch = DiskWatch(me, Path("the log"), self.told.append, me)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=self.log_free_bytes))

    def shortage(self) -> str:
        """Of the store."""
        return self.shortage_text

    def error(self, event: str, reason: str, hint: str) -> None:
        """Of the logger."""
        self.said.append((event, reason))

    def info(self, event: str) -> None:
        """Of the logger."""
        self.said.append((event, ""))

    def look(self) -> list[DiskFull]:
        """Look; what was told since the last time."""
        self.told.clear()
        self.watch.look(self.room)
        return list(self.told)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk with room."""
    return Disk(monkeypatch)


def test_F13_want_of_room_is_told_once_and_its_end_at_once(disk):
    assert disk.look() == []
    disk.shortage_text = "the map is small"
    assert disk.look() == [DiskFull(True)]
    assert disk.look() == []
    disk.shortage_text = ""
    assert disk.look() == [DiskFull(False)]
    assert disk.said == [("disk_full", "the map is small"), ("disk_has_room_again", "")]


def test_F13_the_logs_own_disk_is_looked_at_as_well(disk):
    disk.log_free_bytes -= 1
    assert disk.look() == [DiskFull(True)]
    assert disk.said == [("disk_full", f"the log: {FREE_BYTES_MIN - 1} bytes are free, {FREE_BYTES_MIN} are needed")]
    disk.log_free_bytes += 1
    assert disk.look() == [DiskFull(False)]


def test_F13_a_write_that_found_no_room_is_tried_each_second_and_only_its_success_ends_the_want(disk):
    """A quota shows nowhere: the node must not vote, stop, vote and stop each second."""

    def write_fails():
        disk.room.clear()  # as StoreWriter.report_full
        disk.watch.found_full("the log: quota exceeded")

    write_fails()
    assert disk.told == [DiskFull(True)]
    for _ in range(5):
        assert disk.look() == []
        assert disk.room.is_set(), "it is tried"
        write_fails()
    assert disk.look() == []
    assert disk.look() == [DiskFull(False)], "nothing failed since it was tried"
    assert [event for event, _ in disk.said] == ["disk_full", "disk_has_room_again"]


def test_F13_pages_that_pruning_freed_are_room(tmp_path):
    """Otherwise a node whose map was nearly full once would never vote again."""
    map_bytes = FREE_BYTES_MIN + (16 << 20)
    store = Store(tmp_path, GENESIS, STATE, map_bytes, durable=False)
    height = 0
    while not store.shortage():
        height += 1
        store.write([sealed_block(store, [], {b"large": bytes([height]) * 1_000_000})])
    assert "store.map_bytes" in store.shortage()
    while store.prune(height - 1, 8):
        pass
    assert store.shortage() == ""
    store.close()
