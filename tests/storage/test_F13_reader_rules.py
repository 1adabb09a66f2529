"""LMDB's own traps: one fixed map, no WRITEMAP, one open per process, and no snapshot that lasts."""

import asyncio
import time
from contextlib import contextmanager

import lmdb
import pytest

from ledger.errors import ClientError
from node.cli import verify as verify_module
from node.cli.verify import verify_chain
from node.core import process as core_module
from node.storage.reader import MAP_BYTES, LedgerReader
from node.storage.store import Store
from tests.device_chain import DeviceChain
from tests.unit.test_store import GENESIS, STATE, grow


@pytest.fixture
def chain(tmp_path):
    """A chain of some blocks that the real contracts executed."""
    made = DeviceChain(tmp_path)
    for _ in range(5):
        made.seal()
    yield made
    made.close()


def test_F13_the_map_is_fixed_and_written_by_calls_that_can_fail(tmp_path):
    """With WRITEMAP a full disk is SIGBUS; a map that is resized under readers is where LMDB users lose nights."""
    store = Store(tmp_path, GENESIS, STATE)
    grow(store, 3)
    assert not store._env.flags()["writemap"]
    assert store._env.flags()["sync"]
    assert store._env.info()["map_size"] == MAP_BYTES == 64 << 30
    store.close()


def test_F13_a_store_is_opened_once_in_a_process(tmp_path):
    """POSIX drops all locks of a process with the first descriptor that it closes; LMDB refuses."""
    store = Store(tmp_path, GENESIS, STATE, 1 << 28)
    with pytest.raises(lmdb.Error, match="already open"):
        LedgerReader(tmp_path, 1 << 28)
    store.close()


class Watching:
    """All that a core looks after each second; it ends in the third."""

    room = None
    is_full = False

    def __init__(self):
        self.done = []

    def reader_check(self):
        self.done.append("dead readers")

    def stale_readers(self):
        self.done.append("stale readers")
        return []

    def look(self, room):
        self.done.append("disk")

    async def tick(self):
        self.done.append("duties")
        if self.done.count("duties") == 3:
            raise asyncio.CancelledError


async def test_F13_core_looks_for_dead_readers_each_second(monkeypatch):
    assert core_module.WATCH_S == 1.0
    monkeypatch.setattr(core_module, "WATCH_S", 0)
    core, watching = object.__new__(core_module.Core), Watching()
    vars(core).update(dict.fromkeys(("_store", "_disk", "_writer", "_duties"), watching), _meet_members=lambda: None)
    with pytest.raises(asyncio.CancelledError):
        await core._watch()
    assert watching.done == ["dead readers", "stale readers", "disk", "duties"] * 3


class Watched(LedgerReader):
    """Notes how long each snapshot lasts."""

    longest_s = 0.0
    count = 0

    @contextmanager
    def snapshot(self):
        """As ever."""
        begin = time.monotonic()
        with super().snapshot() as snapshot:
            yield snapshot
        Watched.longest_s = max(Watched.longest_s, time.monotonic() - begin)
        Watched.count += 1


def test_F13_verify_renews_its_snapshots(chain, monkeypatch):
    monkeypatch.setattr(verify_module, "LedgerReader", Watched)
    monkeypatch.setattr(verify_module, "EXPORT_S", 0.0)
    chain.close()
    assert verify_chain(chain.path, chain.genesis, lambda *_: None).height == chain.height
    assert Watched.count > 20, "one for each entry of the state"
    assert Watched.longest_s < 1


def test_F13_verify_finds_an_entry_that_was_changed_wherever_it_stands(chain, monkeypatch):
    monkeypatch.setattr(verify_module, "EXPORT_S", 0.0)
    with chain.store.snapshot() as snapshot:
        keys = [key for key, _ in snapshot.scan(b"")]
    for key in (keys[0], keys[len(keys) // 2], keys[-1]):
        with chain.store._env.begin(write=True) as txn:
            was = txn.get(key, db=chain.store._databases.state)
            txn.put(key, was[:-1] + bytes([was[-1] ^ 1]), db=chain.store._databases.state)
        chain.store.close()
        with pytest.raises(ClientError, match=f"chain-invalid: height {chain.height}: .*at key {key.hex()}"):
            verify_chain(chain.path, chain.genesis, lambda *_: None)
        chain.store = Store(chain.path, chain.genesis, {}, 1 << 28)
        with chain.store._env.begin(write=True) as txn:
            txn.put(key, was, db=chain.store._databases.state)
    height_3 = (3).to_bytes(8, "big")
    with chain.store._env.begin(write=True) as txn:
        txn.put(height_3, b"\xc1", db=chain.store._databases.bodies)
    chain.close()
    with pytest.raises(ClientError, match=r"chain-invalid: height 3: .*data\.mdb: transactions of height 3"):
        verify_chain(chain.path, chain.genesis, lambda *_: None)
