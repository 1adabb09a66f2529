"""Snapshots: made beside a chain that goes on, cut by content alone, and every chunk proves itself."""

import shutil
import zlib
from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ledger import snapshot as snapshot_module
from ledger.codec import decode
from ledger.errors import ClientError, PeerError
from ledger.hashing import ZERO_HASH
from ledger.mmr import Mmr
from ledger.snapshot import (
    CHUNK_BYTES_MAX,
    Manifest,
    Place,
    check_manifest,
    check_window_block,
    combine,
    cut_entries,
    describe_chunk,
    pack_chunk,
    unpack_chunk,
)
from ledger.state_proof import hash_key, hash_value
from ledger.state_tree import StateTree
from node.core.snapshot_keeper import SnapshotKeeper
from node.storage import snapshot_maker
from node.storage.snapshot_maker import Made, Unhurried, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import FREE_BYTES_MIN, Store
from tests import chain
from tests.unit.state_model import MemoryTiles
from tests.unit.test_store import GENESIS, STATE, grow, sealed_block

EXPIRY_MS = GENESIS.parameters.expiry_max_ms


class Busy:
    """A chain that goes on while its snapshot is made: a block at some of the maker's rests."""

    def __init__(self, store: Store, random: Random, every: int = 3) -> None:
        self.store, self.random, self.every, self.rests = store, random, every, 0
        self.reached: dict[bytes, bytes] = {}

    def rest(self, worked_s: float) -> None:
        """Seal a block now and then."""
        self.rests += 1
        if self.rests % self.every == 0:
            self.seal()

    def reach(self, height: int) -> None:
        """Seal blocks up to a height."""
        while self.height < height:
            self.seal()
        with self.store.snapshot() as snapshot:
            self.reached = dict(snapshot.scan(b""))

    @property
    def height(self) -> int:
        """Of the store."""
        with self.store.snapshot() as snapshot:
            return snapshot.height

    def seal(self) -> None:
        """A block that puts, changes and deletes entries."""
        changes: dict[bytes, bytes | None] = {}
        for _ in range(40):
            key = b"key %d" % self.random.randrange(3_000)
            changes[key] = None if self.random.random() < 0.3 else self.random.randbytes(self.random.randrange(60))
        self.store.write([sealed_block(self.store, [chain.transaction(str(self.height))], changes)])


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of a kilobyte, so that small states have many."""
    make_small(monkeypatch)


def make_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the bounds of chunks."""
    for module in (snapshot_module, snapshot_maker):
        monkeypatch.setattr(module, "CHUNK_BYTES_TARGET", 1_000)
    monkeypatch.setattr(snapshot_maker, "BUCKET_ENTRIES", 100)
    monkeypatch.setattr(snapshot_maker, "SLICE_ENTRIES", 100)


def make(path: Any, seed: int = 1, height: int | None = None) -> tuple[Store, Snapshots, Made | None, Busy]:
    """A store with some thousand entries, and a snapshot that was made while blocks were sealed."""
    random = Random(seed)
    state = {b"key %d" % number: random.randbytes(random.randrange(60)) for number in range(2_000)}
    store = Store(path / "ledger", GENESIS, state, map_bytes=1 << 28)
    busy = Busy(store, random)
    busy.seal()
    snapshots = Snapshots(path / "snapshots")
    return store, snapshots, make_snapshot(store, snapshots, busy, height), busy


def read(snapshots: Snapshots, height: int) -> tuple[Manifest, dict[bytes, bytes]]:
    """A snapshot's manifest, and its state from chunks that are all proven."""
    raw = snapshots.manifest(height)
    assert raw is not None
    manifest = decode(Manifest, raw)
    state: dict[bytes, bytes] = {}
    for place in check_manifest(manifest, EXPIRY_MS):
        if not place.empty:
            data = snapshots.chunk(height, place.index)
            assert data is not None
            state |= dict(unpack_chunk(place, data))
    return manifest, state


def test_F13_a_snapshot_holds_the_state_of_its_height_though_blocks_were_sealed_meanwhile(tmp_path, small_chunks):
    store, snapshots, made, busy = make(tmp_path, height=30)
    assert made is not None
    assert snapshots.heights() == [30]
    assert not list(tmp_path.glob("snapshots/new-*"))
    manifest, state = read(snapshots, 30)
    with store.snapshot() as snapshot:
        assert snapshot.height > 30, "the chain went on meanwhile"
        assert state == busy.reached
        assert manifest.first == 1
        for height in range(1, 31):
            sealed = snapshot.sealed(height)
            assert sealed is not None
            check_window_block(manifest, height, sealed, snapshot.transactions(height))
    assert made.entries == len(state)
    assert made.chunks == len(manifest.shape) > 50
    store.close()


