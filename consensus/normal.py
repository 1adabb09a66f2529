"""The normal case: PRE-PREPARE, PREPARE, COMMIT, and what follows from each.

Handlers read alike: what is ignored (and why), what must hold (or the peer is charged), what is done. `advance` then
draws the conclusions.
"""

from msgspec.structs import replace

from consensus import equivocation
from consensus import proposal as proposals
from consensus.effects import Charge, Execute, Persist
from consensus.messages import (
    Commit,
    CommitCertificate,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    Shown,
    split_leaves,
)
from consensus.records import CommitRecord, LockRecord
from consensus.round import Proposal, Round
from consensus.state import Entry, State
from consensus.table import Phase, Trigger
from ledger import evidence
from ledger.block import Block, Header, Vote, header_hash
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.hashing import Tag


def on_pre_prepare(state: State, peer: str, message: PrePrepare) -> None:
    """A primary's first proposal at a height. In later views proposals come inside NEW-VIEW only."""
    round_ = state.round
    height = decode(Header, message.header).height
    if height < round_.height:
        return None  # ordinary: a repeated message
    if height > round_.height or not state.has_room:
        return state.keep_for_later(height, peer, message)
    held = round_.proposal
    if held is not None and held.header_raw == message.header and held.leaves is None and message.leaves:
        return list_leaves(state, held, message.leaves)  # it was shown to us first, without its list
    if message.view != 0 or round_.view != 0 or round_.phase is not Phase.WAITING:
        equivocation.compare_proposal(state, message)
        return state.ignore("not waiting for a first proposal", peer, message)
    if peer != round_.primary_name(0):
        raise PeerError("proposal-stranger", f"it is the turn of {round_.primary_name(0)}")  # trap 15
    take(state, examine(state, message), message)
    return None


def on_shown(state: State, peer: str, message: Shown) -> None:
    """A peer shows what was proposed to it: what the primary kept from us, or perhaps another proposal than ours."""
    round_, shown = state.round, message.proposal
    height = message.height  # decodes the header
    if height < round_.height:
        return None  # ordinary: repeated
    is_first = shown.view == round_.view == 0 and round_.phase is Phase.WAITING
    if height > round_.height or (is_first and not state.has_room):
        return state.keep_for_later(height, peer, message)
    if not is_first or not state.votes(peer):
        equivocation.compare_proposal(state, shown)
        if shown.view == round_.view == 0 and state.votes(peer):
            round_.others.setdefault(peer, replace(shown, leaves=b""))  # the header alone: a list may be long
        return None
    _take_shown(state, shown, Trigger.PROPOSED)
    return None


def _take_shown(state: State, shown: PrePrepare, trigger: Trigger) -> None:
    """Take a proposal that another than the primary brought."""
    proposal = examine(state, shown)
    take(state, proposal, shown, trigger)
    proposal.asked_ms -= state.timing.bodies_ms  # its list comes by no gossip: ask at once
    proposal.asked_count = 1  # … and others before the primary, which left us out


def _take_other(state: State, held: Proposal) -> bool:
    """The primary told others another first proposal than us, and a quorum accepted that: take it in place of ours, to
    lock on it and give our COMMIT. It is as safe as any COMMIT, which rests on the certificate alone; our PREPARE stays
    with the one that we had. Without it the next view would have to propose that block again, so a primary that tells
    two stories and holds back its own COMMIT would make each of its turns cost a time-out, and never be passed over.
    """
    round_ = state.round
    if round_.view != 0 or round_.phase not in (Phase.GATHERING, Phase.REFUSING, Phase.PREPARING):
        return False
    for peer, other in list(round_.others.items()):
        digest = header_hash(other.header)
        if digest == held.hash or not _is_accepted(round_, digest):
            continue
        del round_.others[peer]
        try:
            _take_shown(state, other, Trigger.OUTVOTED)
        except PeerError as error:
            state.out.append(Charge(peer, error.code, error.message))
            continue
        return True
    return False


