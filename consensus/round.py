"""What a replica holds about the one open height: proposals, votes, the lock, the view."""

from consensus.head import Tip
from consensus.messages import PreparedCertificate, PrePrepare, Scope, ViewChange
from consensus.table import Phase, Trigger, follow
from ledger.block import Header, Vote, branch_table
from ledger.errors import PeerError
from ledger.terms import Terms
from ledger.transaction import Branch, Transaction
from ledger.validators import proposer

ACCEPTED_KEPT = 64
"""Proposals of one height that are kept because we accepted them: at a minute and more per view, an hour of views that
all came to nothing. Their transactions are mostly the same.
"""
VIEWS_KEPT = 8
"""Views of which one member's votes are kept: the present one, a few that it is ahead by, a few whose COMMITs may still
decide.
"""


class Proposal:
    """A proposed block on its way to completeness: header, list of leaves, transactions."""

    def __init__(self, header_raw: bytes, header: Header, header_hash: bytes) -> None:
        self.header_raw = header_raw
        self.header = header
        self.hash = header_hash
        self.signatures: dict[int, bytes] = {}
        """View → that primary's PRE-PREPARE signature."""
        self.leaves: list[bytes] | None = None
        """Unknown until a list arrives that the header's roots confirm."""
        self.bodies: list[Transaction | None] = []
        self.missing: dict[bytes, int] = {}
        """Leaf → position of the transactions that have not come."""
        self.size_bytes = 0
        """Of the transactions that are here."""
        self.asked_ms = 0
        """Steady time at which bodies were last asked for, or the proposal arrived."""
        self.asked_count = 0
        self.durable = False
        """Whether the log holds its transactions."""

    @property
    def complete(self) -> bool:
        """Whether every transaction is here."""
        return self.leaves is not None and not self.missing

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """The transactions of a complete proposal, in block order."""
        return tuple(body for body in self.bodies if body is not None)

    def list_leaves(self, leaves: list[bytes], parent: Tip) -> None:
        """Take the list of leaves. Raises PeerError `proposal-root` if the header's branch table and root say
        otherwise.
        """
        check_leaves(self.header, leaves, parent)
        self.leaves = leaves
        self.bodies = [None] * len(leaves)
        self.missing = {leaf: position for position, leaf in enumerate(leaves)}

    def offer(self, transaction: Transaction) -> None:
        """Take a verified transaction if it is one of the missing."""
        position = self.missing.pop(transaction.leaf, None)
        if position is not None:
            self.bodies[position] = transaction
            self.size_bytes += len(transaction.raw)


def check_leaves(header: Header, leaves: list[bytes], parent: Tip) -> None:
    """Raise PeerError `proposal-root` unless the leaves give the header's branch table and transaction root."""
    branches: list[Branch] = []
    for row in header.branches:
        if row.count > len(leaves) - len(branches):  # before the list is made: a count may claim anything
            raise PeerError("proposal-root", "fewer transactions than the branch table counts")
        branches += [row.branch] * row.count
    if not len(branches) == len(leaves) == header.tx_count or len(set(leaves)) != len(leaves):
        raise PeerError("proposal-root", "the number of distinct transactions differs from the header's")
    if branch_table(list(zip(branches, leaves, strict=True)), parent.branch_heads) != (header.branches, header.tx_root):
        raise PeerError("proposal-root", "the transactions do not give the header's branch table and root")


