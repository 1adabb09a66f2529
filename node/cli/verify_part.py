"""Re-checks a ledger whose oldest blocks are pruned, or that a node joined by snapshot: all that it still can prove.

Seals and hand-overs are followed from the genesis document, links and history over all headers that are here,
transactions, signatures and receipts over all bodies, and the state root is computed anew from every entry. Blocks are
not executed again, because the state before the oldest of them is not here.
"""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from ledger.block import (
    Header,
    Result,
    SealedHeader,
    check_sealed,
    header_hash,
    history_leaf,
    receipt_leaf,
    receipts_root,
    result_digest,
)
from ledger.errors import ClientError, OurError, PeerError
from ledger.genesis import Genesis
from ledger.keys import verify_many
from ledger.mmr import Mmr
from ledger.snapshot import check_transactions
from ledger.transaction import decode_transaction
from node.storage.reader import LedgerReader, Snapshot
from node.storage.snapshot_maker import Unhurried, make_snapshot
from node.storage.snapshots import Snapshots

PROGRESS_BLOCKS = 100


class PartVerified(Struct, frozen=True):
    """What was found good, and what could not be looked at."""

    chain: str
    height: int
    seals: int
    """Headers and results that are here, all of whose seals hold."""
    first_linked: int
    """From here on every header is here, linked to the one before and in the history of the next."""
    first_transactions: int
    """From here on the transactions are those of the headers, with valid signatures."""
    first_receipts: int
    """From here on the receipts are those of the results."""
    transactions: int
    state_root: str
    """Computed from every entry of the state: that of the newest seal."""
    not_checked: str


def verify_part(
    source: LedgerReader, genesis: Genesis, folder: Path, progress: Callable[[int, int], None]
) -> PartVerified:
    """Check what is here; `folder` is for scratch. Raises ClientError `chain-invalid`, naming height and reason."""
    try:
        return _Check(source, genesis).run(folder, progress)
    except (PeerError, OurError) as error:
        raise ClientError("chain-invalid", str(error)) from error
    except ClientError as error:
        if error.code != "height-pruned":
            raise
        # Of a block behind the first one that is here: it is not pruned, but lost.
        raise ClientError("chain-invalid", str(error)) from error


class _Check:
    def __init__(self, source: LedgerReader, genesis: Genesis) -> None:
        self._source = source
        self._chain_id = genesis.hash()
        self._genesis = genesis
        self._voters = genesis.validators
        self._before: bytes | None = self._chain_id
        """Hash of the header before, if that is here."""
        self._history: Mmr | None = Mmr()
        """Over the blocks before, where all headers from here on are."""
        self._linked = 1
        self._first_body = 1
        self._first_whole = 1
        self._seals = 0
        self._transactions = 0

    def run(self, folder: Path, progress: Callable[[int, int], None]) -> PartVerified:
        with self._source.snapshot() as snapshot:
            newest = snapshot.height
            _demand(snapshot.genesis == self._genesis, 0, "the store was made from another genesis document")
        for height in range(1, newest + 1):
            with self._source.snapshot() as snapshot:
                self._height(snapshot, height)
            if height % PROGRESS_BLOCKS == 0 or height == newest:
                progress(height, newest)
        made = make_snapshot(self._source, Snapshots(folder), Unhurried())  # raises if the state has another root
        with self._source.snapshot() as snapshot:
            root = snapshot.result(made.height if made else newest).state_root
        return PartVerified(
            self._chain_id.hex(),
            newest,
            self._seals,
            self._linked,
            self._first_body,
            self._first_whole,
            self._transactions,
            root.hex(),
            f"headers before {self._linked} but those of hand-overs; no block was executed again",
        )

    def _height(self, snapshot: Snapshot, height: int) -> None:
        # As they are now: the pruner of a node that runs may have passed us.
        has_body, is_whole = height >= snapshot.first_block, height >= snapshot.first_whole
        if not has_body:
            self._first_body = height + 1
        if not is_whole:
            self._first_whole = height + 1
        sealed = snapshot.sealed(height)
        if sealed is None:
            _demand(not has_body, height, "the store has no header")
            self._before = self._history = None
            return
        header, result = check_sealed(sealed, self._voters, self._chain_id)
        _demand(header.height == height, height, f"the header says height {header.height}")
        self._seals += 1
        self._links(snapshot, sealed, header, result)
        if has_body:
            self._bodies(header, snapshot.transactions(height))
        if is_whole:
            root = receipts_root([receipt_leaf(raw) for raw in snapshot.receipts(height)])
            _demand(root == result.receipts_root, height, "the receipts are not those of the result")
        if result.next_set_hash != result.set_hash:
            voters = snapshot.validator_set(result.next_set_hash)
            if voters is None or voters.hash() != result.next_set_hash:
                raise ClientError("chain-invalid", f"height {height}: the set that it hands over to is not here")
            self._voters = voters

    def _links(self, snapshot: Snapshot, sealed: SealedHeader, header: Header, result: Result) -> None:
        height, digest = header.height, header_hash(sealed.header)
        if self._before is None:
            self._linked = height
        else:
            _demand(header.parent == self._before, height, "the parent is not the block before")
        if self._history is None and snapshot.has_history(height):
            self._history = snapshot.history(height - 1)
        self._before = digest
        if self._history is not None:
            _demand(result.history_root == self._history.root, height, "the history is not that of the blocks before")
            self._history = self._history.append(history_leaf(digest, result_digest(sealed.result)))

    def _bodies(self, header: Header, raws: tuple[bytes, ...]) -> None:
        check_transactions(header, raws)
        transactions = [decode_transaction(raw) for raw in raws]
        self._transactions += len(transactions)
        signed = verify_many([(tx.body.sender, tx.id, tx.signature) for tx in transactions])
        for tx, valid in zip(transactions, signed, strict=True):
            _demand(valid, header.height, f"the signature of transaction {tx.id.hex()} does not verify")


def _demand(condition: bool, height: int, reason: str) -> None:
    if not condition:
        raise ClientError("chain-invalid", f"height {height}: {reason}")
