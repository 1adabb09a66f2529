"""Records of the write-ahead log: what a replica must find again after a crash.

Every own vote is there before it is sent, so no restart makes a member contradict itself (I5). A block is there
with its transactions before the PREPARE for it is sent: were it only in the memories of a quorum, one power cut could
lose a block that binds everybody, and whose certificate a liar alone shows while nobody has its transactions (trap 12).
"""

from typing import cast

from consensus.messages import (
    Checkpoint,
    Commit,
    CommitCertificate,
    HeaderBytes,
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
)
from ledger.codec import Wire, decode
from ledger.units import U32, U63, Hash


class VoteRecord(Wire, tag=1):
    """A signed message of our own, as it was sent. Proposals leave out their list of transactions."""

    height: U63
    view: U32
    digest: Hash
    """What the signature is over."""
    message: PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView


class BlockRecord(Wire, tag=2):
    """A block with its transactions: written once, before our PREPARE, or when it is committed without that."""

    header: HeaderBytes
    transactions: tuple[bytes, ...]


class LockRecord(Wire, tag=3):
    """A prepared certificate. The block's record stands before it."""

    certificate: PreparedCertificate


class CommitRecord(Wire, tag=4):
    """A committed block. Its record stands before it."""

    height: U63
    header_hash: Hash
    certificate: CommitCertificate


Record = VoteRecord | BlockRecord | LockRecord | CommitRecord


def decode_record(data: bytes) -> Record:
    """Record from its bytes. Raises PeerError as `ledger.codec.decode` does; from our own log that is our bug."""
    return cast(Record, decode(cast(type[Wire], Record), data))
