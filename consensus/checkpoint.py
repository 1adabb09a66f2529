"""CHECKPOINT: every member signs what executing a block gave; a quorum of equal results is the block's seal."""

from consensus.effects import Charge, Outcome, StoreSealed, Truncate
from consensus.messages import Checkpoint
from consensus.normal import check_voter
from consensus.state import Entry, State
from ledger.block import Result, SealedHeader, Vote, history_leaf, result_digest
from ledger.codec import encode
from ledger.errors import OurError, PeerError, require
from ledger.terms import DECISION_DELAY, K, advance, terms_at


def on_executed(state: State, outcome: Outcome) -> None:
    """The next block is executed: sign the result, unless the block came with its seal."""
    height = outcome.height
    entry = state.entries.get(height)
    if entry is None or height != state.executed + 1 or entry.block.hash != outcome.header_hash:
        raise OurError(
            "execution-order", f"height {height} was executed out of turn, or another block than the committed one"
        )
    known = tuple(terms for terms in outcome.timeline if terms.height <= height + K)
    announced = known == advance(state.timeline, height + 1)
    require(announced, "terms-unannounced", f"height {height} changes terms that rule earlier than K + 1 blocks on")
    header = entry.block.header
    result = Result(
        state.chain_id,
        height,
        entry.block.hash,
        header.time_ms,
        header.set_hash,
        terms_at(outcome.timeline, height + 1).validators.hash(),
        outcome.state_root,
        outcome.receipts_root,
        state.history.root,
    )
    entry.outcome = outcome
    entry.result = encode(result)
    entry.digest = digest = result_digest(entry.result)
    state.executed = height
    earlier = (terms for terms in state.timeline if terms.height < outcome.timeline[0].height)
    state.timeline = (*earlier, *outcome.timeline)
    state.history = state.history.append(history_leaf(entry.block.hash, digest))
    if entry.seal is not None:
        check_same(height, digest, result_digest(entry.seal.result))
        return
    signed_before = state.own.get((height, 0, Checkpoint))
    if signed_before is not None:
        check_same(height, digest, signed_before[0])
    _sign(state, height, digest)
    for voter, (theirs, _) in sorted(state.checkpoints.get(height, {}).items()):
        _compare(state, height, voter, digest, theirs)
    _check_contradiction(state, entry)


def sign_late(state: State) -> None:
    """The disk has room again: sign the results of what was executed meanwhile."""
    for height, entry in sorted(state.entries.items()):
        if entry.digest is not None and entry.seal is None and (height, 0, Checkpoint) not in state.own:
            _sign(state, height, entry.digest)


def _sign(state: State, height: int, digest: bytes) -> None:
    def make(voter: int, signature: bytes) -> Checkpoint:
        return Checkpoint(height, digest, voter, signature)

    message = state.cast(height, 0, digest, make)
    if message is not None:
        _count(state, message)
        state.send(message)


def _compare(state: State, height: int, voter: int, ours: bytes, theirs: bytes) -> None:
    """Tell of a member whose result is not ours: it has a bug, or lies, or we do. The others may suspend it."""
    if theirs != ours:
        name = state.validators_at(height).validators[voter].name
        state.out.append(
            Charge(name, "result-differs", f"height {height}: its result is {theirs.hex()}, ours {ours.hex()}")
        )


def on_checkpoint(state: State, peer: str, message: Checkpoint) -> None:
    """A member's result."""
    if message.height <= state.sealed:
        return None  # ordinary: the quorum did not wait for it
    if message.height > state.executed + DECISION_DELAY:  # whose set may still be decided
        return state.ignore("too far ahead", peer, message)  # we are behind: catch-up brings the seals
    if message.voter in state.checkpoints.get(message.height, ()):
        return None  # ordinary: repeated
    check_voter(state, peer, message.height, message.voter)
    if not state.signed_by(message.height, message.voter, message.result_digest, message.signature):
        raise PeerError("checkpoint-forged", f"the CHECKPOINT of {peer} does not verify")
    _count(state, message)
    entry = state.entries.get(message.height)
    if entry is not None and entry.digest is not None:
        _compare(state, message.height, message.voter, entry.digest, message.result_digest)
        _check_contradiction(state, entry)
    return None


def _count(state: State, message: Checkpoint) -> None:
    votes = state.checkpoints.setdefault(message.height, {})
    votes.setdefault(message.voter, (message.result_digest, message.signature))


def check_same(height: int, ours: bytes, theirs: bytes) -> None:
    """Raise OurError `result-contradicted` unless our result is the quorum's (or the one that we signed before a
    restart).
    """
    message = f"height {height}: our result {ours.hex()} is not {theirs.hex()}; this is a bug, never to be voted over"
    require(ours == theirs, "result-contradicted", message)


def _check_contradiction(state: State, entry: Entry) -> None:
    """Stop if a quorum signed another result than ours."""
    height = entry.tip.height
    digests = [digest for digest, _ in state.checkpoints.get(height, {}).values()]
    for digest in sorted(set(digests)):
        if entry.digest is not None and digests.count(digest) >= state.validators_at(height).quorum:
            check_same(height, entry.digest, digest)


def try_seal(state: State) -> bool:
    """Seal the lowest unsealed block if a quorum signed our result of it."""
    height = state.sealed + 1
    entry = state.entries.get(height)
    if entry is None or entry.outcome is None or entry.digest is None:
        return False
    if entry.seal is None:
        votes = tuple(
            Vote(voter, signature)
            for voter, (digest, signature) in sorted(state.checkpoints.get(height, {}).items())
            if digest == entry.digest
        )
        quorum = state.validators_at(height).quorum
        if len(votes) < quorum:
            return False
        entry.seal = SealedHeader(entry.block.header_raw, entry.result, votes[:quorum])
    state.head = state.head.after(entry.tip, entry.digest, entry.outcome.timeline)
    state.checkpoints.pop(height, None)
    state.sealed_ms = state.steady_ms
    state.out.append(StoreSealed(entry.block, entry.seal, entry.outcome, state.head))
    return True


def on_stored(state: State, height: int) -> None:
    """The store holds it: memory and log may forget it (trap 19: nothing earlier, nothing without its seal)."""
    require(state.stored < height <= state.sealed, "store-order", f"height {height} was stored out of turn")
    for old in range(state.stored + 1, height + 1):
        del state.entries[old]
    state.stored = height
    state.timeline = advance(state.timeline, height + 1)
    state.own = {key: cast for key, cast in state.own.items() if key[0] > height}
    state.out.append(Truncate(height))
