"""Log and store on disks that fail or lie: each says so by its code, with the file and what to run."""

import errno
import os

import pytest
from msgspec.structs import replace

from ledger.errors import OurError
from node.storage import files
from node.storage.copy import copy_ledger
from node.storage.layout import DATA_FILE, height_key
from node.storage.reader import LedgerReader
from node.storage.scan import check_store, store_damage
from node.storage.store import Store, StoreFullError
from node.storage.wal import RECORD_BYTES_MAX, WriteAheadLog, check_log
from tests.unit.test_store import GENESIS, STATE, grow, sealed_block

MAP_BYTES = 1 << 28


def failing(name, error, monkeypatch, when=lambda *_: True):
    """Have a function of `os` fail, or only some of its calls."""
    real = getattr(os, name)

    def fail(*arguments):
        if when(*arguments):
            raise OSError(error, os.strerror(error))
        return real(*arguments)

    monkeypatch.setattr(os, name, fail)


def test_F13_a_folder_that_cannot_be_synced_stops_the_process(tmp_path, monkeypatch):
    failing("fsync", errno.EIO, monkeypatch)
    with pytest.raises(OurError, match="fsync-failed"):
        files.sync_folder(tmp_path)


def test_F13_a_segment_that_finds_no_room_is_begun_anew_later(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path, segment_bytes=1)
    log.append([(1, b"first")])
    with monkeypatch.context() as full:
        failing("pwrite", errno.ENOSPC, full)
        with pytest.raises(OSError, match="No space left"):
            log.append([(1, b"second")])
    log.append([(1, b"second")])
    log.close()
    again = WriteAheadLog(tmp_path)
    assert again.recovered == [b"first", b"second"]
    with pytest.raises(OurError, match="wal-record-too-large"):
        again.append([(1, bytes(RECORD_BYTES_MAX + 1))])
    again.close()


def test_F13_damage_with_whole_batches_behind_it_is_found_without_any_acknowledgement(tmp_path):
    """A power cut may have taken all acknowledgements of the last seconds; batches that follow still tell."""
    log = WriteAheadLog(tmp_path)
    for height in range(1, 4):
        log.append([(height, b"record" * 5)])
    log.close()
    [segment] = tmp_path.glob("*.wal")
    data = segment.read_bytes()
    mark = data[:8]
    acknowledged = bytes(byte ^ 0xFF for byte in mark)
    data = bytearray(data.replace(acknowledged, bytes(8)))
    data[50] ^= 1
    segment.write_bytes(data)
    with pytest.raises(OurError, match="offset 12"):
        check_log(tmp_path)
    end = data.rindex(mark)
    segment.write_bytes(data[: end + 30])  # two marks follow, of which one batch is whole
    with pytest.raises(OurError, match="offset 12"):
        check_log(tmp_path)
    middle = data.rindex(mark, 0, end)
    segment.write_bytes(data[: middle + 30])
    check_log(tmp_path)


@pytest.fixture
def store(tmp_path):
    """A store of ten blocks."""
    made = Store(tmp_path / "ledger", GENESIS, STATE, MAP_BYTES)
    grow(made, 10)
    yield made
    made.close()


def put(store, database, key, value):
    """Change what a store holds, or remove it."""
    with store._env.begin(write=True) as txn:
        if value is None:
            txn.delete(key, db=getattr(store._databases, database))
        else:
            txn.put(key, value, db=getattr(store._databases, database))


@pytest.mark.parametrize(
    ("database", "key", "value", "said"),
    [
        ("headers", height_key(4), None, "height 4: there is no header"),
        ("meta", b"height", height_key(9), "height 9: the newest block is not the one"),
        ("meta", b"state_root", bytes(32), "height 10: the state root is not the one"),
        ("meta", b"head", b"\xc1", "head: "),
    ],
)
def test_F13_reading_the_whole_store_finds_what_does_not_belong_together(store, database, key, value, said):
    check_store(store)
    put(store, database, key, value)
    with pytest.raises(OurError, match=f"store-damaged: .*data.mdb: {said}"):
        check_store(store)
    store.close()
    path = store._path
    assert said in store_damage(path, MAP_BYTES)
    if database == "meta":
        with pytest.raises(OurError, match=f"store-damaged: .*{said}"):
            Store(path, GENESIS, STATE, MAP_BYTES)


def test_F13_a_sound_store_is_read_whole_and_an_absent_one_is_not_damaged(store, tmp_path):
    store.close()
    assert store_damage(store._path, MAP_BYTES) == ""
    assert store_damage(tmp_path / "none", MAP_BYTES) == ""


def test_F13_a_file_that_lmdb_does_not_know_is_damage(store):
    store.close()
    file = store._path / DATA_FILE
    file.write_bytes(b"\xff" * file.stat().st_size)
    for opened in (lambda: Store(store._path, GENESIS, STATE, MAP_BYTES), lambda: LedgerReader(store._path, MAP_BYTES)):
        with pytest.raises(OurError, match=r"store-damaged: .*data\.mdb: .*pilechain repair"):
            opened()


def test_F13_blocks_without_their_changes_are_our_bug(store):
    block = sealed_block(store)
    bare = replace(block, outcome=replace(block.outcome, work=None))
    with pytest.raises(OurError, match="store-work"):
        store.write([bare])


def test_F13_a_map_that_is_too_small_is_a_full_disk(tmp_path):
    with pytest.raises(StoreFullError):
        Store(tmp_path / "ledger", GENESIS, {b"%d" % n: bytes(2_000) for n in range(100)}, 128 * 1024)


def test_F13_a_copy_applies_what_was_deleted_meanwhile(store, tmp_path):
    left = 3

    def pace(size):
        nonlocal left
        if left and size:
            left -= 1
            store.write([sealed_block(store, changes={b"\0\0\0\5session %d" % (left + 1): None})])

    head = copy_ledger(store, tmp_path / "copy", MAP_BYTES, pace)
    assert head.tip.height > 10
    copy = LedgerReader(tmp_path / "copy", MAP_BYTES)
    with copy.snapshot() as copied, store.snapshot() as snapshot:
        assert dict(copied.scan(b"")) == dict(snapshot.scan(b""))
        assert copied.state_root == snapshot.state_root
    copy.close()
