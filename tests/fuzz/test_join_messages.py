"""Any field of any message between a joiner and its donors may be anything: it is charged or ignored."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    SnapshotManifest,
    decode_message,
)
from ledger.codec import encode
from ledger.errors import PeerError
from ledger.mmr import MmrProof
from node.join.actions import Ask, Finish, GiveUp, Replay
from node.join.plan import JoinPlan
from tests.fuzz.test_peer_messages import mutate
from tests.unit.test_join_plan import Honest, World, honest, truth
from tests.unit.test_store import GENESIS

__all__ = ["honest"]  # the fixture


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_F13_a_donors_bytes_never_stop_or_mislead_a_joiner(honest, seed):
    """A donor that answers true messages with something changed anywhere, beside an honest one."""
    random = Random(seed)

    def mutant(asked: Any) -> Any:
        message, delay_ms = honest(asked)
        fields = msgspec.msgpack.decode(encode(message))
        for _ in range(random.randrange(3)):
            fields = mutate(fields, random)
        try:
            return decode_message(msgspec.msgpack.encode(fields)), delay_ms
        except (PeerError, OverflowError):
            return None, delay_ms

    world = World({"Honest": honest, "Mutant": mutant})
    end = world.run()
    assert isinstance(end, Finish)
    assert "Honest" not in world.dropped
    assert world.state() == truth(honest)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 6))
def test_F13_a_joiners_bytes_never_stop_a_donor(honest, seed, which):
    random = Random(seed)
    asking = [
        FetchManifest(0),
        FetchChunk(8, 1),
        FetchHandOvers(0),
        FetchAncestor(2, 5),
        SnapshotManifest(None),
        HandOvers(0, ()),
        HistoryBegins(5),
    ]
    fields = mutate(msgspec.msgpack.decode(encode(asking[which])), random)
    try:
        message = decode_message(msgspec.msgpack.encode(fields))
    except (PeerError, OverflowError):
        return
    if isinstance(message, FetchManifest | FetchChunk | FetchHandOvers | FetchAncestor):
        assert isinstance(decode_message(honest.donor.answer(message)), Joining)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30))
def test_F13_messages_that_nobody_asked_for_change_nothing(honest: Honest, seed, count):
    random = Random(seed)
    plan = JoinPlan(GENESIS, None, frozenset("ABC"), 0)
    answers = [honest(asked)[0] for asked in (FetchManifest(0), FetchChunk(8, 0), FetchHandOvers(0), FetchBlocks(1, 3))]
    answers += [HistoryBegins(7), Ancestor(8, b"", b"", MmrProof(()))]
    for number in range(count):
        message = random.choice(answers)
        if message is not None:
            actions = plan.hear(random.choice("ABC"), message, 1_000 + number)
            assert not any(isinstance(action, Ask | Finish | GiveUp | Replay) for action in actions)
    assert plan.offer is None


@pytest.mark.parametrize("kind", ["height", "index"])
def test_F13_no_request_reaches_outside_of_the_snapshots(honest, kind):
    fields = {"height": 0, "index": 0, kind: 2**31}
    answer: Any = decode_message(honest.donor.answer(FetchChunk(**fields)))
    assert answer.data == b""
