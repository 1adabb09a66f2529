"""What a replica wants done: ordered effects, performed by whoever runs it.

**The order is part of the contract**: whoever performs a list finishes each `Persist` (written and fsynced) before it
begins anything that stands behind it, so a vote that must be on disk before it is sent cannot be sent first by mistake.
Performing an effect may produce an event later; nothing else couples the replica to the world. The daemon performs
effects on sockets and files, the simulator on a seeded network, disk and clock.
"""

from typing import Literal

from msgspec import Struct

from consensus.head import Head
from consensus.messages import Message
from ledger.block import Block, SealedHeader
from ledger.errors import OurError
from ledger.evidence import Equivocation
from ledger.terms import Timeline
from ledger.validators import Failure


class Outcome(Struct, frozen=True):
    """What executing a block gave."""

    height: int
    header_hash: bytes
    state_root: bytes
    receipts_root: bytes
    timeline: Timeline
    """The terms of the next block, and all that are decided up to K + 1 blocks ahead."""
    work: object
    """Whatever the performer needs to store the block (changes, tiles, receipts). It is handed back untouched."""


class Persist(Struct, frozen=True):
    """Append a record to the write-ahead log; durable before anything behind it in the list happens."""

    record: bytes
    height: int = 0
    """The block height that the record belongs to: `Truncate` of that height, or a later one, makes it droppable."""


class Truncate(Struct, frozen=True):
    """Everything that the log holds for heights up to `height` is in the store; it may be dropped."""

    height: int


class Send(Struct, frozen=True):
    """Send to peers, best effort: connections may be down, and a slow peer's queue drops its oldest gossip first."""

    peers: tuple[str, ...]
    """Company names; empty for all."""
    message: Message


class Execute(Struct, frozen=True):
    """Execute a committed block on top of the one before it; answered by `Executed`. At most K are under way or
    unsealed.
    """

    block: Block
    failures: tuple[Failure, ...]
    """Turns up to this block that may still pass a member over: execution puts them under the state root."""


class StoreSealed(Struct, frozen=True):
    """Commit a sealed block to the store in one transaction; answered by `Stored`."""

    block: Block
    sealed: SealedHeader
    outcome: Outcome
    head: Head
    """Where the chain stands with this block. Its encoding is stored in the same transaction, and handed back at the
    next start.
    """


class Verify(Struct, frozen=True):
    """Decode and verify these transaction bytes off the loop; answered by `Admitted` (bad ones are charged to the
    source).
    """

    raws: tuple[bytes, ...]
    source: str


class Serve(Struct, frozen=True):
    """A peer asked for sealed blocks `first … last`: read them from the store and send them to it as one `SealedBlocks`
    message.
    """

    peer: str
    first: int
    last: int


class Charge(Struct, frozen=True):
    """A peer broke a rule: log it with its name, and cut the connection where `cut` says so."""

    peer: str
    code: str
    reason: str
    cut: bool = False


class Accuse(Struct, frozen=True):
    """A member contradicted itself: bring the evidence on chain."""

    company: str
    evidence: Equivocation


class Log(Struct, frozen=True):
    """A line for the log."""

    level: Literal["debug", "info", "warning"]
    event: str
    fields: dict[str, int | str]


class Halt(Struct, frozen=True):
    """Our own bug, or a quorum against our own result: stop the process loudly."""

    error: OurError


Effect = Persist | Truncate | Send | Execute | StoreSealed | Verify | Serve | Charge | Accuse | Log | Halt
