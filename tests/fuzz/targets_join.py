"""What a donor sends to a node that joins, and what such a node asks a donor."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from consensus.messages import (
    Ancestor,
    FetchAncestor,
    FetchBlocks,
    FetchChunk,
    FetchHandOvers,
    FetchManifest,
    HandOvers,
    HistoryBegins,
    Joining,
    SealedBlock,
    SealedBlocks,
    SnapshotChunk,
    SnapshotManifest,
    decode_message,
)
from ledger.block import header_hash
from ledger.codec import decode, encode
from ledger.snapshot import Manifest, check_manifest, check_window_block, unpack_chunk
from node.core.donor import Donor
from node.join.actions import Action, Ask, Begin, Finish, Keep, Replay
from node.join.plan import JoinPlan
from node.join.trust import Pin
from node.storage.snapshot_maker import Unhurried, make_snapshot
from node.storage.snapshots import Snapshots
from node.storage.store import Store
from tests.device_chain import DeviceChain, validator_set
from tests.fuzz.engine import Target, unguarded
from tests.fuzz.targets import target
from tests.unit.test_join_plan import Honest
from tests.unit.test_snapshot import EXPIRY_MS, make, make_small

HEIGHT = 30
MINUTE_MS = 60_000


@contextmanager
def small_snapshot(folder: Path) -> Iterator[tuple[Store, Snapshots, bytes]]:
    """A member's store and its snapshot of many chunks, with the encoded manifest."""
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        store, snapshots, _, _ = make(folder, height=HEIGHT)
        yield store, snapshots, snapshots.manifest(HEIGHT) or b""
        store.close()


@target("ledger.snapshot.check_manifest")
def snapshot_manifests(folder: Path) -> Iterator[Target]:
    """The list of a snapshot's chunks and blocks."""
    with small_snapshot(folder) as (_, _, raw):
        yield Target(lambda data: check_manifest(decode(Manifest, data), EXPIRY_MS), [raw], iterations=600)


@target("ledger.snapshot.unpack_chunk")
def snapshot_chunks(folder: Path) -> Iterator[Target]:
    """A chunk: what the sealed state holds there, or nothing."""
    with small_snapshot(folder) as (_, snapshots, raw):
        places = check_manifest(decode(Manifest, raw), EXPIRY_MS)
        place = next(place for place in places if not place.empty)
        truth = snapshots.chunk(HEIGHT, place.index) or b""
        entries = unpack_chunk(place, truth)

        def parse(data: bytes) -> None:
            assert unpack_chunk(place, data) == entries

        yield Target(parse, [truth])


@target("ledger.snapshot.check_window_block")
def window_blocks(folder: Path) -> Iterator[Target]:
    """A block of the replay window."""
    with small_snapshot(folder) as (store, _, raw):
        manifest = decode(Manifest, raw)
        with store.snapshot() as snapshot:
            sealed, raws = snapshot.sealed(HEIGHT - 1), snapshot.transactions(HEIGHT - 1)
        assert sealed is not None
        truth = SealedBlock(sealed, raws)

        def parse(data: bytes) -> None:
            block = decode(SealedBlock, data)
            check_window_block(manifest, HEIGHT - 1, block.sealed, block.transactions)
            assert (block.sealed.header, block.transactions) == (sealed.header, raws)

        yield Target(parse, [encode(truth)])


# ── a join ────────────────────────────────────────────────────────────────────────────────────────────────────────────

ANSWERED: dict[type[Any], type[Any]] = {
    SnapshotManifest: FetchManifest,
    HandOvers: FetchHandOvers,
    Ancestor: FetchAncestor,
    SnapshotChunk: FetchChunk,
    SealedBlocks: FetchBlocks,
    HistoryBegins: FetchBlocks,
}
"""What a message may be the answer to."""


