"""Where a chain stands after a block: all that agreement on the next one needs to know, and nothing more.

A `Tip` follows from the headers alone, so it is known as soon as a block is committed. A `Head` adds what execution
gave; it exists for sealed blocks, is stored with them, and is what a node starts from.
"""

from typing import Annotated

from msgspec import Meta

from ledger.block import BranchHead, Header, header_hash, history_leaf, next_heads
from ledger.codec import Wire
from ledger.genesis import Genesis
from ledger.mmr import Mmr
from ledger.terms import Timeline, first_timeline, terms_at
from ledger.transaction import Branch
from ledger.units import U63, Hash
from ledger.validators import PASS_OVER_HEIGHTS, VALIDATORS_MAX, Failure, ValidatorSet, proposer, rotation


class BranchPosition(Wire):
    """A branch and where it stands."""

    branch: Branch
    head: BranchHead


class Tip(Wire):
    """What the headers up to one block say."""

    height: U63
    header_hash: Hash
    """Of the genesis document at height 0."""
    time_ms: U63
    branches: Annotated[tuple[BranchPosition, ...], Meta(max_length=len(Branch))]
    """Sorted by branch."""
    failures: Annotated[tuple[Failure, ...], Meta(max_length=VALIDATORS_MAX)]
    """By name: of each member the last one, while it is remembered."""

    @property
    def branch_heads(self) -> dict[Branch, BranchHead]:
        """The branches' positions as `ledger.block.branch_table` takes them."""
        return {position.branch: position.head for position in self.branches}

    def turns(self, validators: ValidatorSet) -> tuple[int, ...]:
        """Positions that take turns at the next height."""
        failures = {failure.company: failure for failure in self.failures}
        members = enumerate(validators.validators)
        failed = {index: failures[member.name] for index, member in members if member.name in failures}
        return rotation(validators.size, self.height + 1, failed)

    def after(self, header_raw: bytes, header: Header, validators: ValidatorSet) -> "Tip":
        """The tip with one more block. A block first proposed in view v says that the primaries of views 0 … v-1
        failed.
        """
        heads = next_heads(header, self.branch_heads)
        return Tip(
            header.height,
            header_hash(header_raw),
            header.time_ms,
            tuple(BranchPosition(branch, heads[branch]) for branch in sorted(heads)),
            self._failures_after(header, validators),
        )

    def _failures_after(self, header: Header, validators: ValidatorSet) -> tuple[Failure, ...]:
        turns, height = self.turns(validators), header.height
        absent = {proposer(turns, height, view) for view in range(min(header.view, len(turns)))}
        before = {failure.company: failure for failure in self.failures if failure.is_remembered(height)}
        failures: list[Failure] = []
        for index, member in enumerate(validators.validators):
            failure = before.get(member.name)
            if index in absent:
                failure = failure.repeated(height) if failure else Failure(height, member.name, PASS_OVER_HEIGHTS)
            if failure:
                failures.append(failure)
        return tuple(failures)


class Head(Wire):
    """What is known of a sealed block's chain."""

    tip: Tip
    timeline: Timeline
    """The terms of the next block, and those that are decided."""
    history: Mmr
    """Over (header hash, result digest) of heights 1 … `tip.height`: its root is the next result's `history_root`."""

    @property
    def validators(self) -> ValidatorSet:
        """They vote on the next block."""
        return terms_at(self.timeline, self.tip.height + 1).validators

    def after(self, tip: Tip, digest: bytes, timeline: Timeline) -> "Head":
        """The head one block further, given that block's tip, the digest of its result, and what rules after it."""
        return Head(tip, timeline, self.history.append(history_leaf(tip.header_hash, digest)))


def genesis_head(genesis: Genesis) -> Head:
    """Where every chain begins: height 0."""
    return Head(Tip(0, genesis.hash(), genesis.time_ms, (), ()), first_timeline(genesis), Mmr())
