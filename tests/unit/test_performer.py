"""The core's heart: what must be durable is durable before what stands behind it, whatever the disk does."""

import asyncio
import errno
from contextlib import contextmanager
from typing import Any

import pytest

from consensus.messages import (
    CommitCertificate,
    CommittedBlock,
    FetchBlocks,
    Prepare,
    SealedBlocks,
    Status,
    Transactions,
    decode_message,
)
from ledger.block import BranchEntry, Header, Result, SealedHeader, Vote
from ledger.codec import encode
from ledger.errors import OurError
from ledger.transaction import Branch
from node.clock import ChainClock
from node.core import performer as performer_module
from node.core.inbox import Inbox
from node.core.performer import Performer
from node.core.stages import Stages
from node.effects import Admitted, Charge, Halt, Persist, Received, Send, Serve, Tick, Truncate
from node.network.framing import frame

VOTE = Prepare(1, 0, bytes(32), 0, bytes(64))


class World:
    """Everything around the performer, writing down what happens in which order."""

    def __init__(self, effects):
        self.effects = effects
        self.heard = []
        self.done = []
        self.handled_events = []
        self.full = 0
        self.failed: list[BaseException] = []
        me: Any = self
        self.room = asyncio.Event()
        self.disk_error = None
        self.inbox = Inbox()
        self.performer = Performer(
            engine=me,
            inbox=self.inbox,
            clock=ChainClock(),
            wal=me,
            writer=me,
            execution=me,
            admission=me,
            network=me,
            reader=me,
            donor=me,
            complaints=me,
            accuse=me.accuse,
            stages=Stages(),
            fail=self.failed.append,
            log=None,
        )

    # engine
    def handle(self, event):
        if not isinstance(event, Tick):
            self.heard.append(event)
            return list(self.effects)
        return []

    # log
    def append(self, records):
        if self.disk_error:
            raise self.disk_error
        self.done.append(("fsync", [record for _, record in records]))

    def truncate(self, height):
        self.done.append(("truncate", height))

    def close(self):
        pass

    # network, store writer, complaints
    def send(self, peers, payload, droppable):
        self.done.append(("send", peers, droppable))

    def cut(self, peer):
        self.done.append(("cut", peer))

    def handled(self, what):
        """Of the network: a peer. Of the admission: what the engine was told."""
        self.handled_events.append(what)

    def put(self, sealed):
        pass

    def report_full(self, reason):
        self.full += 1

    def about(self, who, code, reason):
        self.done.append(("charge", who, code))

    def accuse(self, effect):
        self.done.append(("accuse", effect.company))

    def make_room(self):
        self.room.set()
        self.inbox.ring()

    async def turn(self, events=1):
        """Let the performer work on some messages until it is quiet."""
        task = asyncio.ensure_future(self.performer.run())
        await self.hear(events)
        return task

    async def hear(self, events=1):
        """Give a working performer messages."""
        for _ in range(events):
            self.inbox.message("Teld", encode(FetchBlocks(1, 1)))
        await asyncio.sleep(0.05)


async def test_F02_a_vote_is_durable_before_it_is_sent_and_a_turn_has_one_fsync(monkeypatch):
    monkeypatch.setattr(performer_module, "TURN_S", 1)
    early, gossip = Send(("Teld",), Status(0, 0, 0)), Send((), Transactions((b"raw",)))
    world = World([early, Persist(b"vote"), Send((), VOTE), Persist(b"second"), gossip])
    task = await world.turn(events=2)
    task.cancel()
    assert [Received("Teld", FetchBlocks(1, 1))] * 2 == world.heard
    assert world.done == [
        ("send", ("Teld",), False),
        ("fsync", [b"vote", b"second", b"vote", b"second"]),
        ("send", (), False),
        ("send", (), True),
        ("send", ("Teld",), False),
        ("send", (), False),
        ("send", (), True),
    ]


