"""View change: giving up on a primary, and agreeing on what the next one must propose.

What makes it safe: whoever asks for view v takes part in no earlier one any more, and shows the prepared certificate of
the highest view that it has; any quorum of such requests holds a member of every quorum that may have committed. What
makes it live: views move only on f + 1 distinct requests, so no faulty minority moves them, and time-outs double.
"""

from consensus import equivocation
from consensus import proposal as proposals
from consensus.certificates import check_prepared, choose, count_voters
from consensus.messages import NewView, PrePrepare, ViewChange
from consensus.normal import check_voter, examine, idle_overdue, sign, take
from consensus.round import Proposal
from consensus.state import State
from consensus.table import Phase, Trigger
from ledger.block import Vote
from ledger.errors import PeerError


def watch(state: State) -> None:
    """Run the timer: while a valid transaction waits or the idle block is overdue (trap 24), and, once a quorum asked
    for it, while a NEW-VIEW is due (trap 14). Overload alone runs no timer: with no room for a proposal nobody is late.
    """
    round_ = state.round
    if state.position(round_.height) is None or not state.has_room:
        round_.deadline_ms = None
        return
    if round_.phase is Phase.CHANGING:
        asking = sum(change.view >= round_.view for change in round_.view_changes.values())
        running = asking >= round_.validators.quorum
    else:
        running = len(state.pool) > 0 or idle_overdue(state)
    if not running:
        round_.deadline_ms = None
    elif round_.deadline_ms is None:
        patience_ms = state.timing.view_ms << min(round_.view, 16)
        round_.deadline_ms = state.steady_ms + min(patience_ms, state.timing.view_ms_max)
    elif state.steady_ms >= round_.deadline_ms:
        state.log("warning", "view timed out", height=round_.height, view=round_.view, phase=round_.phase)
        give_up(state, round_.view + 1)


def give_up(state: State, view: int) -> None:
    """Take part in no view before `view` any more, and ask for it. Drops an open proposal, also our own (trap 16)."""
    round_ = state.round
    round_.view = view
    round_.proposal = None
    round_.deadline_ms = None
    round_.move(Trigger.GAVE_UP, state.steady_ms)
    lock, digest = round_.lock, round_.scope.view_change_digest(view, round_.lock)

    def make(voter: int, signature: bytes) -> ViewChange:
        return ViewChange(round_.height, view, voter, lock, signature)

    message = state.cast_first(round_.height, view, digest, make)
    round_.view_changes[message.voter] = message
    state.send(message)


def on_view_change(state: State, peer: str, message: ViewChange) -> None:
    """A member gave up on the views before the one it asks for."""
    round_ = state.round
    if message.height < round_.height:
        return None  # ordinary: it will catch up
    if message.height > round_.height:
        return state.keep_for_later(message.height, peer, message)
    known = round_.view_changes.get(message.voter)
    check_voter(state, peer, message.height, message.voter)
    if known is not None and known.view >= message.view:
        return equivocation.compare_requests(state, known, message)
    _check_view_change(state, message)
    round_.view_changes[message.voter] = message
    return None


def _check_view_change(state: State, message: ViewChange) -> None:
    """Raise PeerError unless its member signed it and its certificate holds (trap 7)."""
    round_, certificate = state.round, message.certificate
    if message.view == 0:
        raise PeerError("view-change-zero", "nobody need ask for view 0")
    if certificate is not None:
        if certificate.view >= message.view:
            raise PeerError("certificate-late", "a certificate of the view asked for, or a later one")
        proposals.read(state, certificate.header, certificate.view)
    digest = round_.scope.view_change_digest(message.view, certificate)
    if not state.signed_by(round_.height, message.voter, digest, message.signature):
        raise PeerError("view-change-forged", f"the request of member {message.voter} does not verify")
    if certificate is not None:
        check_prepared(state, certificate)
        equivocation.compare_certificate(state, certificate)


def try_follow(state: State) -> bool:
    """Join f + 1 members that want later views: one of them is honest. A huge view of fewer moves nobody (trap 13)."""
    round_ = state.round
    if not round_.view_changes or state.position(round_.height) is None:
        return False
    later = sorted((change.view for change in round_.view_changes.values() if change.view > round_.view), reverse=True)
    if len(later) < round_.validators.weak_quorum:
        return False
    give_up(state, later[round_.validators.weak_quorum - 1])
    return True


