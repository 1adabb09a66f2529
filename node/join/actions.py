"""What a join plan wants done, and the names of a snapshot's pieces. Pure."""

from msgspec import Struct

from consensus.messages import Message
from node.join.trust import Offer


class Ask(Struct, frozen=True):
    """Send a peer a request."""

    peer: str
    message: Message


class Drop(Struct, frozen=True):
    """A donor lied, or stays mute: name it, cut it off, never ask it again."""

    peer: str
    code: str
    reason: str


class Begin(Struct, frozen=True):
    """This snapshot is fetched from now on; what is here of another one is of no use any more."""

    offer: Offer


class Keep(Struct, frozen=True):
    """Keep a proven piece of the snapshot."""

    piece: str
    data: bytes


class Learn(Struct, frozen=True):
    """New validator sets are proven: their members' nodes are no strangers."""


class Finish(Struct, frozen=True):
    """All pieces of the snapshot are here."""

    offer: Offer


class Replay(Struct, frozen=True):
    """The peers have no snapshot: the chain is young enough to be executed from its beginning."""


class GiveUp(Struct, frozen=True):
    """There is nobody left to ask, or nobody has what we may take."""

    code: str
    reason: str


Action = Ask | Drop | Begin | Keep | Learn | Finish | Replay | GiveUp


def chunk_piece(index: int) -> str:
    """Name of a chunk among the pieces."""
    return f"chunk-{index:05}"


def block_piece(height: int) -> str:
    """Name of a block of the window among the pieces."""
    return f"block-{height:010}"