def _is_accepted(round_: Round, digest: bytes) -> bool:
    """Whether a quorum, the primary among it, accepted a proposal of the present view."""
    return len(_backups(round_, digest)) + 1 >= round_.validators.quorum


def _backups(round_: Round, digest: bytes) -> tuple[Vote, ...]:
    """The PREPAREs for a proposal in the present view. The primary's proposal is its own (trap 4)."""
    primary = round_.primary(round_.view)
    return tuple(vote for vote in round_.prepares.supporters(round_.view, digest) if vote.voter != primary)


def examine(state: State, message: PrePrepare) -> Proposal:
    """The proposal of a message. Raises PeerError if the primary's signature, the header or the list of leaves is
    wrong.
    """
    round_ = state.round
    proposal = proposals.read(state, message.header, message.view)
    digest = round_.scope.vote_digest(Tag.PRE_PREPARE, message.view, proposal.hash)
    if not state.signed_by(round_.height, round_.primary(message.view), digest, message.signature):
        raise PeerError("proposal-forged", "the primary did not sign this proposal")
    if proposal.leaves is None and (message.leaves or not proposal.header.tx_count):
        list_leaves(state, proposal, message.leaves)
    return proposal


def list_leaves(state: State, proposal: Proposal, leaves: bytes) -> None:
    """Take the list of leaves, and of the pool what it has of them."""
    proposal.list_leaves(split_leaves(leaves), state.round.parent)
    for leaf in list(proposal.missing):
        if (transaction := state.pool.get(leaf)) is not None:
            proposal.offer(transaction)


def take(state: State, proposal: Proposal, message: PrePrepare, trigger: Trigger = Trigger.PROPOSED) -> None:
    """Make an examined proposal that of the present view."""
    round_ = state.round
    proposal.signatures[message.view] = message.signature
    proposal.asked_ms = state.steady_ms
    round_.proposal = proposal
    round_.remember(proposal)
    round_.move(trigger, state.steady_ms)


def on_prepare(state: State, peer: str, message: Prepare) -> None:
    """A backup's acceptance."""
    round_ = state.round
    if message.height < round_.height or message.view < round_.view:
        return None  # ordinary: the quorum did not wait for it
    if message.height > round_.height:
        return state.keep_for_later(message.height, peer, message)
    if message.voter == round_.primary(message.view):
        raise PeerError("prepare-by-primary", "the primary's proposal is its vote (trap 4)")
    _take_vote(state, peer, message, Tag.PREPARE)
    equivocation.show_ours(state, peer, message.view, message.header_hash)
    return None


def on_commit(state: State, peer: str, message: Commit) -> None:
    """A member's word that it holds a prepared certificate; those of earlier views may still decide."""
    round_ = state.round
    if message.height < round_.height:
        return None  # ordinary: the quorum did not wait for it
    if message.height > round_.height:
        return state.keep_for_later(message.height, peer, message)
    _take_vote(state, peer, message, Tag.COMMIT)
    return None


def _take_vote(state: State, peer: str, message: Prepare | Commit, phase: Tag) -> None:
    """Count a vote once it verified. A second one that differs is evidence against its member, and counts nothing."""
    round_ = state.round
    check_voter(state, peer, message.height, message.voter)
    tally = round_.prepares if phase is Tag.PREPARE else round_.commits
    known = tally.get(message.voter, message.view)
    if known is not None and (known[0] == message.header_hash or equivocation.is_accused(state, message.voter)):
        return  # ordinary: repeated
    digest = round_.scope.vote_digest(phase, message.view, message.header_hash)
    if not state.signed_by(message.height, message.voter, digest, message.signature):
        raise PeerError("vote-forged", f"a {phase.value} of {peer} does not verify")
    vote = message.header_hash, message.signature
    if known is None:
        tally.add(message.voter, message.view, *vote)
    else:
        equivocation.accuse(state, message.voter, evidence.Phase[phase.name], message.view, known, vote)


