"""Sealed blocks on their way to the disk: in order, together where they queue, and never lost when it is full."""

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

from node.core.stages import Stages
from node.storage.store import StoreFullError
from node.storage.writer import BLOCKS_MAX, StoreWriter


def block(height):
    """What the writer looks at of a sealed block."""
    return SimpleNamespace(block=SimpleNamespace(header=SimpleNamespace(height=height)))


class Disk:
    """A store that can be slow or full."""

    def __init__(self):
        self.batches = []
        self.full = False
        self.go_on = threading.Event()
        self.go_on.set()

    def write(self, sealed):
        self.go_on.wait(5)
        if self.full:
            raise StoreFullError("full")
        self.batches.append([item.block.header.height for item in sealed])


async def test_F04_blocks_that_queue_up_share_a_transaction():
    disk: Any = Disk()
    stored: list[int] = []
    writer = StoreWriter(disk, stored.append, lambda reason: None, Stages())
    task = asyncio.ensure_future(writer.run())
    disk.go_on.clear()
    for height in range(1, 12):
        writer.put(block(height))
        await asyncio.sleep(0.001)
    assert stored == []
    disk.go_on.set()
    await asyncio.sleep(0.05)
    assert disk.batches == [[1], list(range(2, 2 + BLOCKS_MAX)), [10, 11]]
    assert stored == list(range(1, 12))
    task.cancel()
    writer.close()


async def test_F04_a_full_disk_is_waited_out():
    disk: Any = Disk()
    stored: list[int] = []
    told: list[str] = []
    writer = StoreWriter(disk, stored.append, told.append, Stages())
    task = asyncio.ensure_future(writer.run())
    disk.full = True
    writer.put(block(1))
    await asyncio.sleep(0.05)
    writer.put(block(2))
    assert (stored, told) == ([], ["the ledger: full"])
    disk.full = False
    writer.room.set()
    await asyncio.sleep(0.05)
    assert (disk.batches, stored) == ([[1, 2]], [1, 2])
    task.cancel()
    writer.close()
