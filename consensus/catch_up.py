"""Catch-up: nodes tell where they stand; those behind fetch blocks, those ahead repeat what a peer at the same height
may have missed.

Sends are best effort and connections break, so nothing relies on a message having arrived: who stands still is told
again.
"""

from consensus import equivocation
from consensus.certificates import check_committed
from consensus.checkpoint import check_same
from consensus.effects import Charge, Serve
from consensus.messages import (
    BLOCKS_MAX,
    Checkpoint,
    Commit,
    CommittedBlock,
    FetchBlocks,
    NewView,
    Prepare,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    Status,
    ViewChange,
)
from consensus.normal import commit, finish
from consensus.pace import ANSWER_BYTES_MAX, answer_ms
from consensus.proposal import read
from consensus.round import Proposal
from consensus.state import State
from ledger.block import Header, check_sealed, header_hash, result_digest
from ledger.codec import decode
from ledger.errors import OurError, PeerError, require
from ledger.terms import K
from ledger.transaction import decode_transaction


def position(state: State) -> Status:
    """Where we stand."""
    return Status(state.sealed, state.tip.height, state.round.view)


def on_status(state: State, peer: str, message: Status) -> None:
    """Note where a peer stands, and repeat our votes if it and we stand still together: a Status costs a few bytes, its
    answer a proposal, so a peer gets no more than one in `still_ms`, however often it asks.
    """
    state.peers[peer] = message
    if not _may_repeat(state, peer):
        return
    still_ms = state.steady_ms - state.timing.still_ms
    agreeing = message.committed == state.tip.height and still_ms >= state.round.moved_ms
    sealing = still_ms >= state.sealed_ms
    if agreeing or sealing:
        state.repeated_ms[peer] = state.steady_ms
    if agreeing:
        repeat_votes(state, peer)
    if sealing:
        repeat_checkpoints(state, peer, message.sealed)


def greet(state: State, peer: str) -> None:
    """Send a member that has just connected what it may have missed, however often it connects no more than that."""
    if state.votes(peer) and _may_repeat(state, peer):
        state.repeated_ms[peer] = state.steady_ms
        repeat_votes(state, peer)
        repeat_checkpoints(state, peer, state.stored)


def _may_repeat(state: State, peer: str) -> bool:
    last_ms = state.repeated_ms.get(peer)
    return last_ms is None or state.steady_ms >= last_ms + state.timing.still_ms


def repeat_votes(state: State, peer: str) -> None:
    """Send a peer what we cast at the open height and view. PREPARE and COMMIT go behind the proposal that they are
    for.
    """
    round_ = state.round
    for kind in (ViewChange, NewView, PrePrepare, Prepare, Commit):
        cast = state.own.get((round_.height, round_.view, kind))
        if cast is not None and (kind is not PrePrepare or round_.view == 0):
            state.send(cast[1], peer)


def repeat_checkpoints(state: State, peer: str, sealed: int) -> None:
    """Send a peer our results above its last sealed block."""
    for height in range(max(sealed, state.stored) + 1, state.executed + 1):
        cast = state.own.get((height, 0, Checkpoint))
        if cast is not None:
            state.send(cast[1], peer)


def ask(state: State) -> None:
    """Ask a peer that is ahead for the next blocks, one request at a time, each from the next such peer."""
    fetch = state.fetch
    if fetch.arrived or (fetch.peer is not None and state.steady_ms < fetch.asked_ms + state.timing.fetch_ms):
        return
    if fetch.peer is not None:
        fetch.failed.add(fetch.peer)
        fetch.peer = None
    if state.executed < state.tip.height or state.tip.height > state.stored + K:
        return  # the blocks that we have keep us, or our disk, busy
    ahead = {
        name: status
        for name, status in state.peers.items()
        if status is not None and (status.committed > state.tip.height or status.sealed > state.sealed)
    }
    donors = [name for name in state.sources() if name in ahead] if ahead else []
    if fetch.failed.issuperset(donors):
        fetch.failed.clear()  # all get another chance; till then a liar costs one time-out, not one in n requests
    donors = [name for name in donors if name not in fetch.failed]
    still = state.steady_ms >= max(state.round.moved_ms, state.sealed_ms) + state.timing.still_ms
    far = any(ahead[name].sealed > state.tip.height + 1 for name in donors)
    if not donors or not (still or far or _was_passed(state)):
        return  # a block behind, and moving: its votes are on their way
    fetch.peer = donors[fetch.count % len(donors)]
    fetch.asked_ms = state.steady_ms
    fetch.count += 1
    state.send(FetchBlocks(state.sealed + 1, state.sealed + K), fetch.peer)


def _was_passed(state: State) -> bool:
    """Whether f + 1 members sent COMMITs for a block that we never got: an honest one among them has it. A primary that
    shows one of us another block could else hold up whoever is next in turn, and never fail itself.
    """
    round_ = state.round
    agreed = round_.commits.agreed(round_.validators.weak_quorum)
    return any(digest not in round_.candidates for _, digest, _ in agreed)


