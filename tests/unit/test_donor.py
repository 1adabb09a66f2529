"""What a node keeps for others: damage in it costs that, and nothing else."""

import errno
import resource
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from consensus.messages import FetchChunk, FetchManifest, SnapshotChunk, SnapshotManifest, decode_message
from node.core.donor import Donor
from node.core.snapshot_keeper import SnapshotKeeper
from node.storage.snapshot_maker import Unhurried, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import Store
from tests.unit.test_store import GENESIS, STATE, grow


def _bit_flipped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 4
    path.write_bytes(data)


def _unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_bytes

    def broken(self: Path) -> bytes:
        if self == path and path.exists():
            raise OSError(errno.EIO, "Input/output error")
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", broken)


@pytest.mark.parametrize("damage", [_bit_flipped, _unreadable])
def test_F13_a_damaged_snapshot_is_removed_and_halts_nobody(tmp_path, monkeypatch, damage):
    """A bit flipped in what a node only keeps for others, and one peer's question, must not cost a validator."""
    store = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    snapshots, nobody = Snapshots(tmp_path / "s"), cast("Any", None)
    for _ in range(3):
        grow(store, 8)
        make_snapshot(store, snapshots, Unhurried())
    donor = Donor(store, snapshots, nobody, nobody, nobody)
    damage(tmp_path / "s" / "24" / "manifest", monkeypatch)
    answer = decode_message(donor.answer(FetchManifest(24)))
    assert answer == SnapshotManifest(None)
    assert snapshots.heights() == [16, 8]
    damage(tmp_path / "s" / "16" / "manifest", monkeypatch)
    answer = decode_message(donor.answer(FetchManifest(0)))
    assert isinstance(answer, SnapshotManifest)
    assert answer.manifest
    assert answer.manifest.header.height == 8, "the newest that is sound"
    _unreadable(tmp_path / "s" / "8" / "chunk-00000", monkeypatch)
    assert decode_message(donor.answer(FetchChunk(8, 0))) == SnapshotChunk(8, 0, b"")
    assert snapshots.heights() == []
    make_snapshot(store, snapshots, Unhurried())
    damage(tmp_path / "s" / "24" / "manifest", monkeypatch)
    failed: list[BaseException] = []
    keeper = SnapshotKeeper(store, snapshots, 1_000, failed.append, None)
    keeper.start(24)
    keeper.close()
    assert (failed, snapshots.heights(), keeper.needed) == ([], [], 24)
    donor.close()
    store.close()


def test_F13_a_sound_snapshot_outlives_a_want_of_descriptors(tmp_path):
    """As a flood of connections makes it."""
    store = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    snapshots, nobody = Snapshots(tmp_path / "s"), cast("Any", None)
    grow(store, 8)
    make_snapshot(store, snapshots, Unhurried())
    donor = Donor(store, snapshots, nobody, nobody, nobody)
    asked = FetchManifest(8), FetchManifest(0), FetchChunk(8, 0)
    good = [donor.answer(message) for message in asked]
    keeper = SnapshotKeeper(store, snapshots, 1_000, lambda error: None, structlog.get_logger())
    keeper._needed = 3
    keeper._height = 8
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        answers = [decode_message(donor.answer(message)) for message in asked]
        with snapshots.expendable(8):
            snapshots.manifest(8)
        assert keeper._oldest() == 3
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert answers == [SnapshotManifest(None), SnapshotManifest(None), SnapshotChunk(8, 0, b"")]
    assert [donor.answer(message) for message in asked] == good
    donor.close()
    store.close()
