"""Certificates: whether a quorum of distinct members really signed."""

from consensus.messages import CommitCertificate, PreparedCertificate, ViewChange
from consensus.round import Round
from consensus.state import State
from ledger.block import Vote, header_hash
from ledger.errors import PeerError
from ledger.hashing import Tag


def count_voters(votes: tuple[Vote, ...], size: int) -> int:
    """Number of votes. Raises PeerError `votes-repeated` unless sorted by voter, each once and a member: claimed
    positions are no people, and nobody votes twice (trap 2).
    """
    voters = [vote.voter for vote in votes]
    if voters != sorted(set(voters)) or any(voter >= size for voter in voters):
        raise PeerError("votes-repeated", "votes are not sorted by voter, each once, each a member's")
    return len(voters)


def check_prepared(state: State, certificate: PreparedCertificate) -> None:
    """Raise PeerError `certificate-short`, `certificate-forged` or `votes-repeated` unless a quorum prepared the header
    in its view.

    The primary's proposal is its vote; a PREPARE of its own would be a second one (trap 4).
    """
    round_ = state.round
    primary = round_.primary(certificate.view)
    voters = count_voters(certificate.prepares, round_.validators.size)
    if any(vote.voter == primary for vote in certificate.prepares) or voters + 1 < round_.validators.quorum:
        raise PeerError("certificate-short", f"{voters} backups prepared, {round_.validators.quorum - 1} are needed")
    digest = header_hash(certificate.header)
    proposed = round_.scope.vote_digest(Tag.PRE_PREPARE, certificate.view, digest)
    prepared = round_.scope.vote_digest(Tag.PREPARE, certificate.view, digest)
    if not state.signed_by(round_.height, primary, proposed, certificate.proposal) or not all(
        state.signed_by(round_.height, vote.voter, prepared, vote.signature) for vote in certificate.prepares
    ):
        raise PeerError(
            "certificate-forged", f"a vote for the block prepared in view {certificate.view} does not verify"
        )


def check_committed(state: State, round_: Round, digest: bytes, certificate: CommitCertificate) -> None:
    """Raise PeerError as above unless a quorum committed the header hash `digest` at the round's height."""
    voters = count_voters(certificate.commits, round_.validators.size)
    if voters < round_.validators.quorum:
        raise PeerError("certificate-short", f"{voters} members committed, {round_.validators.quorum} are needed")
    signed = round_.scope.vote_digest(Tag.COMMIT, certificate.view, digest)
    if not all(state.signed_by(round_.height, vote.voter, signed, vote.signature) for vote in certificate.commits):
        raise PeerError("certificate-forged", f"a COMMIT of view {certificate.view} does not verify")


def choose(view_changes: tuple[ViewChange, ...]) -> PreparedCertificate | None:
    """The certificate that a new view must propose: of the highest view, over all the view changes, whatever their
    order (traps 8, 10); None if nobody has one.
    """
    certificates = [change.certificate for change in view_changes if change.certificate is not None]
    return max(certificates, key=lambda certificate: certificate.view, default=None)
