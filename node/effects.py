"""What goes into the engine and what comes out of it.

`Engine.handle(event)` returns a list of effects, whose order is part of the contract (see `consensus.effects`): a
`Persist` is durable before anything behind it begins. The effects are the replica's; whoever runs an engine imports
both from here.
"""

from msgspec import Struct

from consensus.effects import (
    Accuse,
    Charge,
    Effect,
    Execute,
    Halt,
    Log,
    Outcome,
    Persist,
    Send,
    Serve,
    StoreSealed,
    Truncate,
    Verify,
)
from consensus.messages import Message
from ledger.transaction import Transaction

__all__ = [
    "TICK_MS",
    "Accuse",
    "Admitted",
    "Charge",
    "DiskFull",
    "Effect",
    "Event",
    "Execute",
    "Executed",
    "Halt",
    "Log",
    "Outcome",
    "PeerDown",
    "PeerUp",
    "Persist",
    "Received",
    "Send",
    "Serve",
    "StoreSealed",
    "Stored",
    "Tick",
    "Truncate",
    "Verify",
]

TICK_MS = 50
"""How often time passes by itself: well below every time-out, and nothing for an idle machine."""


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


class Tick(Struct, frozen=True):
    """Time passes: comes every `TICK_MS`, and before every batch of other events."""

    now_ms: int
    """Chain clock: what block times are compared with."""
    steady_ms: int
    """Monotonic real clock: what time-outs are counted on."""


class Received(Struct, frozen=True):
    """A decoded message from the peer that this TLS connection belongs to."""

    peer: str
    """Company name, bound to the connection by its certificate key."""
    message: Message


class PeerUp(Struct, frozen=True):
    """A connection to a member of the set is ready."""

    peer: str


class PeerDown(Struct, frozen=True):
    """The last connection to a member is gone."""

    peer: str


class Admitted(Struct, frozen=True):
    """Transactions whose bytes are decoded and whose signatures verified, in batches, off the loop."""

    transactions: tuple[Transaction, ...]
    source: str | None
    """The peer that gossiped them; None if a client of this node submitted them (then they are gossiped on)."""


class Executed(Struct, frozen=True):
    """`Execute` is done."""

    outcome: Outcome


class Stored(Struct, frozen=True):
    """`StoreSealed` is durable: readers see this height."""

    height: int


class DiskFull(Struct, frozen=True):
    """The disk ran full (the node stops voting) or has room again."""

    full: bool


Event = Tick | Received | PeerUp | PeerDown | Admitted | Executed | Stored | DiskFull