class History:
    """An hour of a chain, its set changed twice before the window of its snapshot; and a true donor of it."""

    def __init__(self, folder: Path) -> None:
        self.chain = chain = DeviceChain(folder, n=5)
        self.sets = [validator_set(chain.names), validator_set(chain.names[:4], 1), validator_set(chain.names, 2)]
        for height in range(1, HEIGHT + 1):
            tx = chain.call("d0", "money", "pay", to=chain.set.validators[0].company_key, amount_fen=1, memo=0)
            next_set = {9: self.sets[1], 15: self.sets[2]}.get(height)
            chain.seal(tx, at_ms=chain.now_ms + 2 * MINUTE_MS, next_set=next_set)
        snapshots = Snapshots(folder / "snapshots")
        assert make_snapshot(chain.store, snapshots, Unhurried())
        nobody: Any = None
        self.donor = Donor(chain.store, snapshots, nobody, nobody, nobody)
        self.answer = cache(Honest(chain.store, self.donor))
        with chain.store.snapshot() as snapshot:
            sealed = snapshot.sealed(3)
        assert sealed is not None
        self.pin = Pin(3, header_hash(sealed.header))
        self.asked: dict[type[Any], Any] = {}
        """The first request of each kind in a true join."""
        self.kept: dict[str, Keep] = {}
        """The pieces of a true join."""
        for action in self.join(None)[1]:
            if isinstance(action, Ask):
                self.asked.setdefault(type(action.message), action.message)
            elif isinstance(action, Keep):
                self.kept[action.piece] = action
            elif isinstance(action, Finish):
                self.offer = action.offer

    def join(self, until: type[Any] | None) -> tuple[JoinPlan, list[Action]]:
        """A join from the donor A alone, until it asks for such a thing or to its end; and all that was to be done."""
        plan = JoinPlan(self.chain.genesis, self.pin, frozenset("A"), 0)
        done = plan.peer_up("A", 0)
        while isinstance(ask := done[-1], Ask) and not (until and isinstance(ask.message, until)):
            message, _ = self.answer(ask.message)
            assert message is not None
            done += plan.hear("A", message, 0)
        return plan, done

    def close(self) -> None:
        """Close the files."""
        self.donor.close()
        self.chain.close()


def content(kept: Keep) -> object:
    """What a piece says: its compression and the choice of votes in its seal are the donor's."""
    if kept.piece.startswith("chunk"):
        return zlib.decompress(kept.data)
    block = decode(SealedBlock, kept.data)
    return block.sealed.header, block.sealed.result, block.transactions


@target("node.core.donor.Donor.answer")
def joining_requests(folder: Path) -> Iterator[Target]:
    """What a node that joins may ask a donor: whatever it is, there is an answer."""
    history = History(folder)

    def parse(data: bytes) -> None:
        message = decode_message(data)
        if isinstance(message, FetchManifest | FetchChunk | FetchHandOvers | FetchAncestor):
            with unguarded():
                assert isinstance(decode_message(history.donor.answer(message)), Joining)

    samples = [encode(request) for request in history.asked.values()]
    # The answers to a few bytes have some ten kilobytes.
    yield Target(parse, samples, iterations=1_000, memory_fixed=1 << 20)
    history.close()


@target(
    "node.join.plan.JoinPlan.hear",
    "node.join.plan.JoinPlan._take_blocks",
    "node.join.trust.Trust.follow",
    "node.join.trust.Trust.prove",
    "node.join.trust.Trust.check_ancestor",
)
def joining_answers(folder: Path) -> Iterator[Target]:
    """What a donor may say to whoever joins, when it was asked just that: true, or of no effect."""
    history = History(folder)

    def parse(data: bytes) -> None:
        message = decode_message(data)
        plan, _ = history.join(ANSWERED.get(type(message), FetchManifest))
        with unguarded():
            for action in plan.hear("A", message, 0):
                assert not isinstance(action, Replay)
                if isinstance(action, Begin | Finish):
                    assert action.offer.key == history.offer.key
                    assert (
                        not isinstance(message, Ancestor) or message == history.answer(history.asked[FetchAncestor])[0]
                    )
                elif isinstance(action, Keep):
                    assert content(action) == content(history.kept[action.piece])
            assert plan.trust.sets == history.sets[: len(plan.trust.sets)]

    samples = [encode(history.answer(request)[0]) for request in history.asked.values()]
    samples.append(encode(HistoryBegins(7)))
    yield Target(parse, samples, iterations=1_000, memory_fixed=1 << 20)
    history.close()


@target("node.join.plan.JoinPlan.have")
def kept_pieces(folder: Path) -> Iterator[Target]:
    """Pieces that an earlier attempt left on disk: used if they prove, else fetched again."""
    history = History(folder)
    samples = [kept.data for kept in history.kept.values()]

    def parse(data: bytes) -> None:
        plan, _ = history.join(FetchBlocks)
        for piece, kept in history.kept.items():
            missing = plan.missing
            with unguarded():
                plan.have([(piece, data)])
            assert plan.missing == missing or content(Keep(piece, data)) == content(kept)

    yield Target(parse, samples, iterations=150)
    history.close()