def test_F13_a_walk_that_takes_longer_than_the_chain_makes_no_snapshot(tmp_path, small_chunks):
    store, snapshots, made, _ = make(tmp_path, height=3)
    assert made is None
    assert snapshots.heights() == []
    store.close()


def test_F13_the_newest_height_is_taken_on_demand(tmp_path, small_chunks):
    store, snapshots, made, _ = make(tmp_path)
    assert made is not None
    assert snapshots.heights() == [made.height]
    read(snapshots, made.height)
    store.close()


def test_F13_the_first_block_has_a_snapshot_without_a_window(tmp_path):
    store = Store(tmp_path / "ledger", GENESIS, {b"key": b"value"}, map_bytes=1 << 26)
    busy = Busy(store, Random(1), every=1_000)
    busy.seal()
    snapshots = Snapshots(tmp_path / "snapshots")
    assert make_snapshot(store, snapshots, busy, None) is not None
    manifest, _ = read(snapshots, 1)
    assert (manifest.first, manifest.window, manifest.oldest) == (1, b"", b"")
    store.close()


@pytest.mark.parametrize("left", [True, False])
def test_F13_one_entry_beside_an_empty_half_keeps_its_hash(left):
    one = hash_value(b"the only leaf")
    roots = (one, ZERO_HASH) if left else (ZERO_HASH, one)
    assert combine([Place(at, 1, at, root, many=False) for at, root in enumerate(roots)]) == one


def test_F13_two_newest_snapshots_are_kept(tmp_path):
    snapshots = Snapshots(tmp_path)
    for height in (8, 16, 24):
        snapshots.publish(snapshots.draft(height), height)
        snapshots.keep(2)
    assert snapshots.heights() == [24, 16]


def test_F13_nothing_to_snapshot_at_genesis(tmp_path):
    store = Store(tmp_path / "ledger", GENESIS, {}, map_bytes=1 << 28)
    with pytest.raises(ClientError, match="snapshot-none"):
        make_snapshot(store, Snapshots(tmp_path / "s"), Unhurried())
    store.close()


