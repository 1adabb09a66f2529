"""Re-checks a whole chain from its genesis document, believing nothing, not even this node's own store.

Every seal, link, turn, transaction signature and branch table is checked, every block is executed again in a scratch
store, and what comes out must be what a quorum sealed. At the end the node's state must be, entry by entry, the state
that the chain gives, and its books must agree with their records. Block by block, so memory does not grow with the
chain.
"""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from itertools import zip_longest
from pathlib import Path

from msgspec import Struct

from consensus.head import Head
from contracts import views
from contracts.genesis import genesis_state
from ledger.block import (
    Block,
    Header,
    Receipt,
    Result,
    SealedHeader,
    branch_table,
    check_sealed,
    header_hash,
    result_digest,
)
from ledger.codec import decode
from ledger.errors import ClientError, OurError, PeerError
from ledger.genesis import Genesis
from ledger.keys import verify_many
from ledger.transaction import ExpiryClass, Transaction, decode_transaction
from ledger.validators import proposer
from node.cli.verify_part import PartVerified, verify_part
from node.core.execution import Execution
from node.core.stages import Stages
from node.effects import StoreSealed
from node.storage.reader import EXPORT_S, MAP_BYTES, LedgerReader, Snapshot
from node.storage.scratch import scratch_folder
from node.storage.store import BlockWork, Store, StoreFullError, demand_room

PROGRESS_BLOCKS = 100


class Verified(Struct, frozen=True):
    """What was found good."""

    chain: str
    height: int
    transactions: int
    state_root: str


def verify_chain(
    ledger: Path, genesis: Genesis, progress: Callable[[int, int], None], map_bytes: int = MAP_BYTES
) -> Verified | PartVerified:
    """Check the store in `ledger` against a genesis document; `progress(height, newest)` is called now and then. Of a
    store without its oldest blocks as much is checked as can be. The scratch store grows to the size of the chain, on
    the same disk.

    Raises ClientError `chain-invalid`, naming height and reason, `store-missing`, `disk-full` and `map-full`.
    """
    with closing(LedgerReader(ledger, map_bytes)) as source:
        with source.snapshot() as snapshot:
            is_whole = snapshot.first_whole == 1
        if is_whole:
            with suppress(_PrunedError):
                return _verify_whole(source, ledger, genesis, progress, map_bytes)
        with scratch_folder(ledger.parent) as folder:
            return verify_part(source, genesis, folder, progress)


class _PrunedError(Exception):
    """The pruner of a node that runs has passed us: no block behind can be executed."""


def _verify_whole(
    source: LedgerReader, ledger: Path, genesis: Genesis, progress: Callable[[int, int], None], map_bytes: int
) -> Verified:
    with scratch_folder(ledger.parent) as folder:
        try:
            scratch = Store(folder, genesis, genesis_state(genesis), map_bytes, durable=False)  # four times as fast
            return _Check(source, scratch, folder, genesis).run(progress)
        except StoreFullError as error:
            raise error.for_operator(folder) from error


