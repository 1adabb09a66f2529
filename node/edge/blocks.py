"""Sealed blocks as the edge reads them: decoded once, with their proof trees built once, and kept for a while.

Thousands of clients ask about the newest blocks; a tree of a full block costs milliseconds, a path out of it
microseconds.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from contracts.abi import abi_at
from ledger.block import Header, Receipt, Result, SealedHeader, TransactionProof, receipt_leaf
from ledger.codec import decode_trusted
from ledger.errors import ClientError
from ledger.hashing import Tag, hasher
from ledger.merkle import MerkleProof
from ledger.transaction import transaction_leaf
from node.storage.reader import LedgerReader, Snapshot

BLOCKS_MAX = 24
"""Blocks kept: what subscribers of sessions and waiting clients ask for, commonly a few kB each."""
BYTES_MAX = 16 * 1024 * 1024
"""Transaction and receipt bytes kept: full blocks push others out sooner."""

_inner = hasher(Tag.MERKLE_INNER)


class SealedTop(NamedTuple):
    """What is small about a sealed block, decoded: enough for lists, streams and light clients."""

    sealed: SealedHeader
    header: Header
    result: Result


def read_top(snapshot: Snapshot, height: int) -> SealedTop:
    """Header, result and seal of a block. Raises ClientError `height-unknown`."""
    sealed = snapshot.sealed(height)
    if sealed is None:
        raise ClientError("height-unknown", f"sealed blocks are 1 to {snapshot.height}; there is no {height}")
    return SealedTop(sealed, decode_trusted(Header, sealed.header), decode_trusted(Result, sealed.result))


class SealedBlock:
    """One sealed block, whole. It never changes, so everything about it is computed at most once."""

    def __init__(self, snapshot: Snapshot, height: int) -> None:
        """Read a block. Raises ClientError `height-unknown`."""
        self.height = height
        self.top = read_top(snapshot, height)
        self.header = self.top.header
        self.raws = snapshot.transactions(height)
        self.receipts_raw = snapshot.receipts(height)
        self.abi = abi_at(snapshot, height)

    @property
    def size_bytes(self) -> int:
        """Bytes of its transactions and receipts."""
        return sum(map(len, self.raws)) + sum(map(len, self.receipts_raw))

    @cached_property
    def receipts(self) -> tuple[Receipt, ...]:
        """Receipts, decoded. Number i < tx_count is that of transaction i, whose id is its call id."""
        return tuple(decode_trusted(Receipt, raw) for raw in self.receipts_raw)

    def transaction_proof(self, index: int) -> TransactionProof:
        """Proof of a transaction under the header."""
        first = 0
        for row, tree in zip(self.header.branches, self._branch_trees, strict=True):
            if index < first + row.count:
                return TransactionProof(row.branch, _path(tree, index - first))
            first += row.count
        raise IndexError(index)

    def receipt_proof(self, index: int) -> MerkleProof:
        """Proof of a receipt under the result's receipts root."""
        return _path(self._receipt_tree, index)

    @cached_property
    def _branch_trees(self) -> list[list[list[bytes]]]:
        leaves = [transaction_leaf(raw) for raw in self.raws]
        trees, first = [], 0
        for row in self.header.branches:
            trees.append(_levels(leaves[first : first + row.count]))
            first += row.count
        return trees

    @cached_property
    def _receipt_tree(self) -> list[list[bytes]]:
        return _levels([receipt_leaf(raw) for raw in self.receipts_raw])


class Blocks:
    """The newest-used sealed blocks, by height."""

    def __init__(self, ledger: LedgerReader) -> None:
        """Read from this store."""
        self._ledger = ledger
        self._kept: OrderedDict[int, SealedBlock] = OrderedDict()
        self._bytes = 0

    def get(self, height: int) -> SealedBlock:
        """A sealed block. Raises ClientError `height-unknown`."""
        block = self._kept.get(height)
        if block is not None:
            self._kept.move_to_end(height)
            return block
        with self._ledger.snapshot() as snapshot:
            block = SealedBlock(snapshot, height)
        self._keep(block)
        return block

    def _keep(self, block: SealedBlock) -> None:
        self._kept[block.height] = block
        self._bytes += block.size_bytes
        while len(self._kept) > BLOCKS_MAX or (self._bytes > BYTES_MAX and len(self._kept) > 1):
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size_bytes


def _levels(leaves: list[bytes]) -> list[list[bytes]]:
    """All levels of the tree of `ledger.merkle`, leaves first."""
    levels = [leaves]
    while len(level := levels[-1]) > 1:
        above = [_inner(left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
        levels.append(above if len(level) % 2 == 0 else [*above, level[-1]])
    return levels


def _path(levels: Sequence[list[bytes]], index: int) -> MerkleProof:
    count = len(levels[0])
    if not 0 <= index < count:
        raise IndexError(index)
    path, position = [], index
    for level in levels[:-1]:
        if (sibling := position ^ 1) < len(level):
            path.append(level[sibling])
        position >>= 1
    return MerkleProof(index, count, tuple(path))
