"""Records of contract 6, governance, as the node reads them: nodes and vote keys, proposals, limits.

What they mean is said in `contracts/library/governance.py`.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from contracts.host import Table
from contracts.numbers import GOVERNANCE
from contracts.records.identity import COMPANIES_MAX, Roles
from ledger.codec import Wire
from ledger.genesis import Parameters
from ledger.terms import OBSERVERS_MAX
from ledger.units import U32, U63, Hash, Name, PublicKey, Span
from ledger.validators import VALIDATORS_MAX

NodeKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""Raw Ed25519 key of a node's TLS certificate."""
Address = Annotated[str, Meta(max_length=255)]
"""host:port for the other members to dial; empty where the node only dials itself."""


class Seat(Wire):
    """A company's node. Key: the company's name."""

    node_key: NodeKey
    address: Address
    suspended: bool
    renewed_ms: U63
    """When the company last changed keys by itself."""


class NextKey(Wire):
    """A vote key that waits for the next epoch."""

    company: Name
    vote_key: PublicKey


class NextKeys(Wire):
    """All of them, sorted by company: one record, so that a decision costs the same for any number of members."""

    keys: Annotated[tuple[NextKey, ...], Meta(max_length=VALIDATORS_MAX + OBSERVERS_MAX)]


class VoteKey(Wire):
    """A vote key that waits, votes or has voted. Key: the public key."""

    company: Name
    fined: bool
    """Whether its company has paid for its lies."""


class Settings(Wire):
    """From genesis."""

    fine_ppm: Annotated[int, Meta(ge=0, le=1_000_000)]
    """Part of the collateral that an equivocation costs."""
    margin_lock_ms: Span
    """How long the margin of a company that left stays locked."""
    proposal_ms: Span
    """How long a proposal may be approved."""
    renewal_ms: Span
    """Time between two changes of keys that a company makes by itself: each is a new epoch, which every light client
    must follow.
    """


SEATS = Table(GOVERNANCE, b"s", Seat, Name)
NEXT_KEYS = Table(GOVERNANCE, b"n", NextKeys)
VOTE_KEYS = Table(GOVERNANCE, b"k", VoteKey, PublicKey)
SETTINGS = Table(GOVERNANCE, b"p", Settings)


class Kind(IntEnum):
    """Kinds of change."""

    ADMIT = 1
    """A company joins: with a voice and its business, not yet with a node (`governance.set_node`) or a vote."""
    GIVE_VOTE = 2
    """An observer, or a suspended company, votes from now on, with the vote key that it has registered."""
    SUSPEND = 3
    """A company votes no more until it is given its vote again; its node may follow the chain."""
    REMOVE = 4
    """A company that has settled everything leaves; its margin stays locked for a while."""
    REPLACE_KEYS = 5
    """A company's keys are lost or stolen: one takes the place of all of them."""
    SET_PARAMETERS = 6
    """Other limits."""
    INSTALL = 7
    """A contract's code rules under a number from a height on: a new contract, or a new version of one."""


class Admission(Wire):
    """What a company joins with."""

    display_name: Name
    roles: Roles
    company_key: PublicKey


class NewKey(Wire):
    """The key that replaces all others."""

    company_key: PublicKey


class Installation(Wire):
    """A code, which is kept on the chain with its text while its proposal waits."""

    number: U32
    code_hash: Hash
    from_height: U63
    """The next block's if that is later."""


class Change(Wire):
    """One of them, with what it needs."""

    kind: Kind
    company: Annotated[str, Meta(max_length=64)]
    """Whom it is about; empty for parameters and codes."""
    admission: Admission | None = None
    key: NewKey | None = None
    parameters: Parameters | None = None
    installation: Installation | None = None


class Replaced(Wire):
    """When a company's keys were replaced last. Key: its name."""

    at_ms: U63


REPLACED = Table(GOVERNANCE, b"r", Replaced, Name)


PROPOSALS_MAX = 8
"""Of one company at a time."""


class Proposal(Wire):
    """What waits for approval. Key: id of the transaction that proposed it."""

    proposer: Name
    change: Change
    ends_ms: U63
    approved: Annotated[tuple[Name, ...], Meta(max_length=COMPANIES_MAX)]
    """Sorted."""


class OpenProposals(Wire):
    """How many proposals of a company wait. Key: its name."""

    count: Annotated[int, Meta(ge=1, le=PROPOSALS_MAX)]


PROPOSALS = Table(GOVERNANCE, b"o", Proposal, Hash)
OPEN = Table(GOVERNANCE, b"c", OpenProposals, Name)
