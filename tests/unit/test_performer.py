"""The core's heart: what must be durable is durable before what stands behind it, whatever the disk does."""

import asyncio
import errno
from typing import Any

import pytest

from consensus.messages import FetchBlocks, Prepare, Status, Transactions
from ledger.codec import encode
from ledger.errors import OurError
from node import performer as performer_module
from node.clock import ChainClock
from node.effects import Charge, Halt, Persist, Received, Send, Tick, Truncate
from node.inbox import Inbox
from node.performer import Performer
from node.stages import Stages

VOTE = Prepare(1, 0, bytes(32), 0, bytes(64))


class World:
    """Everything around the performer, writing down what happens in which order."""

    def __init__(self, effects):
        self.effects = effects
        self.heard = []
        self.done = []
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
            complaints=me,
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

    def inbox_taken(self):
        pass

    def put(self, sealed):
        pass

    def report_full(self):
        self.full += 1

    def about(self, who, code, reason):
        self.done.append(("charge", who, code))

    async def turn(self, events=1):
        """Let the performer work on some messages until it is quiet."""
        for _ in range(events):
            self.inbox.message("Teld", encode(FetchBlocks(1, 1)))
        task = asyncio.ensure_future(self.performer.run())
        await asyncio.sleep(0.05)
        return task


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
    world.room.set()
    await asyncio.sleep(0.05)
    task.cancel()
    assert [what[0] for what in world.done] == ["fsync", "send"]


@pytest.mark.parametrize("error", [OurError("wal-fsync", "lost"), OSError(errno.EIO, "broken")])
async def test_F04_a_broken_disk_stops_the_process_before_anything_is_sent(error):
    world = World([Persist(b"vote"), Send((), VOTE)])
    world.disk_error = error
    task = await world.turn()
    with pytest.raises(OurError, match="wal-"):
        task.result()
    assert world.done == []


async def test_F02_a_malformed_message_costs_the_peer_its_connection():
    world = World([])
    world.inbox.message("Teld", b"\xc1")
    task = await world.turn()
    task.cancel()
    assert world.done == [("charge", "Teld", "encoding-malformed"), ("cut", "Teld")]
    assert len(world.heard) == 1


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
