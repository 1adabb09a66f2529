"""Seeing a member contradict itself (F12): two votes of one key for one height, view and phase are evidence.

Votes go to every member alike, so a liar shows different faces to different members. What brings them together: a
member whose PREPARE is for another proposal than ours is shown the one that we have (it shows us its own likewise),
and certificates carry votes that we may know otherwise. One piece of evidence for a key is enough: the chain fines it
once. So a liar that goes on costs nothing more.
"""

from consensus.effects import Accuse
from consensus.messages import CommitCertificate, PreparedCertificate, PrePrepare, Shown, ViewChange
from consensus.round import Proposal
from consensus.state import State
from ledger.block import header_hash
from ledger.codec import encode
from ledger.errors import PeerError
from ledger.evidence import Phase, Statement, equivocation, statement_digest


def is_accused(state: State, voter: int) -> bool:
    """Whether the open height's member is known to have lied: no more of its contradictions are looked at."""
    return state.round.validators.validators[voter].vote_key in state.accused


def accuse(
    state: State, voter: int, phase: Phase, view: int, known: tuple[bytes, bytes], other: tuple[bytes, bytes]
) -> None:
    """Have evidence brought on chain of two (content, signature) pairs of a member, both of which verified."""
    member = state.round.validators.validators[voter]
    if known[0] == other[0] or member.vote_key in state.accused:
        return
    set_hash, height = state.round.scope.set_hash, state.round.height
    one, two = (Statement(phase, set_hash, height, view, content, signature) for content, signature in (known, other))
    state.accused.add(member.vote_key)
    state.log("warning", "equivocation", company=member.name, phase=phase.name, height=height, view=view)
    state.out.append(Accuse(member.name, equivocation(member.vote_key, one, two)))


def compare_proposal(state: State, message: PrePrepare) -> None:
    """Compare a proposal that we do not take with what else its primary proposed in that view. Raises PeerError
    `proposal-forged` if it did not sign this one.
    """
    round_ = state.round
    digest, voter = header_hash(message.header), round_.primary(message.view)
    known = next(
        (
            (candidate.hash, candidate.signatures[message.view])
            for candidate in round_.candidates.values()
            if message.view in candidate.signatures and candidate.hash != digest
        ),
        None,
    )
    if known is None or is_accused(state, voter):
        return
    statement = Statement(
        Phase.PRE_PREPARE, round_.scope.set_hash, round_.height, message.view, digest, message.signature
    )
    if not state.signed_by(round_.height, voter, statement_digest(state.chain_id, statement), message.signature):
        raise PeerError("proposal-forged", "the primary did not sign this proposal")
    accuse(state, voter, Phase.PRE_PREPARE, message.view, known, (digest, message.signature))


def show_ours(state: State, peer: str, view: int, digest: bytes) -> None:
    """Show a peer that accepted another proposal of this view the one that we have: its primary lied to one of us."""
    proposal = state.round.proposal
    if proposal is not None and view == state.round.view and proposal.hash != digest:
        show(state, peer, proposal)


def show(state: State, peer: str, proposal: Proposal) -> None:
    """Show a peer the present view's proposal, once at a height."""
    round_ = state.round
    if peer not in round_.shown:
        round_.shown.add(peer)
        state.send(Shown(PrePrepare(round_.view, proposal.header_raw, b"", proposal.signatures[round_.view])), peer)


def compare_certificate(state: State, certificate: PreparedCertificate) -> None:
    """Compare the votes of a certificate, which verified, with those that we have ourselves."""
    round_, view, digest = state.round, certificate.view, header_hash(certificate.header)
    for vote in certificate.prepares:
        known = round_.prepares.get(vote.voter, view)
        if known is not None:
            accuse(state, vote.voter, Phase.PREPARE, view, known, (digest, vote.signature))
    for candidate in round_.candidates.values():
        if view in candidate.signatures:
            ours = candidate.hash, candidate.signatures[view]
            accuse(state, round_.primary(view), Phase.PRE_PREPARE, view, ours, (digest, certificate.proposal))


def compare_commits(state: State, certificate: CommitCertificate, digest: bytes) -> None:
    """Compare the votes of a certificate for a block of the open height, which verified, with those that we have
    ourselves.
    """
    for vote in certificate.commits:
        known = state.round.commits.get(vote.voter, certificate.view)
        if known is not None:
            accuse(state, vote.voter, Phase.COMMIT, certificate.view, known, (digest, vote.signature))


def compare_requests(state: State, known: ViewChange, other: ViewChange) -> None:
    """Compare two requests of one member, the second of which has not been verified. Raises PeerError
    `view-change-forged`.
    """
    if known.view != other.view or known.certificate == other.certificate or is_accused(state, other.voter):
        return
    digest = state.round.scope.view_change_digest(other.view, other.certificate)
    if not state.signed_by(other.height, other.voter, digest, other.signature):
        raise PeerError("view-change-forged", f"the request of member {other.voter} does not verify")
    ours, theirs = ((encode(change.certificate), change.signature) for change in (known, other))
    accuse(state, other.voter, Phase.VIEW_CHANGE, other.view, ours, theirs)