class Filling(Unhurried):
    """The pace of a maker whose disk others fill: `free` is what is left after each of its rests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *free: int) -> None:
        self.free = list(free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=self.free[0]))

    def rest(self, worked_s: float) -> None:
        """Others write."""
        if len(self.free) > 1:
            del self.free[0]


def test_F13_a_snapshot_leaves_the_room_that_votes_need(tmp_path, monkeypatch):
    """It is given up, before or while it is made, and nothing of it stays."""
    store = Store(tmp_path / "ledger", GENESIS, STATE, map_bytes=1 << 28)
    grow(store, 20)
    snapshots, least = Snapshots(tmp_path / "s"), 2 * FREE_BYTES_MIN
    with store.snapshot() as snapshot:
        size = snapshot.bytes_used()["state"]
    for free in ((least + size - 1,), (least + size, least - 1)):
        with monkeypatch.context() as patch, pytest.raises(ClientError, match="disk-full"):
            make_snapshot(store, snapshots, Filling(patch, *free))
        assert not list(snapshots.path.iterdir())
    with monkeypatch.context() as patch:
        said = []
        log: Any = SimpleNamespace(warning=lambda event, **fields: said.append((event, fields["code"])))
        Filling(patch, least)
        assert SnapshotKeeper(store, snapshots, 20, lambda error: None, log)._make(20) is None
        assert said == [("snapshot_not_made", "disk-full")]
    assert make_snapshot(store, snapshots, Filling(monkeypatch, least + size, least))
    assert snapshots.heights() == [20]
    store.close()


states = st.dictionaries(st.binary(min_size=1, max_size=6), st.binary(max_size=40), max_size=60)


def whole_cut(state: dict[bytes, bytes], target: int) -> Manifest:
    """A manifest with nothing but the cut of a state, made in one go from the top."""
    entries = sorted(state.items(), key=lambda entry: hash_key(entry[0]))
    shape, roots, at = bytearray(), bytearray(), 0
    for depth, piece in cut_entries(entries, [hash_key(key) for key, _ in entries], 0):
        byte, root = describe_chunk(depth, piece, [hash_key(key) for key, _ in piece])
        shape.append(byte)
        roots += root
        at += len(piece)
    sealed = chain.seal(chain.block(GENESIS, 1), chain.result(GENESIS, chain.block(GENESIS, 1)), [], [])
    return Manifest(sealed, Mmr(), b"", b"", bytes(shape), bytes(roots))


@settings(max_examples=150, deadline=None)
@given(states, st.integers(20, 200), st.integers(0, 4))
def test_F13_a_cut_follows_from_the_content_and_gives_its_root(state, target, bits):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshot_module, "CHUNK_BYTES_TARGET", target)
        patch.setattr(snapshot_maker, "CHUNK_BYTES_TARGET", target)
        patch.setattr(snapshot_maker, "write_durably", lambda path, data: None)
        cut = whole_cut(state, target)
        assert combine(cut.places()) == StateTree(MemoryTiles()).apply(state).root
        draft: Any = MemoryFolder()
        chunks = snapshot_maker._Chunks(draft, bits)
        for bucket in range(1 << bits):
            found = [(hash_key(key), (key, value)) for key, value in state.items()]
            chunks.add(bucket, sorted(one for one in found if int.from_bytes(one[0], "big") >> (256 - bits) == bucket))
        assert (bytes(chunks.shape), bytes(chunks.roots)) == (cut.shape, cut.roots)


class MemoryFolder:
    """A folder that nothing is written to."""

    def __truediv__(self, name: str) -> str:
        return name


# ── lies ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """A snapshot."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, made, _ = make(tmp_path_factory.mktemp("honest"))
        store.close()
        assert made is not None
        manifest, _ = read(snapshots, made.height)
    return snapshots, manifest


LIES: dict[str, tuple[str, Callable[[bytes, bytes], bytes]]] = {
    "nothing": ("chunk-malformed", lambda data, other: b""),
    "truncated": ("chunk-malformed", lambda data, other: data[:-1]),
    "with more behind": ("chunk-malformed", lambda data, other: data + b"\0"),
    "noise": ("chunk-malformed", lambda data, other: b"\x07" * 100),
    "not entries": ("chunk-malformed", lambda data, other: zlib.compress(b"\xc1")),
    "another chunk": ("chunk-forged", lambda data, other: other),
    "an entry less": ("chunk-forged", lambda data, other: pack_chunk(entries_of(data)[1:])),
    "an entry twice": ("chunk-malformed", lambda data, other: pack_chunk(entries_of(data) + entries_of(data)[-1:])),
    "out of order": ("chunk-malformed", lambda data, other: pack_chunk(entries_of(data)[::-1])),
    "a forged value": (
        "chunk-forged",
        lambda data, other: pack_chunk([(entries_of(data)[0][0], b"1000000"), *entries_of(data)[1:]]),
    ),
    "zip bomb": ("chunk-malformed", lambda data, other: zlib.compress(bytes(8 * CHUNK_BYTES_MAX))),
    "longer than a cut": ("chunk-malformed", lambda data, other: pack_chunk(too_long())),
    "a million entries": ("chunk-malformed", lambda data, other: pack_chunk([(b"k", b"")] * 1_000_000)),
}


