"""The real replica in our hands: begun from a log, copied, and asked what it has decided."""

import copy
from collections import deque
from collections.abc import Sequence
from typing import TypeVar

from consensus.effects import Effect
from consensus.head import genesis_head
from consensus.pace import Pace
from consensus.replica import Replica
from consensus.state import Fetch
from ledger.genesis import Parameters
from ledger.transaction import Transaction
from node.engine import Engine, EngineSetup
from tests.sim.signing import verify
from tests.unit import consensus_kit as kit

T = TypeVar("T")


class BrokenError(AssertionError):
    """A property does not hold; the message says which, and how it came."""


class Pool:
    """A pool that nobody fills."""

    def __init__(self, *transactions: Transaction) -> None:
        self.transactions = transactions

    def __len__(self) -> int:
        return len(self.transactions)

    def get(self, leaf: bytes) -> Transaction | None:
        """As State's Pool."""
        return next((tx for tx in self.transactions if tx.leaf == leaf), None)

    def select(self, _time_ms: int, _parent_time_ms: int) -> tuple[Transaction, ...]:
        """All."""
        return self.transactions

    def remove(self, transactions: Sequence[Transaction]) -> None:
        """What a block holds waits no more."""
        self.transactions = tuple(tx for tx in self.transactions if tx not in transactions)

    def limit(self, _parameters: Parameters) -> None:
        """There are no limits."""

    def expects(self, _leaf: bytes) -> bool:
        """Nothing is on its way."""
        return False

    def has_full_block(self) -> bool:
        """Never."""
        return False


def start(name: str, records: tuple[bytes, ...], pool: Pool) -> tuple[Replica, list[Effect]]:
    """A replica that begins from a log, and what it does first."""
    setup = EngineSetup(
        genesis=kit.GENESIS,
        me=name,
        signers=(kit.SIGNERS[name],),
        head=genesis_head(kit.GENESIS),
        records=records,
        verify=verify[False],
    )
    replica = Engine(setup)._replica
    replica.state.pool = pool
    replica.tick(kit.T0 + 1_000, 0)
    return replica, replica.settle()


def fork(replica: Replica) -> Replica:
    """A copy that shares what is immutable."""
    new = copy.copy(replica)
    new.state = state = _shallow(replica.state)
    state.window, state.fetch = copy.deepcopy(state.window), Fetch()
    for name, value in vars(state).items():
        if isinstance(value, Pace):  # time passes between any two events
            setattr(state, name, copy.copy(value))
            getattr(state, name)._busy_until_ms = {}
    state.pool = copy.copy(state.pool)
    state.round = round_ = _shallow(replica.state.round)
    for name in ("prepares", "commits"):
        tally = type(getattr(round_, name))()
        tally._votes = {voter: dict(votes) for voter, votes in getattr(round_, name)._votes.items()}
        setattr(round_, name, tally)
    copies = {id(proposal): _shallow(proposal) for proposal in round_.candidates.values()}
    if round_.proposal is not None:
        round_.proposal = copies.setdefault(id(round_.proposal), _shallow(round_.proposal))
    round_.candidates = {digest: copies[id(proposal)] for digest, proposal in round_.candidates.items()}
    if replica._resumed is replica.state.round:
        new._resumed = round_
    return new


def _shallow(thing: T) -> T:
    new = copy.copy(thing)
    for name, value in vars(thing).items():
        if isinstance(value, (dict, list, set, deque)):
            setattr(new, name, copy.copy(value))
    return new


def decided(replica: Replica) -> tuple[bytes, int]:
    """The block that a replica has committed, and the view that decided for it. Raises BrokenError unless the COMMITs
    are of that view.
    """
    entry = replica.state.entries[1]
    certificate = entry.certificate
    assert certificate is not None
    for vote in certificate.commits:
        if vote.signature != kit.commit(kit.NAMES[vote.voter], entry.block.header_raw, certificate.view).signature:
            raise BrokenError("a commit by COMMITs of different views")
    return entry.block.hash, certificate.view
