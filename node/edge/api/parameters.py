"""Path and query parameters of the API, one struct per route: the checks and the documentation alike."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from contracts.deployment import NUMBER_MAX

HexHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="32 bytes in lower-case hex")]
HexKey = Annotated[
    str, Meta(pattern="^(01[0-9a-f]{64}|02[0-9a-f]{128})$", description="public key: scheme byte and point, in hex")
]
Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})*$", max_length=1024, description="bytes in lower-case hex")]
Height = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Cursor = Annotated[str, Meta(pattern="^[0-9]{1,18}-[0-9]{1,9}$", description="`height-index`, as an answer gave it")]
NameText = Annotated[str, Meta(min_length=1, max_length=64)]


SessionState = Literal["opened", "charging", "claim", "settled", "expired"]
"""`expired`: not started in time. `claim`: timed out without an end reading; either side may bring the last one."""


class Parameters(Struct, forbid_unknown_fields=True):
    """Base of path and query parameters: a misspelt one is an error, not silently ignored."""


class NoParameters(Parameters):
    """Of a route that takes none."""


class SubmitParameters(Parameters):
    """Of a submission."""

    wait: Literal["sealed"] | None = None
    """`sealed`: answer with the sealed receipt and its proof."""
    timeout_ms: Annotated[int, Meta(ge=0, le=60_000)] = 10_000
    """How long to wait; then 202, and the transaction may still be sealed."""


class TransactionParameters(Parameters):
    """Of a look-up by id."""

    id: HexHash


class TransactionsParameters(Parameters):
    """Of a page of one sender's transactions, newest first."""

    sender: HexKey
    before: Cursor | None = None
    """Only places in the chain before this one."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50


class BlocksParameters(Parameters):
    """Of a page of blocks, newest first."""

    before: Height | None = None
    """Only heights below this one."""
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class HeightParameters(Parameters):
    """Of one block."""

    height: Height


class ContractParameters(Parameters):
    """Of one contract."""

    number: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]


class StateParameters(Parameters):
    """Of one state entry."""

    contract: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    """Number of the contract."""
    key: Hex
    """The contract's own key."""


class AccountParameters(Parameters):
    """Of one account."""

    key: HexKey


class PilesParameters(Parameters):
    """Of a page of piles, by name."""

    after: NameText | None = None
    """Only names after this one."""
    limit: Annotated[int, Meta(ge=1, le=5_000)] = 1_000
    operator: NameText | None = None


class SessionsParameters(Parameters):
    """Of a page of sessions, newest first."""

    before: Cursor | None = None
    """Only sessions opened before this place in the chain."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 50
    state: SessionState | None = None
    pile: NameText | None = None
    operator: NameText | None = None
    driver: HexKey | None = None


class SessionParameters(Parameters):
    """Of one session."""

    id: HexHash


class BlockStreamParameters(Parameters):
    """Of the stream of blocks."""

    after: Height | None = None
    """Resume behind this height; without it (and without Last-Event-ID) the stream begins with the next block."""


class SessionStreamParameters(Parameters):
    """Of the stream of session events."""

    after: Cursor | None = None
    """Resume behind this place; without it (and without Last-Event-ID) the stream begins with the next block."""
