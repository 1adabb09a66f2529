"""Fills the read model from sealed blocks, from its own durable cursor: if it crashes or lags, nobody else notices.

A block is read in a snapshot of its own and the snapshot closed before anything is written, so the ledger store never
waits for SQLite.
"""

from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Engine

from ledger.charging import SessionExpired, SessionOpened, SessionSettled, SessionStarted, SessionTimedOut
from ledger.codec import decode_trusted
from ledger.transaction import Body, Signed
from node.edge import chain_views, read_model
from node.edge.blocks import SealedBlock
from node.edge.read_model import Batch
from node.edge.room import when_room
from node.edge.session_events import Step, session_steps
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader

BATCH_BLOCKS_MAX = 200
BATCH_TRANSACTIONS_MAX = 4_000
"""One SQLite transaction: large enough that its fsync does not count, small enough that memory and progress stay even.
"""
PILES_PAGE = 1_000
"""Piles read in one snapshot: some milliseconds."""

log = structlog.get_logger()


class Indexer:
    """Follows the chain into the read model."""

    def __init__(self, ledger: LedgerReader, engine: Engine, link: CoreLink) -> None:
        """Fill `engine` from `ledger`, woken by `link`."""
        self._ledger = ledger
        self._engine = engine
        self._link = link
        self.height = 0
        """Up to here the read model is filled."""

    async def run(self) -> None:
        """Index for ever; while the disk is full, wait for room."""
        file = Path(str(self._engine.url.database))
        self.height = await when_room(file, self._open)
        while True:
            newest = await self._link.wait_above(self.height)
            while self.height < newest:
                self.height = await when_room(file, partial(self.index_up_to, newest))

    def index_up_to(self, newest: int) -> int:
        """Index the next batch of blocks, up to `newest` at the most; the height reached."""
        batch = Batch(self._first_here() - 1)
        touched: set[str] = set()
        end = min(newest, batch.height + BATCH_BLOCKS_MAX)
        while batch.height < end:
            block = self._read(batch.height + 1)
            batch.height = block.height
            _add_block(batch, block)
            touched |= chain_views.piles_touched(block.abi, block.receipts)
            if len(batch.transactions) >= BATCH_TRANSACTIONS_MAX:
                break
        if touched:
            with self._ledger.snapshot() as snapshot:
                batch.piles = chain_views.piles_named(snapshot, sorted(touched))
        read_model.apply(self._engine, batch)
        return batch.height

    def _first_here(self) -> int:
        """The next block to index: what this node has pruned, or never had because it joined by snapshot, stays out."""
        with self._ledger.snapshot() as snapshot:
            first = snapshot.first_whole
        if first > self.height + 1:
            log.warning("indexer.gap", indexed=self.height, blocks_begin=first, hint="older blocks are not here")
        return max(self.height + 1, first)

    def _open(self) -> int:
        with self._ledger.snapshot() as snapshot:
            chain_id, newest = snapshot.genesis.hash(), snapshot.height
        height = read_model.prepare(self._engine, chain_id, newest)
        if height == 0:
            batch = Batch(0)
            self._add_piles(batch)  # those of the genesis document
            read_model.apply(self._engine, batch)
        log.info("indexer.ready", height=height, newest=newest)
        return height

    def _read(self, height: int) -> SealedBlock:
        with self._ledger.snapshot() as snapshot:
            return SealedBlock(snapshot, height)

    def _add_piles(self, batch: Batch) -> None:
        after = ""
        while True:
            with self._ledger.snapshot() as snapshot:
                page = chain_views.piles(snapshot, after, PILES_PAGE)
            batch.piles += page
            if len(page) < PILES_PAGE:
                return
            after = page[-1]["name"]


def _add_block(batch: Batch, block: SealedBlock) -> None:
    header = block.header
    batch.blocks.append(
        {
            "height": block.height,
            "time_ms": header.time_ms,
            "proposer": header.proposer,
            "transactions": header.tx_count,
        }
    )
    for index, (raw, receipt) in enumerate(zip(block.raws, block.receipts, strict=False)):
        body = decode_trusted(Body, decode_trusted(Signed, raw).body)
        batch.transactions.append(
            {
                "height": block.height,
                "index": index,
                "id": receipt.call_id,
                "sender": body.sender,
                "contract": body.contract,
                "method": body.method,
                "code": receipt.code,
            }
        )
    for step in session_steps(block):
        _add_step(batch, step)


def _add_step(batch: Batch, step: Step) -> None:
    match step.data:
        case SessionOpened() as opened:
            batch.opened.append(
                {
                    "id": opened.session,
                    "height": step.height,
                    "index": step.index,
                    "state": "opened",
                    "pile": opened.pile,
                    "connector": opened.connector,
                    "driver": opened.driver,
                    "opened_ms": step.time_ms,
                    "deposit_fen": opened.deposit_fen,
                }
            )
        case SessionStarted() as started:
            batch.started.append({"session": started.session, "state": "charging", "started_ms": started.time_ms})
        case SessionTimedOut() as timed_out:
            batch.states.append({"session": timed_out.session, "state": "claim"})
        case SessionExpired() as expired:
            batch.states.append({"session": expired.session, "state": "expired"})
        case SessionSettled() as settled:
            _add_settled(batch, step.time_ms, settled)


def _add_settled(batch: Batch, time_ms: int, settled: SessionSettled) -> None:
    batch.settled.append(
        {
            "session": settled.session,
            "state": "settled",
            "pile": settled.pile,
            "operator": settled.operator,
            "home_operator": settled.home_operator,
            "settled_ms": time_ms,
            "energy_wh": settled.energy_wh,
            "beans_wh": settled.beans_wh,
            "occupancy_fen": settled.occupancy_fen,
            "total_fen": settled.total_fen,
            "refund_fen": settled.refund_fen,
            "grid_fen": settled.grid_fen,
            "owner_fen": settled.owner_fen,
            "previous": settled.previous if any(settled.previous) else None,
        }
    )
    for number, line in enumerate(settled.lines):
        fields = {name: getattr(line, name) for name in line.__struct_fields__}
        batch.lines.append({"session": settled.session, "number": number} | fields)