async def test_F04_a_full_disk_holds_votes_back_until_there_is_room():
    world = World([Persist(b"vote"), Send((), VOTE)])
    world.disk_error = OSError(errno.ENOSPC, "full")
    task = await world.turn()
    assert (world.done, world.full) == ([], 1)
    world.disk_error = None
    world.make_room()
    await asyncio.sleep(0.05)
    task.cancel()
    assert [what[0] for what in world.done] == ["fsync", "send"]


async def test_F13_a_node_with_a_full_disk_answers_and_says_nothing_that_its_log_does_not_hold():
    world = World([Persist(b"vote"), Send((), VOTE)])
    store: Any = FullStore(5, 200)
    world.performer._reader = store
    world.disk_error = OSError(errno.EDQUOT, "quota exceeded")
    task = await world.turn()
    tail = SealedBlocks((), (CommittedBlock(b"", CommitCertificate(0, (Vote(0, bytes(64)),)), ()),))
    status = Send(("Teld",), Status(1, 1, 0))
    world.effects = [Send((), VOTE), Send(("Teld",), tail), status, Serve("Teld", 1, 9), Persist(b"lock"), Truncate(7)]
    await world.hear()
    sealed = ("send", ("Teld",), True)
    assert world.done == [("send", ("Teld",), False), sealed]
    world.disk_error, world.effects = None, []
    world.make_room()
    await asyncio.sleep(0.05)
    task.cancel()
    assert world.done[2:] == [("fsync", [b"vote", b"lock"]), ("send", (), False), ("truncate", 7)], "in their order"
    assert world.failed == []


async def test_F13_what_waits_for_room_is_bounded(monkeypatch):
    monkeypatch.setattr(performer_module, "HELD_BYTES_MAX", 10)
    world = World([Persist(b"a record")])
    world.disk_error = OSError(errno.ENOSPC, "full")
    task = await world.turn()
    for _ in range(3):
        await world.hear()
    assert len(world.heard) == 2, "it stands still"
    world.disk_error = None
    world.make_room()
    await asyncio.sleep(0.05)
    task.cancel()
    assert [record for _, records in world.done for record in records] == [b"a record"] * 4


async def test_F13_a_further_try_that_finds_no_room_holds_up_no_answer():
    world = World([Persist(b"vote"), Send((), VOTE)])
    world.disk_error = OSError(errno.ENOSPC, "full")
    task = await world.turn()
    world.effects = [Persist(b"lock"), Send(("Teld",), Status(1, 1, 0))]
    world.room.set()
    await world.hear()
    assert (world.done, world.full) == ([("send", ("Teld",), False)], 2)
    world.disk_error, world.effects = None, []
    world.make_room()
    await asyncio.sleep(0.05)
    task.cancel()
    assert world.done[1:] == [("fsync", [b"vote", b"lock"]), ("send", (), False)], "held behind the vote, in one write"


@pytest.mark.parametrize("error", [OurError("fsync-failed", "lost"), OSError(errno.EIO, "broken")])
async def test_F04_a_broken_disk_stops_the_process_before_anything_is_sent(error):
    world = World([Persist(b"vote"), Send((), VOTE)])
    world.disk_error = error
    task = await world.turn()
    with pytest.raises(OurError, match=r"fsync-failed|wal-write"):
        task.result()
    assert world.done == []


async def test_F02_a_malformed_message_costs_the_peer_its_connection():
    world = World([])
    world.inbox.message("Teld", b"\xc1")
    task = await world.turn()
    task.cancel()
    assert world.done == [("charge", "Teld", "encoding-malformed"), ("cut", "Teld")]
    assert world.heard == [], "what came behind it is not heard"


async def test_F02_charges_truncation_and_halt_are_performed():
    bug = OurError("quorum-against-us", "a bug")
    world = World([Charge("SGCC", "vote-forged", "bad"), Truncate(7), Halt(bug)])
    task = await world.turn()
    task.cancel()
    assert world.done == [("charge", "SGCC", "vote-forged"), ("truncate", 7)]
    assert world.failed == [bug]


