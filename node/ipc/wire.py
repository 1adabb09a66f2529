"""What core and its clients say on the unix socket: canonical MessagePack arrays in frames, numbered like the messages
between nodes.

A client may have `CREDITS_MAX` transactions on their way; it matches answers to questions by number.
"""

from typing import Annotated, cast

from msgspec import Meta

from ledger.codec import Wire, decode
from ledger.units import U32, U63

CREDITS_MAX = 2_000
"""Transactions submitted and not yet answered per connection: one full block. More are answered `busy` at once."""


class Submit(Wire, tag=1):
    """Client: admit these transactions."""

    number: U32
    raws: Annotated[tuple[bytes, ...], Meta(max_length=CREDITS_MAX)]
    """Bounded, because each is answered: 60,000 empty ones would ask for an answer longer than any frame."""


class Submitted(Wire, tag=2):
    """Core: how it went, in the order of the transactions: ("", "") if it waits for a block now, else code and
    message.
    """

    number: U32
    answers: tuple[tuple[str, str], ...]


class AskStatus(Wire, tag=3):
    """Client: how is core?"""

    number: U32


class StatusIs(Wire, tag=4):
    """Core: its status as JSON text."""

    number: U32
    status: bytes


class Subscribe(Wire, tag=5):
    """Client: tell me the sealed heights from now on, and the present one at once."""


class Sealed(Wire, tag=6):
    """Core: this height is sealed and in the store. A slow reader is told the newest height, not each."""

    height: U63


FromClient = Submit | AskStatus | Subscribe
FromCore = Submitted | StatusIs | Sealed


def decode_from_client(data: bytes) -> FromClient:
    """Message to core. Raises PeerError as `ledger.codec.decode` does."""
    return cast(FromClient, decode(cast(type[Wire], FromClient), data))


def decode_from_core(data: bytes) -> FromCore:
    """Message from core. Raises PeerError as `ledger.codec.decode` does."""
    return cast(FromCore, decode(cast(type[Wire], FromCore), data))
