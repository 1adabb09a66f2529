"""Finding oneself again after a crash: from the log's records, in the order in which they were written."""

from consensus.messages import Commit, CommitCertificate, NewView, Prepare, PrePrepare, ViewChange
from consensus.normal import finish, take
from consensus.records import BlockRecord, LockRecord, VoteRecord, decode_record
from consensus.round import Proposal
from consensus.state import State
from consensus.table import Phase
from ledger.block import Header, header_hash
from ledger.codec import decode_trusted
from ledger.transaction import decode_transaction


def restore(state: State, records: list[bytes]) -> None:
    """Take in the log: own votes, locks, blocks; commit again what was committed, which executes it again."""
    commits: dict[int, tuple[bytes, CommitCertificate]] = {}
    for data in records:
        record = decode_record(data)
        if isinstance(record, VoteRecord):
            state.own[record.height, record.view, type(record.message)] = record.digest, record.message
        elif isinstance(record, BlockRecord):
            height = decode_trusted(Header, record.header).height
            state.found_blocks[header_hash(record.header)] = height, record
        elif isinstance(record, LockRecord):
            height = decode_trusted(Header, record.certificate.header).height
            state.found_locks[height] = record  # the last is the one of the highest view
        else:
            commits[record.height] = record.header_hash, record.certificate
    state.own = {key: cast for key, cast in state.own.items() if key[0] > state.stored}
    # A gap is a block that came by catch-up: its seal is with the peers, and so are the blocks behind it.
    while state.round.height in commits and state.has_room:
        digest, certificate = commits[state.round.height]
        finish(state, _found(state, digest), certificate)


def _found(state: State, digest: bytes) -> Proposal:
    """The proposal of a block in the log."""
    _, record = state.found_blocks[digest]
    proposal = Proposal(record.header, decode_trusted(Header, record.header), digest)
    transactions = [decode_transaction(raw) for raw in record.transactions]
    proposal.list_leaves([transaction.leaf for transaction in transactions], state.tip)
    for transaction in transactions:
        proposal.offer(transaction)
    proposal.durable = True
    return proposal


def resume(state: State) -> None:
    """Stand in the height that has just opened where our votes in the log say that we stood."""
    round_ = state.round
    for digest in [digest for digest, (height, _) in state.found_blocks.items() if height < round_.height]:
        del state.found_blocks[digest]
    state.found_locks = {height: lock for height, lock in state.found_locks.items() if height >= round_.height}
    lock = state.found_locks.pop(round_.height, None)
    round_.lock = lock.certificate if lock is not None else None
    for digest, (height, _) in state.found_blocks.items():
        if height == round_.height:
            round_.remember(_found(state, digest))
    if round_.lock is not None:
        locked = round_.candidates[header_hash(round_.lock.header)]
        locked.signatures[round_.lock.view] = round_.lock.proposal
    cast = {
        (view, kind): message for (height, view, kind), (_, message) in state.own.items() if height == round_.height
    }
    for message in cast.values():
        if isinstance(message, Prepare):
            round_.prepares.add(message.voter, message.view, message.header_hash, message.signature)
        elif isinstance(message, Commit):
            round_.commits.add(message.voter, message.view, message.header_hash, message.signature)
    if not cast:
        return
    round_.view = max(view for view, _ in cast)
    asked = cast.get((round_.view, ViewChange))
    if isinstance(asked, ViewChange):
        round_.view_changes[asked.voter] = asked
    if (round_.view, Commit) in cast and round_.lock is not None:
        round_.proposal = round_.candidates[header_hash(round_.lock.header)]
        round_.phase = Phase.COMMITTING
        return
    proposed = cast.get((round_.view, NewView if round_.view else PrePrepare))
    if isinstance(proposed, NewView | PrePrepare):
        _take_own(state, proposed.proposal if isinstance(proposed, NewView) else proposed)
    elif asked is not None and (round_.view, Prepare) not in cast:
        round_.phase = Phase.CHANGING


def _take_own(state: State, message: PrePrepare) -> None:
    """Stand behind our own proposal again. Transactions that only our memory held are fetched from whoever got the
    proposal.
    """
    digest = header_hash(message.header)
    proposal = state.round.candidates.get(digest)
    if proposal is None:
        proposal = Proposal(message.header, decode_trusted(Header, message.header), digest)
        if not proposal.header.tx_count:
            proposal.list_leaves([], state.tip)
    take(state, proposal, message)