def check_voter(state: State, peer: str, height: int, voter: int) -> None:
    """Raise PeerError `vote-stranger` unless the vote comes from the member that it names."""
    members = state.validators_at(height).validators
    if voter >= len(members) or members[voter].name != peer:
        raise PeerError("vote-stranger", f"{peer} sent a vote of member {voter}")


def advance(state: State) -> bool:
    """Draw one conclusion from what has arrived; False if there is none to draw."""
    round_, proposal = state.round, state.round.proposal
    if proposal is not None:
        if round_.others and _take_other(state, proposal):
            return True
        if round_.phase is Phase.GATHERING and proposal.size_bytes > state.parameters.block_bytes_max:
            _refuse(state, PeerError("proposal-content", "more bytes than a block may hold"))  # before all are fetched
            return True
        if round_.phase is Phase.GATHERING and proposal.complete and not _ahead_of_clock(state, proposal):
            _prepare(state, proposal)
            return True
        if round_.phase is Phase.PREPARING and _try_lock(state, proposal):
            return True
    if not state.has_room:
        return False  # a block of the log may stand here: the terms behind it are not yet known
    quorum = round_.validators.quorum
    for view, digest, votes in round_.commits.agreed(quorum):
        candidate = round_.candidates.get(digest)
        if candidate is not None and candidate.complete:
            commit(state, candidate, CommitCertificate(view, votes[:quorum]))
            return True
    return False


def _ahead_of_clock(state: State, proposal: Proposal) -> bool:
    """A first proposal too far ahead of our clock waits. Re-proposals do not: others' clocks have accepted them."""
    first = proposal.header.view == state.round.view
    return first and proposal.header.time_ms > state.now_ms + state.parameters.time_ahead_max_ms


def _prepare(state: State, proposal: Proposal) -> None:
    """All is here: check it, and cast our PREPARE. The primary's proposal was its vote."""
    round_ = state.round
    try:
        proposals.check_content(state, proposal)
    except PeerError as error:
        return _refuse(state, error)
    round_.move(Trigger.CHECKED, state.steady_ms)
    return _vote(state)


def _refuse(state: State, error: PeerError) -> None:
    """No vote for the present proposal; the timer, which its transactions keep running, leads on."""
    round_ = state.round
    round_.move(Trigger.REFUSED, state.steady_ms)
    state.out.append(Charge(round_.primary_name(round_.view), error.code, error.message))


def _try_lock(state: State, proposal: Proposal) -> bool:
    """With a quorum's acceptance: keep block and certificate, then cast our COMMIT."""
    round_ = state.round
    if not _is_accepted(round_, proposal.hash):
        return False
    prepares = _backups(round_, proposal.hash)[: round_.validators.quorum - 1]
    signature = proposal.signatures[round_.view]
    round_.lock = PreparedCertificate(round_.view, proposal.header_raw, signature, prepares)
    round_.move(Trigger.PREPARED, state.steady_ms)
    _vote(state)
    return True


def vote_late(state: State) -> None:
    """The disk has room again: cast the vote that fell due meanwhile."""
    round_ = state.round
    kind = {Phase.PREPARING: Prepare, Phase.COMMITTING: Commit}.get(round_.phase)
    if kind is not None and (round_.height, round_.view, kind) not in state.own:
        _vote(state)


def _vote(state: State) -> None:
    """Cast what the present phase asks for, if we vote, behind the records that it needs on disk."""
    round_, proposal = state.round, state.round.proposal
    position = state.position(round_.height)
    if proposal is None or position is None:
        return
    if round_.lock is None or round_.phase is Phase.PREPARING:
        if position != round_.primary(round_.view):
            state.keep_block(proposal)  # a certificate may come of it that binds all, and that a liar alone can show
            _cast(state, Prepare, Tag.PREPARE, proposal)
    else:
        state.keep_block(proposal)
        state.out.append(Persist(encode(LockRecord(round_.lock)), round_.height))
        _cast(state, Commit, Tag.COMMIT, proposal)


