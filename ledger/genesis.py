"""The genesis document: the facts that every member accepts before the first block. Its hash is the chain's id.

`consortium` is the canonical encoding of what the contracts begin with (companies, tariffs, piles, deposits); this
package does not look inside.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from ledger.codec import Wire, encode
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme
from ledger.units import U63, Hash, Name, Span
from ledger.validators import ValidatorSet

BLOCK_TRANSACTIONS_MAX = 16_384
"""A proposal names each with 32 bytes: half a megabyte. A block of two megabytes has no use for more."""
BLOCK_BYTES_MAX = 2 * 1024 * 1024
"""Half of the longest message: a full block can always be sent, with its seal and behind a megabyte of others, and
stored.
"""


class Profile(StrEnum):
    """Which signature schemes a chain allows, for accounts and validators alike."""

    GM = "gm"
    """Chinese commercial cryptography only: SM2."""
    MIXED = "mixed"
    """Both."""
    INTL = "intl"
    """Ed25519 only."""

    @property
    def schemes(self) -> frozenset[Scheme]:
        """Allowed schemes."""
        return _SCHEMES[self]


_SCHEMES = {
    Profile.GM: frozenset({Scheme.SM2}),
    Profile.MIXED: frozenset({Scheme.ED25519, Scheme.SM2}),
    Profile.INTL: frozenset({Scheme.ED25519}),
}


class Parameters(Wire):
    """Limits that every validator must apply alike. Times are chain time, so a chain that runs N times faster than the
    wall multiplies them.
    """

    time_ahead_max_ms: Span = 2_000
    """A first proposal further ahead of the voter's clock waits."""
    expiry_max_ms: Span = 600_000
    """Furthest `valid_until_ms` after the parent's time, and how long ids are remembered."""
    device_expiry_max_ms: Span = 86_400_000
    """The same for records of devices."""
    idle_interval_ms: Span = 30_000
    """An idle chain makes an empty block this often, so that heads stay fresh and scheduled calls run."""
    session_start_max_ms: Span = 60_000
    """From a session's opening to its start by the pile."""
    block_transactions_max: Annotated[int, Meta(ge=1, le=BLOCK_TRANSACTIONS_MAX)] = 2_000
    """Transactions in a block."""
    block_bytes_max: Annotated[int, Meta(ge=1, le=BLOCK_BYTES_MAX)] = BLOCK_BYTES_MAX
    """Transaction bytes in a block."""
    block_gas_max: U63 = 2_000_000_000
    """Sum of the declared gas limits in a block."""


class GenesisSummary(Wire):
    """The document with its bulky last part replaced by that part's hash: enough to check a chain's id by."""

    format: Annotated[int, Meta(ge=1, le=1)]
    name: Name
    profile: Profile
    time_ms: U63
    parameters: Parameters
    validators: ValidatorSet
    consortium_hash: Hash

    def hash(self) -> bytes:
        """The chain's id."""
        return sm3(Tag.GENESIS, encode(self))


class Genesis(Wire):
    """The document."""

    format: Annotated[int, Meta(ge=1, le=1)]
    name: Name
    """For people; the chain's identity is the hash."""
    profile: Profile
    time_ms: U63
    """Time of height 0."""
    parameters: Parameters
    validators: ValidatorSet
    consortium: bytes

    def summary(self) -> GenesisSummary:
        """The same facts, short."""
        consortium_hash = sm3(Tag.CONSORTIUM, self.consortium)
        return GenesisSummary(
            self.format, self.name, self.profile, self.time_ms, self.parameters, self.validators, consortium_hash
        )

    def hash(self) -> bytes:
        """The chain's id: hash of the summary, so that a light client starts from the id and a kilobyte or two."""
        return self.summary().hash()