class _Check:
    """One run: `scratch`, in `folder`, holds the chain up to where it is known to be good."""

    def __init__(self, source: LedgerReader, scratch: Store, folder: Path, genesis: Genesis) -> None:
        self._source = source
        self._scratch = scratch
        self._folder = folder
        self._genesis = genesis
        self._chain_id = genesis.hash()
        self._execution = Execution(scratch, genesis, lambda _: None, Stages())
        self._transactions = 0

    def run(self, progress: Callable[[int, int], None]) -> Verified:
        try:
            return self._run(progress)
        finally:
            self._execution.close()
            self._scratch.close()

    def _run(self, progress: Callable[[int, int], None]) -> Verified:
        with self._source.snapshot() as snapshot:
            newest = snapshot.height
            _demand(snapshot.genesis == self._genesis, 0, "the store was made from another genesis document")
        for height in range(1, newest + 1):
            demand_room(self._folder)  # a node that runs here must go on voting
            sealed, raws, receipts = self._read(height)
            try:
                self._block(height, sealed, raws, receipts)
            except PeerError as error:
                raise _invalid(height, str(error)) from error
            if height % PROGRESS_BLOCKS == 0 or height == newest:
                progress(height, newest)
        self._same_state(newest)
        self._sound_books(newest)
        with self._scratch.snapshot() as good:
            return Verified(self._chain_id.hex(), newest, self._transactions, good.state_root.hex())

    def _read(self, height: int) -> tuple[SealedHeader, tuple[bytes, ...], tuple[bytes, ...]]:
        try:
            with self._source.snapshot() as snapshot:
                if height < snapshot.first_whole:
                    raise _PrunedError
                sealed = snapshot.sealed(height)
                if sealed is None:
                    raise _invalid(height, "the store has no header")
                return sealed, snapshot.transactions(height), snapshot.receipts(height)
        except OurError as error:
            raise _invalid(height, error.message) from error
        except ClientError as error:
            if error.code != "height-pruned":
                raise
            # Behind the first one that is here it is not pruned, but lost.
            raise _invalid(height, error.message) from error

    def _block(self, height: int, sealed: SealedHeader, raws: tuple[bytes, ...], receipts: tuple[bytes, ...]) -> None:
        with self._scratch.snapshot() as snapshot:
            head = snapshot.head
        header, result = check_sealed(sealed, head.validators, self._chain_id)
        transactions = tuple(decode_transaction(raw) for raw in raws)
        self._transactions += len(transactions)
        self._header(header, head, transactions)
        self._signatures(height, transactions, receipts)
        block = Block(sealed.header, header, header_hash(sealed.header), transactions)
        tip = head.tip.after(sealed.header, header, head.validators)
        outcome = self._execution.run(block, tip.failures)
        work = outcome.work
        _demand(
            isinstance(work, BlockWork) and work.receipts == receipts,
            height,
            "the receipts are not those of its execution",
        )
        after = head.after(tip, result_digest(sealed.result), outcome.timeline)
        self._result(result, head, outcome.state_root, outcome.receipts_root, after.validators.hash())
        self._scratch.write([StoreSealed(block, sealed, outcome, after)])

    def _header(self, header: Header, head: Head, transactions: tuple[Transaction, ...]) -> None:
        height, tip = header.height, head.tip
        _demand(height == tip.height + 1, tip.height + 1, f"the header says height {height}")
        _demand(header.parent == tip.header_hash, height, "the parent is not the block before")
        _demand(header.time_ms > tip.time_ms, height, "the time is not later than the parent's")
        turn = head.validators.validators[proposer(tip.turns(head.validators), height, header.view)].name
        _demand(header.proposer == turn, height, f"it was {turn}'s turn, not {header.proposer}'s")
        rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in transactions], tip.branch_heads)
        same = (rows, root, len(transactions)) == (header.branches, header.tx_root, header.tx_count)
        _demand(same, height, "the branch table is not that of its transactions")

    def _signatures(self, height: int, transactions: tuple[Transaction, ...], receipts: tuple[bytes, ...]) -> None:
        seen: set[bytes] = set()
        _demand(len(receipts) >= len(transactions), height, "a transaction has no receipt")
        with self._scratch.snapshot() as good:
            for tx, receipt in zip(transactions, receipts, strict=False):  # scheduled calls have theirs behind
                _demand(tx.body.chain_id == self._chain_id, height, f"transaction {tx.id.hex()} is of another chain")
                ran = tx.id in seen or (good.locate(tx.id) is not None and not _is_failed_copy(tx, receipt))
                _demand(not ran, height, f"transaction {tx.id.hex()} ran before")
                seen.add(tx.id)
        signed = verify_many([(tx.body.sender, tx.id, tx.signature) for tx in transactions])
        for tx, valid in zip(transactions, signed, strict=True):
            _demand(valid, height, f"the signature of transaction {tx.id.hex()} does not verify")

    def _result(self, result: Result, head: Head, state_root: bytes, receipts_root: bytes, next_set: bytes) -> None:
        for name, sealed, computed in (
            ("state root", result.state_root, state_root),
            ("receipts root", result.receipts_root, receipts_root),
            ("next validator set", result.next_set_hash, next_set),
            ("history root", result.history_root, head.history.root),
        ):
            _demand(
                sealed == computed, result.height, f"sealed {name} {sealed.hex()}, execution gives {computed.hex()}"
            )

    def _same_state(self, height: int) -> None:
        """A node that runs has moved on meanwhile: then its state is not compared, only its chain."""
        after: bytes | None = b""
        while after is not None:
            with self._source.snapshot() as found, self._scratch.snapshot() as good:
                if found.height != height:
                    return
                after = _compare(found, good, height, after)

    def _sound_books(self, height: int) -> None:
        """What the chain's own code computed is wrong if money was made or lost on the way."""
        with self._scratch.snapshot() as good:
            found = views.audit(good)
        _demand(not found, height, "; ".join(found))


def _compare(found: Snapshot, good: Snapshot, height: int, after: bytes) -> bytes | None:
    """Compare the states from the key behind `after` on, for as long as a snapshot may be held: a longer one keeps the
    store of a node that runs from using its pages again. The last key; None at the end.
    """
    end = time.monotonic() + EXPORT_S
    for one, other in zip_longest(found.scan(b"", after), good.scan(b"", after)):
        key = (one or other or (b"",))[0]
        _demand(one == other, height, f"the store's state differs from the chain's at key {key.hex()}")
        if time.monotonic() >= end:
            return key
    return None


def _is_failed_copy(transaction: Transaction, receipt: bytes) -> bool:
    """Whether this is a device's record that did nothing: those outlive the replay window, and their counters keep a
    copy from having any effect.
    """
    return transaction.body.expiry_class is ExpiryClass.DEVICE and decode(Receipt, receipt).code != 0


def _demand(condition: bool, height: int, reason: str) -> None:
    if not condition:
        raise _invalid(height, reason)


def _invalid(height: int, reason: str) -> ClientError:
    return ClientError("chain-invalid", f"height {height}: {reason}")