def on_fetch_blocks(state: State, peer: str, message: FetchBlocks) -> None:
    """Serve from the store what it has (whoever reads it gives one answer at a time to a peer), else the tail from
    memory, at the peer's pace.
    """
    last = min(message.last, message.first + BLOCKS_MAX - 1)
    if not 0 < message.first <= last:
        raise PeerError("fetch-range", f"blocks {message.first} to {message.last}")
    if message.first <= state.stored:
        state.out.append(Serve(peer, message.first, min(last, state.stored)))
        return None
    if not state.answering.allows(peer, state.steady_ms):
        return state.ignore("asks too fast", peer, message)
    blocks: list[SealedBlock] = []
    tail: list[CommittedBlock] = []
    room = ANSWER_BYTES_MAX
    for height in range(message.first, min(last, state.tip.height) + 1):
        entry = state.entries[height]
        raws = tuple(transaction.raw for transaction in entry.block.transactions)
        if height <= state.sealed and entry.seal is not None:
            blocks.append(SealedBlock(entry.seal, raws))
        elif entry.certificate is not None:
            tail.append(CommittedBlock(entry.block.header_raw, entry.certificate, raws))
        else:
            break  # it came with a seal that we have not confirmed: not ours to pass on
        room -= sum(map(len, raws))
        if room < 0:
            break
    state.answering.spend(peer, state.steady_ms, answer_ms(ANSWER_BYTES_MAX - room))
    if blocks or tail:
        state.send(SealedBlocks(tuple(blocks), tuple(tail)), peer)
    return None


def on_sealed_blocks(state: State, peer: str, message: SealedBlocks) -> None:
    """Keep the blocks that we asked for until `take_next` has looked at each."""
    fetch = state.fetch
    if peer != fetch.peer or fetch.arrived:
        return state.ignore("not asked for", peer, message)
    fetch.arrived.extend((*message.blocks, *message.tail))
    fetch.useful = False
    if not fetch.arrived:
        fetch.finish()
    return None


def take_next(state: State) -> None:
    """Look at the next of the blocks that arrived: one per event, because hashing and checking a full block takes as
    long as a turn may; votes that wait get theirs in between. A bad block is charged, and the rest is not looked at.
    """
    fetch = state.fetch
    if not fetch.arrived or fetch.peer is None or state.disk_full:
        return
    block = fetch.arrived.popleft()
    try:
        used = _take_sealed(state, block) if isinstance(block, SealedBlock) else _take_committed(state, block)
        fetch.useful = fetch.useful or used
    except PeerError as error:
        fetch.arrived.clear()
        fetch.useful = False
        state.out.append(Charge(fetch.peer, error.code, error.message))
    if not fetch.arrived:
        fetch.finish()


def _take_sealed(state: State, block: SealedBlock) -> bool:
    """A sealed block: the seal of one that we have, or the next one. Final either way, in whatever view we are (traps
    20, 21). False if it is of no use.
    """
    height = decode(Header, block.sealed.header).height
    if height <= state.sealed or height > min(state.sealed + K, state.stored + 2 * K):
        return False
    # Against the set that voted on it, which the block before it fixed (trap 22).
    header, result = check_sealed(block.sealed, state.validators_at(height), state.chain_id, state.verify)
    if height <= state.tip.height:
        entry = state.entries[height]
        if entry.block.hash != result.header_hash:
            raise OurError("fork", f"height {height}: a quorum sealed another block than the one that we committed")
        if entry.digest is not None:
            check_same(height, entry.digest, result_digest(block.sealed.result))
        if entry.seal is None:
            entry.seal = block.sealed
    elif height == state.tip.height + 1:
        if header.parent != state.tip.header_hash:
            raise OurError("fork", f"height {height}: a quorum sealed a block on another chain than ours")
        proposal = _complete(state, block.sealed.header, header, block.transactions)
        finish(state, proposal, None).seal = block.sealed
    else:
        raise PeerError("blocks-gap", f"height {height} does not follow {state.tip.height}")
    return True


def _take_committed(state: State, block: CommittedBlock) -> bool:
    """The next committed block of a peer's tail. False if it is of no use."""
    header = decode(Header, block.header)
    if header.height != state.round.height or not state.has_room:
        return False
    read(state, block.header, block.certificate.view)
    digest = header_hash(block.header)
    check_committed(state, state.round, digest, block.certificate)
    equivocation.compare_commits(state, block.certificate, digest)
    commit(state, _complete(state, block.header, header, block.transactions), block.certificate)
    return True


def _complete(state: State, header_raw: bytes, header: Header, raws: tuple[bytes, ...]) -> Proposal:
    """The block with its transactions, if they are those of the header. A quorum vouches for their signatures."""
    transactions = [decode_transaction(raw) for raw in raws]
    proposal = Proposal(header_raw, header, header_hash(header_raw))
    proposal.list_leaves([transaction.leaf for transaction in transactions], state.tip)
    for transaction in transactions:
        proposal.offer(transaction)
    require(proposal.complete, "catch-up-incomplete", f"height {header.height} lacks transactions that it lists")
    return proposal
