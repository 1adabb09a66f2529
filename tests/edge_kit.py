"""A small chain in a real store that grows when a test says so, and a core that lives in the test: what the edge's
tests stand on.
"""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from consensus.effects import Outcome, StoreSealed
from consensus.head import genesis_head
from contracts.contract import Role
from contracts.genesis import deployed
from contracts.records.identity import COMPANIES, Company
from contracts.records.money import BOOKS, DUES, WALLETS, Book, Due, Wallet, due_key
from contracts.records.registry import PILES, MeterState, Pile, PileKind
from ledger.block import Block, Event, Receipt, receipt_leaf, receipts_root, result_digest
from ledger.charging import BillLine, SessionOpened, SessionSettled, SessionStarted
from ledger.codec import Wire, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.state_tree import StateTree
from ledger.transaction import Body, Branch, ExpiryClass, Transaction, decode_transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.edge.api.agreement import Agreement
from node.edge.api.app import make_app
from node.edge.api.services import Services
from node.edge.blocks import Blocks
from node.edge.indexer import Indexer
from node.edge.read_model import open_read_model
from node.edge.read_queries import ReadQueries
from node.edge.sealed_waits import SealedWaits
from node.ipc.link import CoreLink
from node.library import library
from node.storage.store import BlockWork, Store
from tests import chain

NAMES = ("CityGrid", "MetroLab", "SGCC", "Teld")
START_MS = chain.START_MS


def members(names: Sequence[str]) -> ValidatorSet:
    """A validator set of these companies."""
    keys = [[chain.signer(f"{use} {name}").public_key for use in ("company", "vote", "node")] for name in names]
    return ValidatorSet(0, tuple(Validator(name, c, v, n[1:]) for name, (c, v, n) in zip(names, keys, strict=True)))


class GrowingChain:
    """Genesis, a store, and blocks on demand."""

    def __init__(
        self,
        folder: Path,
        state: dict[bytes, bytes] | None = None,
        names: Sequence[str] = NAMES,
        consortium: bytes = b"",
    ) -> None:
        self.set = members(names)
        self.genesis = Genesis(1, "test", Profile.MIXED, START_MS, Parameters(), self.set, consortium)
        self.chain_id = self.genesis.hash()
        self.path = folder / "ledger"
        self.store = Store(self.path, self.genesis, state or {}, map_bytes=1 << 30)
        self.voters = [chain.signer(f"vote {name}") for name in names]
        self.height = 0
        self.head = genesis_head(self.genesis)
        self.listeners: list[asyncio.Queue[int]] = []

    def transaction(self, sender: str = "driver", salt: int = 0, **fields: Any) -> Transaction:
        """A signed transaction of this chain."""
        key = chain.signer(sender)
        given: dict[str, Any] = {
            "chain_id": self.chain_id,
            "sender": key.public_key,
            "branch": Branch.CHARGING,
            "expiry_class": ExpiryClass.ORDINARY,
            "contract": 5,
            "method": "open",
            "args": b"",
            "gas_limit": 1_000_000,
            "valid_until_ms": START_MS + 600_000,
            "salt": salt.to_bytes(8, "big"),
        } | fields
        return decode_transaction(sign_transaction(Body(**given), key))

    def seal(
        self,
        *transactions: Transaction,
        events: dict[bytes, tuple[Event, ...]] | None = None,
        codes: dict[bytes, int] | None = None,
        changes: dict[bytes, bytes | None] | None = None,
    ) -> int:
        """Store one more block and tell whoever listens; its height. `events` and `codes` are by transaction id."""
        self.height += 1
        block = chain.block(
            self.genesis, self.height, transactions, self.head.tip.header_hash, self.head.tip.branch_heads
        )
        receipts = tuple(
            encode(Receipt(tx.id, (codes or {}).get(tx.id, 0), 1_000, b"", (events or {}).get(tx.id, ())))
            for tx in block.transactions
        )
        self._store(block, receipts, changes or {})
        for listener in self.listeners:
            listener.put_nowait(self.height)
        return self.height

    def _store(self, block: Block, receipts: tuple[bytes, ...], changes: dict[bytes, bytes | None]) -> None:
        with self.store.snapshot() as snapshot:
            change = StateTree(snapshot, snapshot.state_root).apply(changes)
        result = chain.result(self.genesis, block, change.root, receipts, self.head.history.root)
        sealed = chain.seal(block, result, self.voters, range(self.set.quorum))
        tip = self.head.tip.after(block.header_raw, block.header, self.set)
        self.head = self.head.after(tip, result_digest(sealed.result), self.head.timeline)
        root = receipts_root([receipt_leaf(raw) for raw in receipts])
        work = BlockWork(tuple(sorted(changes.items())), change.tiles, receipts)
        outcome = Outcome(self.height, block.hash, change.root, root, self.head.timeline, work)
        self.store.write([StoreSealed(block, sealed, outcome, self.head)])


class CoreOfTests:
    """Core as the edge sees it: accepts everything unless told otherwise, and knows what its chain has sealed."""

    def __init__(self, grown: GrowingChain) -> None:
        self.chain = grown
        self.submitted: list[bytes] = []
        self.answer = ("", "")
        self.seals_at_once = False
        self.peers = {member.name: 0 for member in grown.set.validators[1:]}
        self.connected = sorted(self.peers)

    async def submit(self, raws: list[bytes]) -> list[tuple[str, str]]:
        """Remember, and perhaps seal."""
        self.submitted += raws
        if self.seals_at_once and not self.answer[0]:
            self.chain.seal(*(decode_transaction(raw) for raw in raws))
        return [self.answer for _ in raws]

    async def status(self) -> dict[str, Any]:
        """What a core might say."""
        return {"height": self.chain.height, "peers": self.peers, "connected": self.connected, "view": 0}

    async def sealed(self) -> AsyncIterator[int]:
        """Heights; a negative one in the queue breaks the connection."""
        queue: asyncio.Queue[int] = asyncio.Queue()
        self.chain.listeners.append(queue)
        try:
            yield self.chain.height
            while (height := await queue.get()) >= 0:
                yield height
            raise ConnectionResetError("core is gone")
        finally:
            self.chain.listeners.remove(queue)

    async def close(self) -> None:
        """Nothing to close."""

    def drop(self) -> None:
        """Break every connection."""
        for listener in self.chain.listeners:
            listener.put_nowait(-1)