def _cast(state: State, kind: type[Prepare] | type[Commit], phase: Tag, proposal: Proposal) -> None:
    round_ = state.round
    view, digest = round_.view, round_.scope.vote_digest(phase, round_.view, proposal.hash)

    def make(voter: int, signature: bytes) -> Prepare | Commit:
        return kind(round_.height, view, proposal.hash, voter, signature)

    message = state.cast(round_.height, view, digest, make)
    if message is not None:
        state.send(message)
        tally = round_.prepares if kind is Prepare else round_.commits
        tally.add(message.voter, view, proposal.hash, message.signature)


def commit(state: State, proposal: Proposal, certificate: CommitCertificate) -> None:
    """Make a block final that a quorum of COMMITs decided for."""
    finish(state, proposal, certificate)
    state.keep_block(proposal)
    record = CommitRecord(proposal.header.height, proposal.hash, certificate)
    state.out.append(Persist(encode(record), proposal.header.height))


def finish(state: State, proposal: Proposal, certificate: CommitCertificate | None) -> Entry:
    """Begin the execution of a final block, and open the next height. Without a certificate, the caller holds the
    block's seal.
    """
    round_ = state.round
    block = Block(proposal.header_raw, proposal.header, proposal.hash, proposal.transactions)
    tip = state.tip.after(proposal.header_raw, proposal.header, round_.validators)
    entry = state.entries[round_.height] = Entry(block, tip, certificate)
    state.out.append(
        Execute(block, tip.failures)
    )  # before the records: execution leaves no trace that a crash could contradict
    state.window.add(tip.time_ms, [tx.id for tx in block.transactions])
    state.pool.remove(block.transactions)
    state.tip = tip
    round_.move(Trigger.COMMITTED, state.steady_ms)
    state.open_round(len(block.transactions))
    return entry


def try_propose(state: State) -> bool:
    """As the primary of view 0, propose when there is something to propose."""
    round_ = state.round
    if round_.phase is not Phase.WAITING or round_.view != 0 or not state.has_room or not _due(state):
        return False
    if state.position(round_.height) != round_.primary(0):
        return False  # a proposal of ours in the log would have us past WAITING
    proposal = proposals.build(state, 0)
    if not proposal.header.tx_count and not idle_overdue(state):
        return False  # what waits is no longer valid
    message = sign(state, proposal, 0)
    state.send(message)
    take(state, proposal, message)
    return True


def sign(state: State, proposal: Proposal, view: int) -> PrePrepare:
    """Our PRE-PREPARE, the first, for a view that we are the primary of: on disk but not sent."""
    digest = state.round.scope.vote_digest(Tag.PRE_PREPARE, view, proposal.hash)
    leaves = b"".join(proposal.leaves or ())

    def make(_voter: int, signature: bytes) -> PrePrepare:
        return PrePrepare(view, proposal.header_raw, leaves, signature)

    return state.cast_first(state.round.height, view, digest, make)


def idle_overdue(state: State) -> bool:
    """Whether the chain has been idle for as long as it may."""
    return state.now_ms >= state.tip.time_ms + state.parameters.idle_interval_ms


def _due(state: State) -> bool:
    """As soon as transactions wait; under load a little later, with more of them, when the block before is executed.

    Fuller blocks cost less per transaction: a changed key of the state tree in a block of 2,000 transactions half as
    much as in one of 100. So under load blocks grow with the work that they make.
    """
    timing, open_ms = state.timing, state.steady_ms - state.round.opened_ms
    if open_ms < state.window.pause_ms:
        return False
    if idle_overdue(state) or state.pool.has_full_block():
        return True
    is_busy = state.executed < state.tip.height and open_ms < timing.linger_ms_max
    lingers = state.round.parent_count >= timing.linger_count and (is_busy or open_ms < timing.linger_ms)
    return len(state.pool) > 0 and not lingers