async def test_F02_a_turn_ends_in_time_and_the_next_takes_the_rest(monkeypatch):
    monkeypatch.setattr(performer_module, "TURN_S", 0)
    world = World([])
    task = await world.turn(events=3)
    assert world.heard == []  # no time at all: nothing is taken, and the loop lives
    monkeypatch.setattr(performer_module, "TURN_S", 1)
    await asyncio.sleep(0.05)
    task.cancel()
    assert len(world.heard) == 3


class FullStore:
    """A store whose blocks are full of small transactions, so that headers, seals and lengths weigh most."""

    height = 40
    first_block = 1

    def __init__(self, transactions, size):
        h = bytes(32)
        rows = tuple(BranchEntry(branch, 10**5, 10**6, h, transactions // 5) for branch in Branch)
        header = encode(Header(h, 10**6, 0, 1_700_000_000_000, h, h, transactions, h, "State Grid Shanghai", rows))
        result = encode(Result(h, 10**6, h, 1_700_000_000_000, h, h, h, h, h))
        self.header = SealedHeader(header, result, tuple(Vote(voter, bytes(64)) for voter in range(67)))
        self.raws = tuple(bytes(size) for _ in range(transactions))

    @contextmanager
    def snapshot(self):
        yield self

    def sealed(self, height):
        return self.header

    def transactions(self, height):
        return self.raws


@pytest.mark.parametrize(("transactions", "size"), [(495, 260), (600, 214), (495, 230), (2_000, 40), (16_000, 128)])
async def test_F03_an_answer_to_fetch_blocks_fits_into_a_frame_whatever_the_blocks_hold(transactions, size):
    """One FetchBlocks must not stop a node by an answer that no frame takes."""
    world = World([Serve("Teld", 1, 32)])
    store: Any = FullStore(transactions, size)
    world.performer._reader = store
    answer = world.performer._read_blocks(1, 32)
    frame(answer)
    message = decode_message(answer)
    assert isinstance(message, SealedBlocks)
    one_more = len(encode(message.blocks[0]))
    assert len(message.blocks) == 32 or len(answer) + one_more > performer_module.SERVED_BYTES_MAX, "as many as fit"
    task = await world.turn()
    task.cancel()
    assert world.done == [("send", ("Teld",), True)]
    assert world.failed == []


async def test_F40_admission_hears_when_the_engine_has_handled_a_batch():
    world = World([])
    world.inbox.put(Admitted((), None))
    task = await world.turn(events=0)
    task.cancel()
    assert world.handled_events == world.heard == [Admitted((), None)]


async def test_F02_proven_malice_costs_the_connection_and_all_that_came_through_it():
    world = World([Charge("Teld", "vote-forged", "no honest member does this", cut=True)])
    task = await world.turn(events=1_000)
    task.cancel()
    assert len(world.heard) == 1, "the other frames cost nothing"
    assert world.done == [("charge", "Teld", "vote-forged"), ("cut", "Teld")]


async def test_F02_what_may_be_a_misunderstanding_costs_no_connection():
    world = World([Charge("Teld", "proposal-content", "its clock may be ahead")])
    task = await world.turn(events=2)
    task.cancel()
    assert world.done == [("charge", "Teld", "proposal-content")] * 2


def test_F02_a_flood_of_one_peer_delays_no_other_and_is_bounded():
    inbox = Inbox()
    for _ in range(1_000_000):
        inbox.message("Teld", b"x")
    inbox.message("SGCC", b"an honest vote")
    inbox.put(Admitted((), None))
    first = [inbox.take() for _ in range(3)]
    assert [getattr(event, "peer", None) for event in first] == ["Teld", "SGCC", None]
    flood = 0
    while inbox.take() is not None:
        flood += 1
    assert flood < 200_000, "frames of one byte count what they cost"
    assert inbox.is_drained("Teld")


def test_F02_a_peer_that_is_cut_off_leaves_nothing_but_its_going():
    inbox = Inbox()
    inbox.message("Teld", b"forged")
    inbox.peer_down("Teld")
    inbox.message("SGCC", b"vote")
    inbox.drop("Teld")
    left = [inbox.take() for _ in range(3)]
    assert [type(event).__name__ for event in left] == ["RawMessage", "PeerDown", "NoneType"]
