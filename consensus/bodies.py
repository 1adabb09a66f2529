"""Fetching what a proposal names and gossip did not bring: one bounded request at a time, each from another source. And
showing a proposal to those who did not get it.
"""

from consensus import equivocation
from consensus.effects import Verify
from consensus.messages import BODIES_MAX, Bodies, FetchBodies, split_leaves
from consensus.normal import list_leaves
from consensus.pace import ANSWER_BYTES_MAX, answer_ms
from consensus.round import Proposal
from consensus.state import State
from consensus.table import Phase
from ledger.block import Block
from ledger.transaction import Transaction, transaction_leaf

LATE_AFTER = 10
"""Times `bodies_ms`: whatever is still being verified then is asked for again; it may have been dropped."""


def ask(state: State) -> None:
    """Ask the next source if the present proposal still lacks something and the last one has had its time."""
    proposal = state.round.proposal
    if proposal is None or state.round.phase is not Phase.GATHERING or proposal.complete:
        return
    if state.steady_ms < proposal.asked_ms + state.timing.bodies_ms or not state.peers:
        return
    late = state.steady_ms >= state.round.moved_ms + LATE_AFTER * state.timing.bodies_ms
    missing = [leaf for leaf in proposal.missing if late or not state.pool.expects(leaf)]
    if proposal.leaves is not None and not missing:
        return  # all are here and being verified: to ask would only add to the work
    sources = state.sources()
    primary = state.round.primary_name(state.round.view)
    first = sources.index(primary) if primary in sources else 0
    source = sources[(first + proposal.asked_count) % len(sources)]
    proposal.asked_ms = state.steady_ms
    proposal.asked_count += 1
    state.send(FetchBodies(proposal.hash, b"".join(missing[:BODIES_MAX])), source)


def show(state: State) -> None:
    """Show the first proposal, once we are locked on it, to those who have not accepted it. A primary that leaves some
    out and holds back its own COMMIT could else make each of its turns cost a time-out, and never be passed over: the
    next view must propose its block again.
    """
    round_, proposal = state.round, state.round.proposal
    if proposal is None or round_.phase is not Phase.COMMITTING or round_.view != 0:
        return
    if state.position(round_.height) is None:
        return  # of hundreds of observers nobody is believed
    if state.steady_ms < round_.moved_ms + state.timing.bodies_ms:
        return
    for voter, member in enumerate(round_.validators.validators):
        if member.name in state.peers and voter != round_.primary(0) and round_.prepares.get(voter, 0) is None:
            equivocation.show(state, member.name, proposal)


def on_fetch_bodies(state: State, peer: str, message: FetchBodies) -> None:
    """Answer from the pool, the proposals of the open height and the unsealed blocks, at the peer's pace."""
    if not state.answering.allows(peer, state.steady_ms):
        return state.ignore("asks too fast", peer, message)
    block = _find(state, message.header_hash)
    if block is None and not message.leaves:
        return state.ignore("proposal not known here", peer, message)
    held = {tx.leaf: tx for tx in block.transactions} if block is not None else {}
    leaves = b""
    if not message.leaves and isinstance(block, Proposal) and block.leaves is not None:
        leaves = b"".join(block.leaves)
    elif not message.leaves and isinstance(block, Block):
        leaves = b"".join(held)
    raws: list[bytes] = []
    room = ANSWER_BYTES_MAX
    for leaf in split_leaves(message.leaves)[:BODIES_MAX]:
        transaction = held.get(leaf) or state.pool.get(leaf)
        if transaction is not None and (room := room - len(transaction.raw)) >= 0:
            raws.append(transaction.raw)
    sought = max(len(message.leaves), len(leaves))  # a search that finds nothing is work as well
    state.answering.spend(peer, state.steady_ms, answer_ms(sought + sum(map(len, raws))))
    if leaves or raws:
        state.send(Bodies(message.header_hash, leaves, tuple(raws)), peer)
    return None


def _find(state: State, header_hash: bytes) -> Proposal | Block | None:
    if header_hash in state.round.candidates:
        return state.round.candidates[header_hash]
    return next((entry.block for entry in state.entries.values() if entry.block.hash == header_hash), None)


def on_bodies(state: State, peer: str, message: Bodies) -> None:
    """Have the missing ones verified; they come back through `offer`."""
    proposal = state.round.proposal
    gathering = state.round.phase is Phase.GATHERING
    if proposal is None or proposal.hash != message.header_hash or proposal.complete or not gathering:
        return state.ignore("no longer missing", peer, message)
    if proposal.leaves is None and message.leaves:
        list_leaves(state, proposal, message.leaves)
        proposal.asked_ms = (
            state.steady_ms - state.timing.bodies_ms
        )  # the list brought us on: ask for its bodies at once
        proposal.asked_count -= 1  # … and from the same source
    wanted = tuple(raw for raw in message.raws if transaction_leaf(raw) in proposal.missing)
    if wanted:
        state.out.append(Verify(wanted, peer))
    return None


def offer(state: State, transactions: tuple[Transaction, ...]) -> None:
    """Give verified transactions to the proposal that may wait for them."""
    proposal = state.round.proposal
    if proposal is not None and proposal.missing and state.round.phase is Phase.GATHERING:
        for transaction in transactions:
            proposal.offer(transaction)
