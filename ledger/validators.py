"""Validator sets: who votes, how many votes decide, and whose turn it is to keep the book.

Validators are sorted by the company's English name; a vote names its voter by position in that list, and votes are
counted by position, never by a name that a message claims.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire, encode
from ledger.errors import ClientError
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme, check_public_key
from ledger.units import U32, U63, Name, PublicKey

VALIDATORS_MIN = 4
"""PBFT needs n >= 3f + 1; with fewer than four not one fault is survived."""
VALIDATORS_MAX = 100
"""Votes per block grow with n squared over the network, and a seal with n: the design is measured up to a few dozen."""
PASS_OVER_HEIGHTS = 64
"""For how many heights a member is passed over whose turn failed for the first time."""
PASS_OVER_HEIGHTS_MAX = 2048
"""The same after many failures: a dead member then costs a time-out in two minutes at 20 blocks per second."""


def fault_limit(n: int) -> int:
    """f, the number of faulty members that `n` members survive."""
    return (n - 1) // 3


def quorum(n: int) -> int:
    """Votes that decide among `n`: any two quorums share an honest member. For n = 3f + 1 it is 2f + 1; for other n it
    is more (trap 1).
    """
    return (n + fault_limit(n)) // 2 + 1


class Validator(Wire):
    """One voting company."""

    name: Name
    company_key: PublicKey
    """Signs for the company, outlives set epochs."""
    vote_key: PublicKey
    """Signs PBFT messages during one set epoch."""
    node_key: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """Raw Ed25519 key of the node's TLS certificate: the identity of a TCP peer."""


class ValidatorSet(Wire):
    """The voters of an epoch, sorted by name."""

    epoch: U32
    validators: Annotated[tuple[Validator, ...], Meta(min_length=VALIDATORS_MIN, max_length=VALIDATORS_MAX)]

    @property
    def size(self) -> int:
        """n."""
        return len(self.validators)

    @property
    def quorum(self) -> int:
        """Votes that decide."""
        return quorum(len(self.validators))

    @property
    def weak_quorum(self) -> int:
        """f + 1: at least one honest member is among so many."""
        return fault_limit(len(self.validators)) + 1

    def hash(self) -> bytes:
        """What headers and checkpoints name the set by."""
        return sm3(Tag.VALIDATOR_SET, encode(self))

    def index_of(self, name: str) -> int | None:
        """Position of a company, None if it does not vote."""
        for index, member in enumerate(self.validators):  # asked for with every message: no generator
            if member.name == name:
                return index
        return None

    def check(self, allowed: frozenset[Scheme]) -> None:
        """Raise ClientError `validator-set-invalid` unless names are sorted and distinct and every key is valid and
        used once.
        """
        names = [member.name for member in self.validators]
        if names != sorted(set(names)):
            raise ClientError("validator-set-invalid", "companies must be sorted by name, each once")
        for keys in ([m.vote_key for m in self.validators], [m.node_key for m in self.validators]):
            if len(set(keys)) != len(keys):
                # A key held by two names would vote twice (trap 2).
                raise ClientError("validator-set-invalid", "two validators share a key")
        for member in self.validators:
            for key in (member.company_key, member.vote_key):
                check_public_key(key, allowed)


class Failure(Wire):
    """The last turn of a member that came and went without a block."""

    height: U63
    company: Name
    heights: U32
    """For how many of the next heights it is passed over."""

    def passes_over(self, height: int) -> bool:
        """Whether the member is left out of the rotation at a later height."""
        return height <= self.height + self.heights

    def is_remembered(self, height: int) -> bool:
        """Whether one more failure at a later height counts as a repeated one. Forgotten once the member has had its
        turns for as long as it was passed over.
        """
        return height <= self.height + 2 * self.heights

    def repeated(self, height: int) -> "Failure":
        """One more failure, passed over for twice as long."""
        return Failure(height, self.company, min(2 * self.heights, PASS_OVER_HEIGHTS_MAX))


def rotation(n: int, height: int, failures: Mapping[int, Failure]) -> tuple[int, ...]:
    """Positions that take turns at `height`, in order, without those that are passed over.

    `failures` are the members' last ones before that height, by position. A quorum of members always stays in: when
    more have failed, those who failed longest ago come back first.
    """
    failed = [member for member, failure in failures.items() if failure.passes_over(height)]
    passed_over = sorted(failed, key=lambda member: (-failures[member].height, member))[: n - quorum(n)]
    return tuple(member for member in range(n) if member not in passed_over)


def proposer(turns: tuple[int, ...], height: int, view: int) -> int:
    """Position of the primary of `view` at `height`: the paper's p = v mod |R|, turned by the height so that the book
    rotates.
    """
    return turns[(height + view) % len(turns)]
