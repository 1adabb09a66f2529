"""Everything that nodes say to each other, and what exactly a vote signs.

Messages are canonical MessagePack arrays whose first element is the message's number. A vote's digest binds its phase,
the chain, the validator set, the height, the view and the header hash, so a vote counts for nothing but what it was
given for. No message carries the hash of anything that it also carries: the receiver computes it (trap 3).
"""

from typing import Annotated, cast

from msgspec import Meta

from ledger.block import Header, SealedHeader, Vote, header_hash
from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.evidence import vote_place
from ledger.genesis import BLOCK_TRANSACTIONS_MAX
from ledger.hashing import HASH_BYTES, Tag, sm3
from ledger.mmr import MmrProof
from ledger.snapshot import CHUNK_BYTES_MAX, Manifest
from ledger.units import U32, U63, Hash, Signature
from ledger.validators import VALIDATORS_MAX, ValidatorSet

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""Largest message: twice the bytes of a full block."""
HEADER_BYTES_MAX = 4096
"""A header's fixed fields and five branch rows take under 700 bytes; names may be long."""
LEAVES_BYTES_MAX = BLOCK_TRANSACTIONS_MAX * HASH_BYTES
"""Most transactions that a proposal can name."""

HAND_OVERS_MAX = 64
"""Set changes in one answer: with 100 members of two keys each, 2 MiB."""

HeaderBytes = Annotated[bytes, Meta(max_length=HEADER_BYTES_MAX)]
Leaves = Annotated[bytes, Meta(max_length=LEAVES_BYTES_MAX)]
"""Transaction leaves of 32 bytes each, joined: one object to decode instead of thousands."""
Votes = Annotated[tuple[Vote, ...], Meta(max_length=VALIDATORS_MAX)]
"""Sorted by voter, each once."""
BODIES_MAX = 4_096
"""Transactions asked for, or told, at once: a message of two million empty ones would be hashed for seconds."""
BLOCKS_MAX = 32
"""Blocks that one request may name, and its answer hold: four times as many as may wait for their seals."""
Raws = Annotated[tuple[bytes, ...], Meta(max_length=BODIES_MAX)]
"""Transactions, ahead of a proposal or for one."""
BlockRaws = Annotated[tuple[bytes, ...], Meta(max_length=BLOCK_TRANSACTIONS_MAX)]
"""The transactions of a block, in block order."""


class PreparedCertificate(Wire):
    """Proof that a quorum accepted a block in a view: the primary's proposal, which is its vote, and PREPAREs."""

    view: U32
    """The view in which it was prepared; that of the first proposal is in the header."""
    header: HeaderBytes
    proposal: Signature
    """The primary's PRE-PREPARE signature."""
    prepares: Votes


class CommitCertificate(Wire):
    """Proof that a block is committed: a quorum of COMMITs of one view."""

    view: U32
    commits: Votes


class PrePrepare(Wire, tag=1):
    """The primary proposes a block: the header, and which transactions."""

    view: U32
    header: HeaderBytes
    leaves: Leaves
    """Transactions in block order; may be empty in a re-proposal, whoever lacks them fetches the list."""
    signature: Signature


class Prepare(Wire, tag=2):
    """A backup accepts the proposal of a view, all checks passed."""

    height: U63
    view: U32
    header_hash: Hash
    voter: U32
    signature: Signature


class Commit(Wire, tag=3):
    """A member holds a prepared certificate, on disk."""

    height: U63
    view: U32
    header_hash: Hash
    voter: U32
    signature: Signature


class Checkpoint(Wire, tag=4):
    """A member executed a block with this result."""

    height: U63
    result_digest: Hash
    voter: U32
    signature: Signature


class ViewChange(Wire, tag=5):
    """A member gives up on the views before this one, and shows the prepared block of the highest of them, if it has
    one.
    """

    height: U63
    view: U32
    voter: U32
    certificate: PreparedCertificate | None
    signature: Signature


class NewView(Wire, tag=6):
    """The primary of a view shows a quorum's VIEW-CHANGEs, and proposes what follows from them."""

    height: U63
    view: U32
    view_changes: Annotated[tuple[ViewChange, ...], Meta(max_length=VALIDATORS_MAX)]
    """Sorted by voter, each once."""
    proposal: PrePrepare
    signature: Signature


class Status(Wire, tag=7):
    """Where a node stands: gossiped, so that those ahead help those behind."""

    sealed: U63
    committed: U63
    view: U32
    """Of the height after `committed`; the wanted one during a view change."""


class FetchBlocks(Wire, tag=8):
    """Ask for the blocks from `first` to `last`."""

    first: U63
    last: U63


class SealedBlock(Wire):
    """A sealed block with its transactions."""

    sealed: SealedHeader
    transactions: BlockRaws


class CommittedBlock(Wire):
    """A committed block that has no seal yet."""

    header: HeaderBytes
    certificate: CommitCertificate
    transactions: BlockRaws


class SealedBlocks(Wire, tag=9):
    """Blocks in order of height: sealed ones, then the tail that still waits for its seals, so that the receiver can
    help to seal it.
    """

    blocks: Annotated[tuple[SealedBlock, ...], Meta(max_length=BLOCKS_MAX)]
    tail: Annotated[tuple[CommittedBlock, ...], Meta(max_length=BLOCKS_MAX)]


