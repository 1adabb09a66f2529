"""Which validators agree with this node's state, proven: a vote in a seal signs the very result, state root included,
that this node has.
"""

from ledger.validators import ValidatorSet
from node.edge.blocks import SealedTop, read_top
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader

DEPTH = 64
"""Blocks looked back on: a seal holds a quorum of votes, not all, so a slow but honest member is missing from some."""


class Agreement:
    """Newest height at which each validator's vote stands in a seal."""

    def __init__(self, ledger: LedgerReader, link: CoreLink) -> None:
        """Read seals from the store, as far as `link` says."""
        self._ledger = ledger
        self._link = link
        self._sets: dict[bytes, ValidatorSet] = {}  # one per set epoch
        self._agreed: dict[str, int] = {}
        self._height = 0

    def by_company(self) -> dict[str, int]:
        """Company -> height. Reads at most `DEPTH` seals, and each only once."""
        newest = self._link.height
        with self._ledger.snapshot() as snapshot:
            tops = [read_top(snapshot, at) for at in range(max(self._height, newest - DEPTH) + 1, newest + 1)]
        for top in tops:
            for name in self.voters(top):
                self._agreed[name] = top.header.height
        self._height = newest
        return self._agreed

    def voters(self, top: SealedTop) -> list[str]:
        """Companies whose votes make the seal of a block."""
        members = self.members(top.header.set_hash).validators
        return [members[vote.voter].name for vote in top.sealed.seal]

    def members(self, set_hash: bytes) -> ValidatorSet:
        """The validator set of this hash."""
        if set_hash not in self._sets:
            with self._ledger.snapshot() as snapshot:
                found = snapshot.validator_set(set_hash)
            if found is None:
                raise LookupError(f"the store has no validator set {set_hash.hex()}, which a sealed header names")
            self._sets[set_hash] = found
        return self._sets[set_hash]
