"""Joining by snapshot: any number of donors may lie in any way, each is named, and one honest one is enough."""

import heapq
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from consensus.messages import (
    FetchBlocks,
    FetchChunk,
    FetchManifest,
    HistoryBegins,
    Message,
    SealedBlock,
    SealedBlocks,
    SnapshotChunk,
    SnapshotManifest,
    Status,
    decode_message,
)
from ledger.block import Vote
from ledger.codec import decode, encode
from ledger.mmr import Mmr
from ledger.snapshot import CHUNK_BYTES_MAX, Manifest, pack_chunk, unpack_chunk
from node.core.donor import Donor
from node.join.actions import Ask, Begin, Drop, Finish, GiveUp, Keep, Replay, block_piece, chunk_piece
from node.join.plan import JoinPlan
from node.join.trust import Pin
from node.storage.store import Store
from tests.unit.test_snapshot import make, make_small, read
from tests.unit.test_store import GENESIS

BOMB = zlib.compress(bytes(4 * CHUNK_BYTES_MAX))
Answer = tuple[Message | None, int]
"""A donor's message, or None, and after how many ms it comes."""
HOUR_MS = 3_600_000


class Honest:
    """A member with the ledger: answers as the real donor does."""

    def __init__(self, store: Store, donor: Donor) -> None:
        self.store, self.donor = store, donor

    def __call__(self, asked: Any) -> Answer:
        if not isinstance(asked, FetchBlocks):
            return decode_message(self.donor.answer(asked)), 20
        with self.store.snapshot() as snapshot:
            blocks = [
                SealedBlock(sealed, snapshot.transactions(height))
                for height in range(asked.first, asked.last + 1)
                if (sealed := snapshot.sealed(height))
            ]
        return SealedBlocks(tuple(blocks), ()), 20