class Transactions(Wire, tag=10):
    """Transactions that clients gave to the sender, ahead of any proposal."""

    raws: Raws


class FetchBodies(Wire, tag=11):
    """Ask for transactions of a proposal that did not come by gossip."""

    header_hash: Hash
    leaves: Leaves
    """The missing ones; empty: the list of leaves itself is missing."""


class Bodies(Wire, tag=12):
    """What was asked for, as far as the sender has it and the answer's bound allows."""

    header_hash: Hash
    leaves: Leaves
    raws: Raws


class Shown(Wire, tag=13):
    """What was proposed to the sender, for a peer that accepted another proposal of the same view, or seems to have
    none.
    """

    proposal: PrePrepare
    """Without its list of leaves."""

    @property
    def height(self) -> int:
        """The height that the header names. Raises PeerError `encoding-…`."""
        return decode(Header, self.proposal.header).height


class FetchManifest(Wire, tag=20):
    """Ask for what a snapshot consists of."""

    height: U63
    """Wanted; 0, or one that the sender has no more, for its newest."""


class SnapshotManifest(Wire, tag=21):
    """Which snapshot the sender has."""

    manifest: Manifest | None
    """None if it has none."""


class FetchChunk(Wire, tag=22):
    """Ask for a chunk of a snapshot."""

    height: U63
    index: U32


class SnapshotChunk(Wire, tag=23):
    """A chunk."""

    height: U63
    index: U32
    data: Annotated[bytes, Meta(max_length=CHUNK_BYTES_MAX)]
    """As `ledger.snapshot.pack_chunk` makes it; empty if the sender has it no more."""


class FetchHandOvers(Wire, tag=24):
    """Ask for the changes of the validator set."""

    epoch: U32
    """After the set of this epoch."""


class HandOver(Wire):
    """A change of the validator set, proven by the set before."""

    sealed: SealedHeader
    """The last block of the set before."""
    next_set: ValidatorSet


class HandOvers(Wire, tag=25):
    """Changes of the set in order, as many as the answer's bound allows."""

    epoch: U32
    """As asked."""
    changes: Annotated[tuple[HandOver, ...], Meta(max_length=HAND_OVERS_MAX)]


class FetchAncestor(Wire, tag=27):
    """Ask for the proof that a block is in the history of a later one."""

    height: U63
    of: U63
    """Height of the later block."""


class Ancestor(Wire, tag=28):
    """A block of the history, proven by the range that the later block's result names."""

    of: U63
    """As asked."""
    header: HeaderBytes
    result: Annotated[bytes, Meta(max_length=1024)]
    proof: MmrProof
    """Header and result are empty, and so is this, if the sender has the block no more."""


class HistoryBegins(Wire, tag=26):
    """The answer to a request for blocks that the sender has pruned, or never had because it joined by snapshot."""

    height: U63
    """Its first block."""


Proposing = PrePrepare | NewView
Vouching = Prepare | Commit | Checkpoint | ViewChange
Own = Proposing | Vouching
"""Signed messages: each is on its sender's disk before it leaves."""
Joining = (
    FetchManifest
    | SnapshotManifest
    | FetchChunk
    | SnapshotChunk
    | FetchHandOvers
    | HandOvers
    | HistoryBegins
    | FetchAncestor
    | Ancestor
)
"""Between a node that joins and those that have the ledger; the replica takes no part in it."""
Message = Own | Status | FetchBlocks | SealedBlocks | Transactions | FetchBodies | Bodies | Shown | Joining


def decode_message(data: bytes) -> Message:
    """Message from its canonical bytes. Raises PeerError `message-too-large`, `encoding-malformed`,
    `encoding-not-canonical`.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise PeerError("message-too-large", f"{len(data)} bytes, at most {MESSAGE_BYTES_MAX}")
    return cast(Message, decode(cast(type[Wire], Message), data))


def split_leaves(leaves: bytes) -> list[bytes]:
    """The hashes of a joined list. Raises PeerError `leaves-length`."""
    if len(leaves) % HASH_BYTES:
        raise PeerError("leaves-length", f"{len(leaves)} bytes are no list of {HASH_BYTES}-byte hashes")
    return [leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)]


class Scope(Wire):
    """What every vote of a height is bound to besides its own content."""

    chain_id: Hash
    set_hash: Hash
    height: U63

    def vote_digest(self, phase: Tag, view: int, digest: bytes) -> bytes:
        """What PRE-PREPARE, PREPARE and COMMIT sign: `digest` is a header hash."""
        return sm3(phase, self._place(view), digest)

    def view_change_digest(self, view: int, certificate: PreparedCertificate | None) -> bytes:
        """What VIEW-CHANGE signs."""
        return sm3(Tag.VIEW_CHANGE, self._place(view), encode(certificate))

    def new_view_digest(self, view: int, view_changes: tuple[ViewChange, ...], proposal: PrePrepare) -> bytes:
        """What NEW-VIEW signs."""
        return sm3(Tag.NEW_VIEW, self._place(view), header_hash(proposal.header), encode(view_changes))

    def _place(self, view: int) -> bytes:
        return vote_place(self.chain_id, self.set_hash, self.height, view)