def try_new_view(state: State) -> bool:
    """As the primary of the wanted view, with a quorum's requests: propose what they bind us to, or a fresh block."""
    round_ = state.round
    view = round_.view
    if round_.phase is not Phase.CHANGING or not state.has_room:
        return False
    if state.position(round_.height) != round_.primary(view) or (round_.height, view, PrePrepare) in state.own:
        return False
    asking = sorted(round_.view_changes.items())
    view_changes = tuple(change for _, change in asking if change.view == view)
    if len(view_changes) < round_.validators.quorum:
        return False
    certificate = choose(view_changes)
    if certificate is None:
        proposal = proposals.build(state, view)
    else:
        proposal = proposals.read(state, certificate.header, certificate.view)
    proposed = sign(state, proposal, view)
    digest = round_.scope.new_view_digest(view, view_changes, proposed)

    def make(_voter: int, signature: bytes) -> NewView:
        return NewView(round_.height, view, view_changes, proposed, signature)

    message = state.cast_first(round_.height, view, digest, make)
    state.send(message)
    _enter(state, message, proposal)
    return True


def on_new_view(state: State, peer: str, message: NewView) -> None:
    """A new primary's proof that it may begin. An invalid one changes nothing (trap 15)."""
    round_ = state.round
    if message.height < round_.height:
        return None  # ordinary: repeated
    if message.height > round_.height or not state.has_room:
        return state.keep_for_later(message.height, peer, message)
    waiting = round_.phase is Phase.CHANGING or (round_.phase is Phase.WAITING and round_.view > 0)
    if message.view < round_.view or (message.view == round_.view and not waiting):
        return equivocation.compare_proposal(state, message.proposal)  # ordinary: repeated
    if peer != round_.primary_name(message.view):
        raise PeerError("new-view-stranger", f"view {message.view} belongs to {round_.primary_name(message.view)}")
    _enter(state, message, _check_new_view(state, message))
    return None


def _check_new_view(state: State, message: NewView) -> Proposal:
    """The proposal of a NEW-VIEW. Raises PeerError unless it is what a quorum's requests call for, computed here again
    (trap 7). What needs no verification comes first.
    """
    round_ = state.round
    voters = tuple(Vote(change.voter, change.signature) for change in message.view_changes)
    if count_voters(voters, round_.validators.size) < round_.validators.quorum:
        raise PeerError("new-view-short", f"{len(voters)} requests, {round_.validators.quorum} are needed")
    if any((change.height, change.view) != (round_.height, message.view) for change in message.view_changes):
        raise PeerError("new-view-mixed", "requests for another height or view")
    proposed = proposals.read(state, message.proposal.header, message.view)
    certificate = choose(message.view_changes)
    fresh = certificate is None and proposed.header.view == message.view
    bound = certificate is not None and proposed.header_raw == certificate.header  # the very bytes (traps 9, 11)
    if message.proposal.view != message.view or not (fresh or bound):
        raise PeerError("new-view-choice", "it proposes something else than its requests call for")
    digest = round_.scope.new_view_digest(message.view, message.view_changes, message.proposal)
    if not state.signed_by(round_.height, round_.primary(message.view), digest, message.signature):
        raise PeerError("new-view-forged", "its primary did not sign it")
    for change in message.view_changes:
        known = round_.view_changes.get(change.voter)
        if known != change:  # else it was checked when it came
            _check_view_change(state, change)
            if known is not None:
                equivocation.compare_requests(state, known, change)
    return examine(state, message.proposal)


def _enter(state: State, message: NewView, proposal: Proposal) -> None:
    round_ = state.round
    round_.view = message.view
    round_.deadline_ms = None  # progress: the timer starts anew (trap 14)
    round_.move(Trigger.ENTERED, state.steady_ms)
    state.log(
        "info", "view entered", height=round_.height, view=message.view, primary=round_.primary_name(message.view)
    )
    take(state, proposal, message.proposal)
