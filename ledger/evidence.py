"""Votes as anybody can check them, and the proof that a key gave two that contradict each other (equivocation).

A vote signs SM3(phase ‖ chain ‖ validator set ‖ height ‖ view ‖ content): so two of one key, equal but for their
content, prove by themselves that its holder lied to somebody. No honest member signs a second value for one (height,
view, phase), not even after a crash.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire
from ledger.hashing import Tag, sm3
from ledger.keys import verify
from ledger.units import U32, U63, Hash, PublicKey, Signature

CONTENT_BYTES_MAX = 24 * 1024
"""Of a VIEW-CHANGE's certificate with 100 votes and a header. Two of them fit into a transaction."""


class Phase(IntEnum):
    """The phases of which a member gives one vote per height and view. A NEW-VIEW that contradicts another holds a
    PRE-PREPARE that does.
    """

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    VIEW_CHANGE = 4


_TAGS = {
    Phase.PRE_PREPARE: Tag.PRE_PREPARE,
    Phase.PREPARE: Tag.PREPARE,
    Phase.COMMIT: Tag.COMMIT,
    Phase.VIEW_CHANGE: Tag.VIEW_CHANGE,
}


class Statement(Wire):
    """A vote with all that its signature is over but the chain."""

    phase: Phase
    set_hash: Hash
    height: U63
    view: U32
    content: Annotated[bytes, Meta(max_length=CONTENT_BYTES_MAX)]
    """The header hash; of a VIEW-CHANGE the encoded certificate."""
    signature: Signature


class Equivocation(Wire):
    """Two statements of one vote key."""

    vote_key: PublicKey
    first: Statement
    second: Statement
    """The one with the greater content: one contradiction has one encoding."""


def vote_place(chain_id: bytes, set_hash: bytes, height: int, view: int) -> bytes:
    """What every vote is bound to besides its phase and content."""
    return chain_id + set_hash + height.to_bytes(8, "big") + view.to_bytes(4, "big")


def statement_digest(chain_id: bytes, statement: Statement) -> bytes:
    """What the signature of a statement is over."""
    place = vote_place(chain_id, statement.set_hash, statement.height, statement.view)
    return sm3(_TAGS[statement.phase], place, statement.content)


def equivocation(vote_key: bytes, one: Statement, other: Statement) -> Equivocation:
    """The evidence, in its one form."""
    first, second = sorted((one, other), key=lambda statement: statement.content)
    return Equivocation(vote_key, first, second)


def contradicts(evidence: Equivocation) -> bool:
    """Whether the two statements, if both were signed, prove a lie: the same place, another content. In order, so that
    evidence cannot come again turned round.
    """
    first, second = evidence.first, evidence.second
    same = (first.phase, first.set_hash, first.height, first.view) == (
        second.phase,
        second.set_hash,
        second.height,
        second.view,
    )
    return same and first.content < second.content


def proves_equivocation(
    chain_id: bytes, evidence: Equivocation, verifier: Callable[[bytes, bytes, bytes], bool] = verify
) -> bool:
    """Whether the key signed both. Costs two verifications if the statements contradict each other at all."""
    return contradicts(evidence) and all(
        verifier(evidence.vote_key, statement_digest(chain_id, statement), statement.signature)
        for statement in (evidence.first, evidence.second)
    )