@pytest.fixture(scope="module")
def honest(tmp_path_factory) -> Iterator[Honest]:
    """A member whose snapshot has some fifty chunks."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, made, _ = make(tmp_path_factory.mktemp("honest"))
        assert made is not None
        nobody: Any = None
        donor = Donor(store, snapshots, nobody, nobody, nobody)
        yield Honest(store, donor)
        donor.close()
        store.close()


Liar = Callable[[Honest], Callable[[Any], Answer]]


def lie(kind: type[Any], forge: Callable[[Any, Honest, Any], Any]) -> Liar:
    """A donor that is honest but for its answers of one kind."""

    def made(honest: Honest) -> Callable[[Any], Answer]:
        def answer(asked: Any) -> Answer:
            message, delay_ms = honest(asked)
            return (forge(message, honest, asked) if isinstance(message, kind) else message), delay_ms

        return answer

    return made


def manifest_lie(forge: Callable[[Manifest], Manifest]) -> Liar:
    """A donor with a forged manifest."""
    return lie(SnapshotManifest, lambda message, *_: SnapshotManifest(forge(message.manifest)))


def chunk_lie(forge: Callable[[bytes], bytes]) -> Liar:
    """A donor with forged chunks."""
    return lie(SnapshotChunk, lambda message, *_: replace(message, data=forge(message.data)))


def entries(data: bytes) -> list[tuple[bytes, bytes]]:
    """Of a chunk, unproven."""
    return list(decode(tuple[tuple[bytes, bytes], ...], zlib.decompress(data)))


def swapped(message: SnapshotChunk, honest: Honest, asked: FetchChunk) -> SnapshotChunk:
    """Another chunk in the place of the one asked for."""
    other, _ = honest(replace(asked, index=asked.index ^ 1))
    assert isinstance(other, SnapshotChunk)
    return replace(message, data=other.data or zlib.compress(b"\x90"))


def slowly(delay_ms: int) -> Liar:
    """A donor whose answers are true, and late."""
    return lambda honest: lambda asked: (honest(asked)[0], delay_ms)


NAMED: dict[str, tuple[set[str], Liar]] = {
    "truncated chunks": ({"chunk-malformed"}, chunk_lie(lambda data: data[: len(data) // 2])),
    "noise": ({"chunk-malformed"}, chunk_lie(lambda data: b"\x00" * 50)),
    "zip bomb": ({"chunk-malformed"}, chunk_lie(lambda data: BOMB)),
    "forged values": (
        {"chunk-forged"},
        # Of the same length: a full chunk that grows is malformed.
        chunk_lie(lambda data: pack_chunk([(key, bytes(b ^ 1 for b in value)) for key, value in entries(data)])),
    ),
    "an entry left out": ({"chunk-forged"}, chunk_lie(lambda data: pack_chunk(entries(data)[:-1]))),
    "swapped chunks": ({"chunk-forged"}, lie(SnapshotChunk, swapped)),
    "another height's chunks": ({"join-mute"}, lie(SnapshotChunk, lambda m, *_: replace(m, height=m.height + 1))),
    "another index": ({"join-mute"}, lie(SnapshotChunk, lambda m, *_: replace(m, index=m.index + 1))),
    "forged roots": ({"snapshot-root"}, manifest_lie(lambda m: replace(m, roots=m.roots[32:] + m.roots[:32]))),
    "forged seal": (
        {"seal-forged"},
        manifest_lie(
            lambda m: replace(m, sealed=replace(m.sealed, seal=tuple(Vote(v.voter, bytes(64)) for v in m.sealed.seal)))
        ),
    ),
    "too few votes": (
        {"seal-short"},
        manifest_lie(lambda m: replace(m, sealed=replace(m.sealed, seal=m.sealed.seal[:-1]))),
    ),
    "forged peaks": (
        {"snapshot-window"},
        manifest_lie(lambda m: replace(m, history=Mmr(1, (bytes(32),)), window=m.window[64:])),
    ),
    "another chain": (
        {"encoding-malformed", "seal-mismatch"},
        manifest_lie(lambda m: replace(m, sealed=replace(m.sealed, result=m.sealed.header))),
    ),
    "unknown set": ({"hand-overs-missing"}, manifest_lie(lambda m: other_set(m))),
    "forged bodies": (
        {"block-forged"},
        lie(SealedBlocks, lambda m, *_: SealedBlocks(tuple(replace(b, transactions=()) for b in m.blocks), ())),
    ),
    "other heights' blocks": (
        {"block-forged", "join-mute"},
        lie(SealedBlocks, lambda m, *_: SealedBlocks(m.blocks[::-1], ())),
    ),
    "mute": ({"join-mute"}, lambda honest: lambda asked: (None, 0)),
    "mute with chunks": ({"join-mute"}, lie(SnapshotChunk, lambda *_: None)),
    "nonsense": ({"join-mute"}, lambda honest: lambda asked: (Status(1, 1, 0), 10)),
}
HARMLESS: dict[str, Liar] = {
    "slow": slowly(9_000),
    "no snapshot": lie(SnapshotManifest, lambda *_: SnapshotManifest(None)),
    "chunks it has no more": chunk_lie(lambda data: b""),
    "pruned blocks": lie(SealedBlocks, lambda *_: HistoryBegins(1_000)),
    "fast": slowly(1),
}


def other_set(manifest: Manifest) -> Manifest:
    """Sealed by nobody knows whom."""
    header = replace(manifest.header, set_hash=bytes(32))
    return replace(manifest, sealed=replace(manifest.sealed, header=encode(header)))


class World:
    """The plan among its donors, with a clock of its own."""

    def __init__(
        self,
        donors: dict[str, Callable[[Any], Answer]],
        pin: Pin | None = None,
        wanted: int = 0,
        peers: frozenset[str] | None = None,
        floor: int = 0,
    ) -> None:
        """`peers` are those of the settings, all donors if None."""
        self.plan = JoinPlan(GENESIS, pin, frozenset(donors) if peers is None else peers, wanted, floor)
        self.donors = donors
        self.now_ms = 1_000
        self.kept: dict[str, bytes] = {}
        self.dropped: dict[str, str] = {}
        self.asked: list[tuple[str, Any]] = []
        self.begun: list[int] = []
        self.end: Any = None
        self._coming: list[tuple[int, int, str, Message]] = []

    def run(self, until_ms: int = HOUR_MS) -> Any:
        """Until the plan ends; the action that it ends with."""
        for name in self.donors:
            self.perform(self.plan.peer_up(name, self.now_ms))
        while self.end is None and self.now_ms < until_ms:
            self.turn()
        return self.end

    def turn(self) -> None:
        """The next message, or the next tick; nothing behind the end."""
        if self.end is not None:
            return
        if self._coming and self._coming[0][0] <= self.now_ms + 50:
            at_ms, _, name, message = heapq.heappop(self._coming)
            self.now_ms = max(self.now_ms, at_ms)
            self.perform(self.plan.hear(name, message, self.now_ms))
        else:
            self.now_ms += 50
            self.perform(self.plan.tick(self.now_ms))

    def perform(self, actions: list[Any]) -> None:
        """Do what the plan wants."""
        for action in actions:
            assert self.end is None, "nothing comes behind the end"
            if isinstance(action, Ask):
                assert action.peer not in self.dropped, "a liar is asked no more"
                self.asked.append((action.peer, action.message))
                message, delay_ms = self.donors[action.peer](action.message)
                if message is not None:
                    heapq.heappush(self._coming, (self.now_ms + delay_ms, len(self.asked), action.peer, message))
            elif isinstance(action, Drop):
                self.dropped[action.peer] = action.code
            elif isinstance(action, Begin):
                self.begun.append(action.offer.height)
            elif isinstance(action, Keep):
                assert action.piece not in self.kept
                self.kept[action.piece] = action.data
            elif isinstance(action, Finish | Replay | GiveUp):
                self.end = action

    def state(self) -> dict[bytes, bytes]:
        """The state that the pieces give; all pieces are there."""
        found: dict[bytes, bytes] = {}
        offer = self.end.offer
        for place in offer.places:
            if not place.empty:
                found |= dict(unpack_chunk(place, self.kept[chunk_piece(place.index)]))
        for height in range(offer.manifest.first, offer.height + 1):
            decode(SealedBlock, self.kept[block_piece(height)])
        return found


def truth(honest: Honest) -> dict[bytes, bytes]:
    """The state of the snapshot."""
    snapshots = honest.donor._snapshots
    return read(snapshots, snapshots.heights()[0])[1]


@pytest.mark.parametrize("name", NAMED)
def test_F13_a_liar_is_named_and_an_honest_donor_is_enough(honest, name):
    codes, liar = NAMED[name]
    world = World({"A liar": liar(honest), "Honest": honest, "Zeal": liar(honest)})
    end = world.run()
    assert isinstance(end, Finish)
    assert world.state() == truth(honest)
    assert "Honest" not in world.dropped
    assert set(world.dropped.values()) <= codes
    assert world.dropped or "join-mute" in codes, "the mute may be overtaken before they are given up"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(NAMED | HARMLESS)), min_size=1, max_size=6),
    st.integers(0, 6),
)
def test_F13_whatever_they_do_the_join_succeeds_with_one_honest_donor(honest, others, at):
    behaviours = [(name, NAMED[name][1] if name in NAMED else HARMLESS[name]) for name in others]
    donors = {f"{number} {name}": liar(honest) for number, (name, liar) in enumerate(behaviours)}
    donors = dict(sorted([*donors.items(), (f"{at} honest", honest)]))
    world = World(donors)
    assert isinstance(world.run(), Finish), (world.dropped, world.plan.missing)
    assert world.state() == truth(honest)
    for name, code in world.dropped.items():
        lies = name.partition(" ")[2]
        assert lies in NAMED, "nobody is named for being slow, or for having nothing"
        assert code in NAMED[lies][0], (lies, code)


@pytest.mark.parametrize("name", NAMED)
def test_F13_nobody_but_liars_ends_the_join_with_all_of_them_named(honest, name):
    liar = NAMED[name][1]
    end = (world := World({"A": liar(honest), "B": liar(honest)})).run()
    assert isinstance(end, GiveUp)
    assert set(world.dropped) == {"A", "B"}
    assert all(name in end.reason for name in "AB")


def test_F13_donors_share_the_work(honest):
    world = World(dict.fromkeys("ABC", honest))
    world.run()
    chunks = [peer for peer, asked in world.asked if isinstance(asked, FetchChunk)]
    pieces = {asked.index for _, asked in world.asked if isinstance(asked, FetchChunk)}
    assert len(chunks) == len(pieces), "nothing is fetched twice"
    assert all(chunks.count(name) > len(chunks) // 4 for name in "ABC")


def test_F13_what_a_slow_donor_was_asked_for_is_asked_of_an_idle_one(honest):
    world = World({"Honest": honest, "Slow": HARMLESS["slow"](honest)})
    assert isinstance(world.run(until_ms=30_000), Finish)
    assert world.now_ms < 9_000 + 9_000 + 3_000
    assert world.dropped == {}


def test_F13_an_interrupted_join_goes_on_with_what_is_here(honest):
    first = World({"A": honest})
    assert isinstance(first.run(), Finish)
    chunks = [piece for piece in first.kept if piece.startswith("chunk")]
    blocks = [piece for piece in first.kept if piece.startswith("block")]
    kept = {piece: first.kept[piece] for piece in chunks[:20] + blocks[:3]}
    kept[chunks[0]] = kept[chunks[1]]
    kept[blocks[0]] = b"torn"
    kept[blocks[1]] = kept[blocks[2]]
    kept["manifest-7"] = b""
    second = World({"A": honest}, wanted=first.begun[0])
    original = second.perform

    def perform(actions: list[Any]) -> None:
        original(actions)
        if any(isinstance(action, Begin) for action in actions):
            second.plan.have(kept.items())

    second.perform = perform  # type: ignore[method-assign]
    assert isinstance(second.run(), Finish)
    fetched = {chunk_piece(asked.index) for _, asked in second.asked if isinstance(asked, FetchChunk)}
    assert chunks[0] in fetched, "what does not prove is fetched again"
    assert not fetched & set(chunks[1:20])
    assert {blocks[0], blocks[1]} <= set(second.kept)
    assert second.asked[0] == ("A", FetchManifest(first.begun[0]))


def test_F13_a_donor_that_goes_is_replaced_and_may_come_again(honest):
    world = World({"A": honest, "B": honest})
    for name in world.donors:
        world.perform(world.plan.peer_up(name, world.now_ms))
    while len(world.kept) < 10:
        world.turn()
    world.perform(world.plan.peer_down("A", world.now_ms))
    world.perform(world.plan.peer_down("B", world.now_ms))
    for _ in range(200):
        world.turn()
    assert world.end is None
    world.perform(world.plan.peer_up("B", world.now_ms))
    for _ in range(2_000):
        world.turn()
    assert world.state() == truth(honest)
    assert world.begun == [world.begun[0]]