def too_long() -> list[tuple[bytes, bytes]]:
    """Entries that fit into a message, and not into a subtree that is not cut."""
    return [(b"k", bytes(100))] * (snapshot_module.CHUNK_BYTES_TARGET // 100 + 2)


def entries_of(data: bytes) -> list[Any]:
    """Entries of a chunk, unproven."""
    return list(decode(tuple[tuple[bytes, bytes], ...], zlib.decompress(data)))


@pytest.mark.parametrize("lie", LIES)
def test_F13_a_chunk_that_does_not_prove_is_refused(honest, lie):
    snapshots, manifest = honest
    code, forge = LIES[lie]
    first, second = [place for place in manifest.places() if place.many][:2]
    height = manifest.header.height
    data, other = snapshots.chunk(height, first.index), snapshots.chunk(height, second.index)
    with pytest.raises(PeerError, match=code):
        unpack_chunk(first, forge(data, other))


MANIFEST_LIES: dict[str, tuple[str, Callable[[Manifest], Manifest]]] = {
    "a chunk less": ("snapshot-cut", lambda m: replace(m, shape=m.shape[:-1], roots=m.roots[:-32])),
    "a chunk more": ("snapshot-cut", lambda m: replace(m, shape=m.shape + m.shape[-1:], roots=m.roots + m.roots[-32:])),
    "roots missing": ("snapshot-cut", lambda m: replace(m, roots=m.roots[:-32])),
    "no chunk": ("snapshot-cut", lambda m: replace(m, shape=b"", roots=b"")),
    "another depth": ("snapshot-cut", lambda m: replace(m, shape=bytes([m.shape[0] + 1]) + m.shape[1:])),
    "roots swapped": ("snapshot-root", lambda m: replace(m, roots=m.roots[32:64] + m.roots[:32] + m.roots[64:])),
    "many as one": ("snapshot-root", lambda m: one_less(m)),
    "a shorter window": ("snapshot-window", lambda m: replace(m, window=m.window[64:])),
    "a later window": ("snapshot-window", lambda m: later_window(m)),
    "a ragged window": ("snapshot-window", lambda m: replace(m, window=m.window[:-1])),
    "forged results": ("snapshot-window", lambda m: replace(m, window=m.window[:32] + bytes(32) + m.window[64:])),
    "forged peaks": ("snapshot-window", lambda m: replace(m, history=Mmr(1, (bytes(32),)), window=m.window[64:])),
    "another oldest header": ("snapshot-window", lambda m: replace(m, oldest=m.sealed.header)),
}


def one_less(manifest: Manifest) -> Manifest:
    """A single entry beside nothing, called many: its hash would stay where an inner one belongs."""
    root = manifest.roots[:32]
    at = manifest.shape[0] & 0x7F
    shape = bytes([at + 1, at + 1]) + manifest.shape[1:]
    return replace(
        manifest, shape=bytes([shape[0] | 0x80, shape[1]]) + shape[2:], roots=root + bytes(32) + manifest.roots[32:]
    )


def later_window(manifest: Manifest) -> Manifest:
    """A true window that leaves out the oldest blocks."""
    ranges = list(manifest.ranges())
    _, history, _ = ranges[5]
    return replace(manifest, history=history, window=manifest.window[5 * 64 :], oldest=b"")


@pytest.mark.parametrize("lie", MANIFEST_LIES)
def test_F13_a_manifest_that_does_not_prove_is_refused(honest, lie):
    code, forge = MANIFEST_LIES[lie]
    with pytest.raises(PeerError, match=code):
        check_manifest(forge(honest[1]), EXPIRY_MS)


def test_F13_a_window_that_is_true_but_too_short_is_refused(tmp_path, small_chunks):
    """Else a joiner would execute what all others refuse as seen."""
    store, snapshots, made, _ = make(tmp_path)
    assert made is not None
    manifest, _ = read(snapshots, made.height)
    height, history, _ = list(manifest.ranges())[5]
    with store.snapshot() as snapshot:
        sealed = snapshot.sealed(height)
    store.close()
    assert sealed is not None
    cut = replace(manifest, history=history, window=manifest.window[5 * 64 :], oldest=sealed.header)
    with pytest.raises(PeerError, match="too late for the replay window"):
        check_manifest(cut, EXPIRY_MS)
    check_manifest(cut, 0)


def test_F13_a_window_block_with_other_bytes_is_refused(tmp_path, small_chunks):
    store, snapshots, made, _ = make(tmp_path)
    assert made is not None
    manifest, _ = read(snapshots, made.height)
    with store.snapshot() as snapshot:
        sealed, raws = snapshot.sealed(2), snapshot.transactions(2)
        other = snapshot.sealed(3)
    store.close()
    assert sealed is not None
    assert other is not None
    forged = [(sealed, raws[:-1]), (sealed, (*raws, raws[0])), (sealed, (b"x",) * len(raws))]
    forged += [(replace(sealed, header=other.header), raws), (replace(sealed, result=other.result), raws)]
    for one, with_raws in forged:
        with pytest.raises(PeerError, match="block-forged"):
            check_window_block(manifest, 2, one, with_raws)
    with pytest.raises(PeerError, match="block-forged"):
        check_window_block(manifest, 3, sealed, raws)
    check_window_block(manifest, 2, sealed, raws)
