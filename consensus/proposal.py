"""Making a block, and all that is checked before a vote for one (trap 6)."""

from consensus.round import Proposal
from consensus.state import State
from ledger.block import Header, branch_table, header_hash, sort_by_branch
from ledger.codec import decode, encode
from ledger.errors import PeerError


def build(state: State, view: int) -> Proposal:
    """A fresh block on top of the last committed one, of what waits in the pool."""
    round_ = state.round
    parent = round_.parent
    time_ms = max(state.now_ms, parent.time_ms + 1)
    transactions = sort_by_branch(state.pool.select(time_ms, parent.time_ms))
    rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], parent.branch_heads)
    header = Header(
        state.chain_id,
        round_.height,
        view,
        time_ms,
        parent.header_hash,
        root,
        len(transactions),
        round_.scope.set_hash,
        round_.primary_name(view),
        rows,
    )
    raw = encode(header)
    proposal = Proposal(raw, header, header_hash(raw))
    proposal.leaves = [tx.leaf for tx in transactions]
    proposal.bodies = list(transactions)
    proposal.size_bytes = sum(len(tx.raw) for tx in transactions)
    return proposal


def read(state: State, header_raw: bytes, view: int) -> Proposal:
    """Proposal from a header seen in `view`, the candidate that we have if it is one, after the checks that need the
    header alone.

    Raises PeerError `encoding-…` or `proposal-header`.
    """
    digest = header_hash(header_raw)
    if digest in state.round.candidates:
        return state.round.candidates[digest]
    header = decode(Header, header_raw)
    check_header(state, header, view)
    return Proposal(header_raw, header, digest)


def check_header(state: State, header: Header, view: int) -> None:
    """Raise PeerError `proposal-header` unless it may stand at the open height, proposed in `view` or earlier."""
    round_ = state.round
    parent = round_.parent
    for wrong, what in (
        (header.chain_id != state.chain_id, "another chain"),
        (header.height != round_.height, "another height"),
        (header.parent != parent.header_hash, "another parent"),
        (header.set_hash != round_.scope.set_hash, "another validator set"),
        (header.view > view, "a later view"),
        (header.proposer != round_.primary_name(header.view), "a company whose turn it was not"),
        (header.time_ms <= parent.time_ms, "a time not later than the parent's"),
        (header.tx_count > state.parameters.block_transactions_max, "more transactions than a block may hold"),
    ):
        if wrong:
            raise PeerError("proposal-header", f"the header of height {round_.height} names {what}")


def check_content(state: State, proposal: Proposal) -> None:
    """Repeat what all honest validators must see alike, over the transactions of a complete proposal.

    Size, shape and signature were checked when each was decoded and verified, the block's bytes as they came; here:
    chain, branch, expiry, no duplicate on this chain of parents, gas. Raises PeerError `proposal-content`.
    (CVE-2018-17144: a node that left the repeated check out for speed.)
    """
    header, parameters = proposal.header, state.parameters
    time_ms, parent_ms = header.time_ms, state.round.parent.time_ms
    latest_ms = (parent_ms + parameters.expiry_max_ms, parent_ms + parameters.device_expiry_max_ms)  # by expiry class
    bodies = iter(proposal.transactions)
    ids: set[bytes] = set()
    gas = 0
    for row in header.branches:
        for _ in range(row.count):
            tx = next(bodies)
            body = tx.body
            if body.chain_id != state.chain_id:
                raise PeerError("proposal-content", "a transaction of another chain")
            if body.branch != row.branch:
                raise PeerError("proposal-content", "a transaction under another branch than its own")
            if not time_ms <= body.valid_until_ms <= latest_ms[body.expiry_class]:
                raise PeerError("proposal-content", "a transaction expired, or valid for too long")
            if tx.id in state.window or tx.id in ids:
                raise PeerError("proposal-content", "a transaction for the second time")
            ids.add(tx.id)
            gas += body.gas_limit
    if gas > parameters.block_gas_max:
        raise PeerError("proposal-content", f"{gas} gas are more than a block may hold")
