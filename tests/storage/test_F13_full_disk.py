"""A disk that is really full: log and store say so, leave nothing half done, and go on when there is room."""

import asyncio
import errno
import os
import sqlite3
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest
from sqlalchemy import Engine

from devices.readings import ChainEnd
from ledger.errors import OurError
from node.edge import room
from node.edge.read_model import open_read_model
from node.gateway.archive import Archive
from node.storage import store as store_module
from node.storage.store import Store, StoreFullError
from node.storage.wal import WriteAheadLog, is_full
from tests.unit.test_readings import SESSION, batch, chain
from tests.unit.test_store import GENESIS, STATE, grow


def test_F13_the_log_goes_on_when_there_is_room_again(small_disk):
    log = WriteAheadLog(small_disk.path / "wal", segment_bytes=20_000)
    small_disk.fill(left_bytes=64 * 1024)
    written = 0
    for number in range(100):
        try:
            log.append([(1, bytes([number]) * 3_000)])
        except OSError as error:
            assert is_full(error)  # noqa: PT017 - when is not known
            written = number
            break
    assert 10 < written < 30
    with pytest.raises(OSError, match="No space left"):
        log.append([(1, b"x" * 5_000)])
    small_disk.make_room()
    log.append([(1, b"x" * 5_000)])
    log.close()
    again = WriteAheadLog(small_disk.path / "wal")
    assert again.recovered == [*(bytes([number]) * 3_000 for number in range(written)), b"x" * 5_000]
    again.close()


def test_F13_the_store_goes_on_when_there_is_room_again(small_disk):
    store = Store(small_disk.path / "ledger", GENESIS, STATE, 1 << 28)
    assert "67108864 are needed" in store.shortage()
    small_disk.fill(left_bytes=128 * 1024)
    with pytest.raises(StoreFullError):
        grow(store, 200)
    with store.snapshot() as snapshot:
        height = snapshot.height
    assert height > 3
    with pytest.raises(StoreFullError):
        grow(store, 1)
    small_disk.make_room()
    grow(store, 3)
    store.close()
    again = Store(small_disk.path / "ledger", GENESIS, STATE, 1 << 28)
    with again.snapshot() as snapshot:
        assert snapshot.height == height + 3
        assert len(list(snapshot.scan(b"\0\0\0\5"))) == height + 3
    again.close()


def test_F13_a_store_that_finds_no_room_to_begin_leaves_nothing_that_looks_like_one(small_disk):
    small_disk.fill(left_bytes=16 * 1024)
    with pytest.raises(StoreFullError):
        Store(small_disk.path / "ledger", GENESIS, STATE, 1 << 28)
    small_disk.make_room()
    Store(small_disk.path / "ledger", GENESIS, STATE, 1 << 28).close()


def test_F13_a_write_that_fails_for_another_reason_stops_the_process(tmp_path, monkeypatch):
    store = Store(tmp_path, GENESIS, STATE, 1 << 28)

    def broken(*_):
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EIO)}")

    monkeypatch.setattr(store_module, "put_head", broken)
    with pytest.raises(OurError, match="store-write"):
        grow(store, 1)
    store.close()


def test_F13_a_failed_sync_of_a_disk_with_little_room_stops_the_process_and_a_write_that_filled_it_does_not(
    small_disk, monkeypatch
):
    """LMDB calls both EIO. A failed sync is final; a retry would call it durable what is lost."""
    store = Store(small_disk.path / "ledger", GENESIS, STATE, 1 << 28)

    def broken(*_):
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EIO)}")

    monkeypatch.setattr(store_module, "put_head", broken)
    with pytest.raises(OurError, match="store-write"):
        grow(store, 1)
    small_disk.fill()
    with pytest.raises(StoreFullError):
        grow(store, 1)
    assert sorted(path.name for path in store._path.iterdir()) == ["data.mdb", "lock.mdb"]
    store.close()


def test_F13_a_commit_that_found_no_room_for_its_meta_page_asks_for_a_new_start_and_not_for_a_repair(tmp_path):
    """The file is sound; set aside, it would cost the vote key."""
    store = Store(tmp_path, GENESIS, STATE, 1 << 28)
    env: Any = store._env

    def panic(**_):
        raise lmdb.PanicError("mdb_txn_begin: MDB_PANIC: Update of meta page failed")

    vars(store)["_env"] = SimpleNamespace(begin=panic)
    for use in (lambda: grow(store, 1), lambda: store.prune(1, 8), lambda: store.write([])):
        with pytest.raises(OurError, match=r"store-write: .*data\.mdb: .*start again") as caught:
            use()
        assert "repair" not in caught.value.message
    env.close()


def test_F13_a_users_quota_that_is_used_up_is_a_full_disk_as_well(tmp_path, monkeypatch):
    store = Store(tmp_path, GENESIS, STATE, 1 << 28)

    def over_quota(*_):
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EDQUOT)}")

    monkeypatch.setattr(store_module, "put_head", over_quota)
    with pytest.raises(StoreFullError):
        grow(store, 1)
    store.close()


@pytest.mark.parametrize("small_disk", ["4m"], indirect=True)
def test_F13_an_archive_refuses_readings_while_its_disk_is_full_and_takes_them_later(small_disk):
    readings = chain(1_600)
    archive = Archive(small_disk.path / "readings.sqlite")
    assert [end.count for end in archive.append([batch(readings[:10])]) if isinstance(end, ChainEnd)] == [10]
    small_disk.fill()
    for _ in range(3):
        refused = archive.append([batch(readings[10:]), batch(readings[5:8])])
        assert [getattr(answer, "code", "") for answer in refused] == ["archive-full"] * 2
        assert archive.count(SESSION) == 10
    small_disk.make_room()
    assert [end.count for end in archive.append([batch(readings[10:])]) if isinstance(end, ChainEnd)] == [1_600]
    assert archive.readings(SESSION) == readings
    archive.close()


@pytest.mark.parametrize("opened", [Archive, open_read_model])
async def test_F13_a_file_of_sqlite_that_finds_no_room_at_a_start_waits_for_it(small_disk, monkeypatch, opened):
    monkeypatch.setattr(room, "ROOM_LOOK_S", 0.01)
    file = small_disk.path / "made.sqlite"
    made = opened(file)
    made.dispose() if isinstance(made, Engine) else made.close()
    small_disk.fill()
    tries: list[None] = []

    def again():
        tries.append(None)
        return opened(file)

    waiting = asyncio.create_task(room.when_room(file, again))
    while len(tries) < 3:
        assert not waiting.done()
        await asyncio.sleep(0.01)
    small_disk.make_room()
    made = await asyncio.wait_for(waiting, 10)
    made.dispose() if isinstance(made, Engine) else made.close()


async def test_F13_a_broken_file_of_sqlite_is_not_waited_for(small_disk):
    file = small_disk.path / "made.sqlite"
    file.mkdir()
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        await asyncio.wait_for(room.when_room(file, lambda: Archive(file)), 10)
