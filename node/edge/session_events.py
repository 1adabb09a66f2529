"""The steps of charging sessions in a sealed block, in order: what the read model and the stream of sessions are made
of.
"""

from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from ledger.charging import (
    SESSION_CONTRACT,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionStarted,
    SessionTimedOut,
)
from ledger.codec import decode_trusted
from node.edge.blocks import SealedBlock

SessionStep = SessionOpened | SessionStarted | SessionTimedOut | SessionSettled | SessionExpired

SessionEventName = Literal["opened", "started", "timed-out", "settled", "expired"]

_KINDS: dict[str, tuple[SessionEventName, type[SessionStep]]] = {
    "session.opened": ("opened", SessionOpened),
    "session.started": ("started", SessionStarted),
    "session.timed-out": ("timed-out", SessionTimedOut),
    "session.settled": ("settled", SessionSettled),
    "session.expired": ("expired", SessionExpired),
}


class Step(Struct, frozen=True):
    """One step with its place in the chain: (height, index), index counting the session steps of that block."""

    height: int
    index: int
    time_ms: int
    event: SessionEventName
    """opened, started, timed-out, settled or expired."""
    data: SessionStep

    @property
    def cursor(self) -> str:
        """The place as clients keep it."""
        return f"{self.height}-{self.index}"


def session_steps(block: SealedBlock) -> Iterator[Step]:
    """All steps of a block."""
    index = 0
    for receipt in block.receipts:
        for event in receipt.events:
            known = _KINDS.get(event.name) if event.contract == SESSION_CONTRACT else None
            if known is not None:
                name, kind = known
                data: SessionStep = decode_trusted(kind, event.data)
                yield Step(block.height, index, block.header.time_ms, name, data)
                index += 1


def parse_cursor(cursor: str) -> tuple[int, int]:
    """(height, index) of `height-index`, whose form the caller has checked."""
    height, _, index = cursor.partition("-")
    return int(height), int(index)
