"""A disk that is really full: log and store say so, leave nothing half done, and go on when there is room."""

import errno
import os
from types import SimpleNamespace
from typing import Any

import lmdb
import pytest

from ledger.errors import OurError
from node.storage import store as store_module
from node.storage.store import Store, StoreFullError
from node.storage.wal import WriteAheadLog, is_full
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
