"""A joiner that knows one block to be true believes no history without it."""

from typing import Any

from msgspec.structs import replace

from consensus.messages import Ancestor, FetchAncestor, SnapshotManifest
from ledger.block import header_hash
from ledger.mmr import MmrProof
from ledger.snapshot import Manifest
from node.join.actions import Finish, GiveUp
from node.join.plan import JoinPlan
from node.join.trust import Pin
from node.storage.store import Store
from tests.unit.test_join_plan import HARMLESS, Answer, Honest, World, honest, manifest_lie
from tests.unit.test_store import GENESIS

__all__ = ["honest"]  # the fixture


def pin(honest: Honest, height: int, true: bool = True) -> Pin:
    """A block that the operator knows."""
    with honest.store.snapshot() as snapshot:
        sealed = snapshot.sealed(height)
    assert sealed is not None
    return Pin(height, header_hash(sealed.header) if true else bytes(32))


def test_F13_a_history_without_the_trusted_block_is_refused(honest):
    assert isinstance(World({"A": honest}, pin(honest, 3)).run(), Finish)
    refused = World({"A": honest}, pin(honest, 3, true=False))
    assert isinstance(refused.run(), GiveUp)
    assert refused.dropped == {"A": "trust-other"}


def test_F13_a_snapshot_older_than_the_trusted_block_is_no_lie_and_not_taken(honest):
    height = honest.donor._snapshots.heights()[0]
    none = HARMLESS["no snapshot"](honest)
    for donors in ({"A": honest}, {"A": none, "B": none}, {"A": honest, "B": none}):
        world = World(donors, Pin(height + 1, bytes(32)))
        end = world.run()
        assert isinstance(end, GiveUp), "replay would check no trusted block"
        assert end.code == "trust-later"
        assert world.dropped == {}


def test_F13_a_snapshot_of_the_trusted_block_is_waited_for(honest):
    asked: list[Any] = []

    def later(request: Any) -> Answer:
        """A donor that has made its snapshot when it is asked for the third time."""
        asked.append(request)
        return (SnapshotManifest(None), 20) if len(asked) < 3 else honest(request)

    assert isinstance(World({"A": later}, pin(honest, 3)).run(), Finish)


def test_F13_a_trusted_block_before_the_window_is_shown_by_the_history(honest):
    height = honest.donor._snapshots.heights()[0]
    short = manifest_lie(lambda m: from_height(m, 5, honest.store))(honest)
    genesis = replace(GENESIS, parameters=replace(GENESIS.parameters, expiry_max_ms=0))
    for true, forge, kind in (
        (True, None, Finish),
        (False, None, GiveUp),
        (True, lambda m: replace(m, proof=MmrProof((bytes(32),))), GiveUp),
        (True, lambda m: Ancestor(m.of, b"", b"", MmrProof(())), GiveUp),
    ):

        def answer(asked: Any, forge: Any = forge) -> Answer:
            message, delay_ms = short(asked)
            return (forge(message) if forge and isinstance(message, Ancestor) else message), delay_ms

        world = World({"A": answer})
        world.plan = JoinPlan(GENESIS, pin(honest, 2, true), frozenset("A"), 0)
        world.plan.trust._genesis = genesis
        end = world.run()
        assert isinstance(end, kind), world.dropped
        assert ("A", FetchAncestor(2, height)) in world.asked


def from_height(manifest: Manifest, first: int, store: Store) -> Manifest:
    """The manifest with a window that begins later."""
    height, history, _ = list(manifest.ranges())[first - 1]
    assert height == first
    with store.snapshot() as snapshot:
        sealed = snapshot.sealed(first)
    assert sealed is not None
    return replace(manifest, history=history, window=manifest.window[(first - 1) * 64 :], oldest=sealed.header)
