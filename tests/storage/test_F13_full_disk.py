"""A disk that is really full: log and store say so, leave nothing half done, and go on when there is room."""

import errno
import os

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
    assert not store.has_room(), "64 MiB are the least"
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


def test_F13_a_users_quota_that_is_used_up_is_a_full_disk_as_well(tmp_path, monkeypatch):
    store = Store(tmp_path, GENESIS, STATE, 1 << 28)

    def over_quota(*_):
        raise lmdb.Error(f"mdb_txn_commit: {os.strerror(errno.EDQUOT)}")

    monkeypatch.setattr(store_module, "put_head", over_quota)
    with pytest.raises(StoreFullError):
        grow(store, 1)
    store.close()