class Tally:
    """Votes of one phase: one per member and view, counted per (view, digest) (trap 5)."""

    def __init__(self) -> None:
        self._votes: dict[int, dict[int, tuple[bytes, bytes]]] = {}

    def add(self, voter: int, view: int, digest: bytes, signature: bytes) -> None:
        """Take a vote whose signature holds. A member's first vote of a view stays; its lowest views go first when it
        has too many.
        """
        votes = self._votes.setdefault(voter, {})
        votes.setdefault(view, (digest, signature))
        if len(votes) > VIEWS_KEPT:
            del votes[min(votes)]

    def get(self, voter: int, view: int) -> tuple[bytes, bytes] | None:
        """The member's (digest, signature) of the view, None if it has not voted."""
        return self._votes.get(voter, {}).get(view)

    def supporters(self, view: int, digest: bytes) -> tuple[Vote, ...]:
        """Votes for the digest in the view, sorted by voter."""
        return tuple(
            Vote(voter, vote[1])
            for voter, votes in sorted(self._votes.items())
            if (vote := votes.get(view)) is not None and vote[0] == digest
        )

    def choices(self) -> list[tuple[int, bytes]]:
        """The (view, digest) pairs that have votes, in order."""
        return sorted({(view, vote[0]) for votes in self._votes.values() for view, vote in votes.items()})

    def agreed(self, votes_min: int) -> list[tuple[int, bytes, tuple[Vote, ...]]]:
        """The (view, digest, votes) of the pairs that have so many votes or more, in order."""
        if len(self._votes) < votes_min:
            return []  # mostly so, and asked for after every message
        tallied = ((view, digest, self.supporters(view, digest)) for view, digest in self.choices())
        return [pair for pair in tallied if len(pair[2]) >= votes_min]


class Round:
    """One open height."""

    def __init__(self, parent: Tip, terms: Terms, chain_id: bytes) -> None:
        self.parent = parent
        self.height = parent.height + 1
        self.terms = terms
        self.validators = terms.validators
        self.scope = Scope(chain_id, self.validators.hash(), self.height)
        self.turns = parent.turns(self.validators)
        self.view = 0
        """The view taken part in; while CHANGING, the wanted one."""
        self.phase = Phase.WAITING
        self.proposal: Proposal | None = None
        """Of the present view."""
        self.candidates: dict[bytes, Proposal] = {}
        """By header hash: what views so far proposed. A COMMIT quorum may still decide for an earlier one."""
        self.prepares = Tally()
        self.commits = Tally()
        self.view_changes: dict[int, ViewChange] = {}
        """Voter → its latest request."""
        self.shown: set[str] = set()
        """Peers to whom we have shown our proposal because they accepted another."""
        self.others: dict[str, PrePrepare] = {}
        """Voting peer → the other first proposal that it has shown us, one each."""
        self.lock: PreparedCertificate | None = None
        """The prepared certificate of the highest view: what this member must show in a view change (traps 9, 12)."""
        self.deadline_ms: int | None = None
        """Steady time at which this view, or the wait for the next, has taken too long; None while the timer rests."""
        self.parent_count = 0
        """Transactions of the block before, if it was committed in this process's life: a sign of load."""
        self.opened_ms = 0
        """Steady time at which the height opened."""
        self.moved_ms = 0
        """Steady time of the last change of phase: who stands still repeats its votes."""

    def primary(self, view: int) -> int:
        """Position of the view's primary."""
        return proposer(self.turns, self.height, view)

    def primary_name(self, view: int) -> str:
        """Its company."""
        return self.validators.validators[self.primary(view)].name

    def move(self, trigger: Trigger, steady_ms: int) -> None:
        """Follow the transition table."""
        self.phase = follow(self.phase, trigger)
        self.moved_ms = steady_ms

    def remember(self, proposal: Proposal) -> None:
        """Keep a proposal as a candidate, the newest last. When views have been too many the oldest goes, but not the
        one locked on. Those that we accepted have room of their own: a liar may hold the certificate of one, bind a new
        primary to it, and only those who accepted it can serve it (trap 12).
        """
        self.candidates.pop(proposal.hash, None)
        self.candidates[proposal.hash] = proposal
        for accepted, kept in ((False, VIEWS_KEPT), (True, ACCEPTED_KEPT)):
            alike = [candidate for candidate in self.candidates.values() if candidate.durable is accepted]
            for candidate in alike[:-kept]:
                if self.lock is None or candidate.header_raw != self.lock.header:
                    del self.candidates[candidate.hash]