class Edge:
    """The api and the indexer of a node over a growing chain, and a client of it."""

    def __init__(self, folder: Path, state: dict[bytes, bytes], requests_per_second_max: int = 10_000) -> None:
        self.chain = GrowingChain(folder, state)
        self.core = CoreOfTests(self.chain)
        self.connections = 0
        ledger = self.chain.store
        self.link = CoreLink(ledger, self._connect)
        self.engine = open_read_model(folder / "index.sqlite")
        self.indexer = Indexer(ledger, self.engine, self.link)
        blocks = Blocks(ledger)
        waits = SealedWaits(ledger, self.link, blocks)
        queries = ReadQueries(self.engine)
        self.services = Services(
            "SGCC", self.chain.genesis, ledger, self.link, blocks, waits, queries, Agreement(ledger, self.link)
        )
        self.app = make_app(self.services, requests_per_second_max)
        self.client = TestClient(TestServer(self.app))

    async def _connect(self) -> CoreOfTests:
        self.connections += 1
        return self.core

    async def indexed(self) -> None:
        """Until the read model has caught up."""
        async with asyncio.timeout(10):
            while await self.services.read_model.height() < self.chain.height:
                await asyncio.sleep(0.005)

    async def get(self, path: str, status: int = 200) -> Any:
        """JSON answer of a GET, whose status is checked."""
        async with self.client.get(path) as answer:
            body = await answer.json(content_type=None)
            assert answer.status == status, body
            return body


@asynccontextmanager
async def running_edge(folder: Path, **settings: Any) -> AsyncIterator[Edge]:
    """An edge at work, with two piles and four companies in its genesis state."""
    edge = Edge(folder, contract_state(), **settings)
    await edge.client.start_server()
    work = (edge.link.run(), edge.indexer.run(), edge.services.waits.run())
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        async with asyncio.timeout(10):
            while not edge.link.connected:
                await asyncio.sleep(0)
        yield edge
    finally:
        await edge.client.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        edge.services.read_model.close()
        edge.engine.dispose()
        edge.chain.store.close()


def contract_state() -> dict[bytes, bytes]:
    """The library with records: the four companies with books that sum to zero, two piles, one wallet."""
    roles = {"CityGrid": Role.GRID, "MetroLab": Role.LAB, "SGCC": Role.OPERATOR, "Teld": Role.OPERATOR}
    state = {COMPANIES.key(name.encode()): encode(Company(f"公司 {name}", (role,), ())) for name, role in roles.items()}
    for name in ("SGCC", "Teld"):
        book = Book(cash_fen=-9_000, wallets_fen=9_000, deposited_fen=-50_000, collateral_fen=50_000)
        state[BOOKS.key(name.encode())] = encode(book)
    state[DUES.key(due_key("SGCC", "Teld"))] = encode(Due(-70))
    for name in ("P-1", "P-2"):
        pile = Pile(
            name=name,
            operator="SGCC",
            kind=PileKind.OPERATOR,
            owner=b"",
            owner_share_ppm=0,
            public_key=chain.signer(name).public_key,
            latitude_e7=225_000_000,
            longitude_e7=1_140_000_000,
            power_w=60_000,
            connectors=1,
            region="Shenzhen",
            meter_state=MeterState.VERIFIED,
        )
        state[PILES.key(name.encode())] = encode(pile)
    state[WALLETS.key(chain.signer("driver").public_key)] = encode(Wallet("Teld", 9_000))
    return state | deployed(library())


def opened(session: bytes, pile: str = "P-1", driver: str = "driver") -> Event:
    """Event of an opening."""
    key = chain.signer(driver).public_key
    return _event("session.opened", SessionOpened(session, pile, 1, key, 5_000, START_MS + 60_000))


def started(session: bytes, pile: str = "P-1") -> Event:
    """Event of a start."""
    return _event("session.started", SessionStarted(session, pile, 1_000, START_MS + 2_000))


def settled(session: bytes, pile: str = "P-1", driver: str = "driver", energy_wh: int = 12_000) -> Event:
    """Event of a settlement: two bill lines, a driver of Teld at a pile of SGCC."""
    half = energy_wh // 2
    bill = SessionSettled(
        session=session,
        pile=pile,
        driver=chain.signer(driver).public_key,
        operator="SGCC",
        home_operator="Teld",
        energy_wh=energy_wh,
        lines=(
            BillLine(START_MS, START_MS + 1000, half, 4_000, 3_000, 240, 180),
            BillLine(START_MS + 1000, START_MS + 2000, energy_wh - half, 8_500, 3_000, 510, 180),
        ),
        beans_wh=0,
        occupancy_fen=0,
        total_fen=1_110,
        refund_fen=3_890,
        grid_fen=600,
        owner_fen=0,
        previous=bytes(32),
        cut_fen=0,
        behaviour=1,
    )
    return _event("session.settled", bill)


def _event(name: str, data: Wire) -> Event:
    return Event(5, name, encode(data))
