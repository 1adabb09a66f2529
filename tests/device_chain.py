"""A chain for device tests: the real contracts and store, sealed by real keys, with consensus left out.

Blocks come when a test says so. `Core` submits into it and seals at once.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from consensus.effects import Outcome, StoreSealed
from consensus.head import genesis_head
from contracts import abi, executor
from contracts.contract import Role
from contracts.genesis import AccountSetup, CompanySetup, Consortium, FeeSetup, PileSetup, genesis_state
from contracts.host import TIMELINE, Decided
from contracts.records.tariff import ServiceFee
from devices.light_state import LightState
from devices.pile_parts import PileConfig
from ledger.block import (
    Block,
    Header,
    Receipt,
    Result,
    SealedHeader,
    Vote,
    branch_table,
    header_hash,
    receipt_leaf,
    receipts_root,
    result_digest,
    sort_by_branch,
)
from ledger.codec import decode, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.keys import Scheme, SoftSigner
from ledger.state_tree import StateTree
from ledger.tariff import Tariff
from ledger.terms import Terms
from ledger.transaction import Body, Transaction, decode_transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet
from node.edge.blocks import Blocks
from node.gateway.pile_prices import SessionPrices
from node.library import library, library_abi
from node.storage.store import BlockWork, Store
from tests import consortium
from tests.consortium import HOUR, T0, key, signer

REGISTER_WH = 1_000
COMPANIES = ("Grid", "SGCC", "Lab", "Regulator", "Maintenance", "StarCharge", "Teld", "Xcharge")


def vote_signer(name: str, epoch: int = 0, scheme: Scheme = Scheme.ED25519) -> SoftSigner:
    """Vote key of a company in an epoch."""
    return SoftSigner.from_seed(scheme, f"vote {name} {epoch}".encode().ljust(32, b"."))


def validator_set(names: Sequence[str], epoch: int = 0) -> ValidatorSet:
    """A set of these companies with the vote keys of an epoch."""
    members = [
        Validator(name, key(name), vote_signer(name, epoch).public_key, key("node " + name)[1:]) for name in names
    ]
    return ValidatorSet(epoch, tuple(members))


def setup(piles: Sequence[str], drivers: int, names: Sequence[str]) -> Consortium:
    """A consortium whose piles all belong to SGCC and whose drivers are rich."""
    companies = tuple(
        CompanySetup(name, name, (consortium.ROLES.get(name, Role.OPERATOR),), key(name), 100_000_000, 100_000)
        for name in names
    )
    return Consortium(
        companies,
        tuple(AccountSetup(key(f"d{i}"), "SGCC", 1_000_000) for i in range(drivers)),
        tuple(PileSetup(consortium.pile(name, "SGCC", connectors=1), (REGISTER_WH,)) for name in piles),
        (Tariff("Shenzhen", "Grid", T0, 480, consortium.PERIODS),),
        (FeeSetup("SGCC", ServiceFee(6_000, 50, 15 * 60_000)),),
        library(),
    )


class DeviceChain:
    """Genesis, store and blocks on demand."""

    def __init__(
        self, folder: Path, piles: Sequence[str] = ("Pile-1",), drivers: int = 4, n: int = 8, speed: int = 1
    ) -> None:
        self.names = sorted(COMPANIES[:n])
        self.set = validator_set(self.names)
        parameters = Parameters(session_start_max_ms=60_000 * speed)
        document = encode(setup(piles, drivers, self.names))
        self.genesis = Genesis(1, "test", Profile.MIXED, T0, parameters, self.set, document)
        self.chain_id = self.genesis.hash()
        self.path = folder / "ledger"
        self.store = Store(self.path, self.genesis, genesis_state(self.genesis), map_bytes=1 << 30)
        self.reader = self.store
        self.blocks = Blocks(self.store)
        self.head = genesis_head(self.genesis)
        self.now_ms = T0 + HOUR
        self.height = 0
        self.salt = 0
        self.receipts: list[Receipt] = []
        """Of all blocks, transactions and scheduled calls."""

    def open(self, driver: str, pile: str, deposit_fen: int = 5_000) -> Transaction:
        """A driver's signed `session.open`."""
        fields = {"pile": pile, "connector": 1, "deposit_fen": deposit_fen, "accept_unverified": False}
        return self.call(driver, "session", "open", **fields)

    def call(self, who: str, contract: str, method: str, **fields: Any) -> Transaction:
        """Anybody's signed call."""
        encoded = library_abi().encode_call(contract, method, **fields)
        self.salt += 1
        body = Body(
            self.chain_id,
            key(who),
            encoded.branch,
            encoded.expiry_class,
            encoded.contract,
            encoded.method,
            encoded.args,
            abi.GAS_LIMIT,
            self.now_ms + 600_000,
            self.salt.to_bytes(8, "big"),
        )
        return decode_transaction(sign_transaction(body, signer(who)))

    def seal(self, *transactions: Transaction, at_ms: int = 0, next_set: ValidatorSet | None = None) -> list[Receipt]:
        """Execute and seal one more block; its receipts. `next_set` votes from the block after on."""
        self.now_ms = max(at_ms, self.now_ms + 1_000)
        self.height += 1
        ordered = sort_by_branch(transactions)
        rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in ordered], self.head.tip.branch_heads)
        proposer = self.names[self.height % len(self.names)]
        header = Header(
            self.chain_id,
            self.height,
            0,
            self.now_ms,
            self.head.tip.header_hash,
            root,
            len(ordered),
            self.set.hash(),
            proposer,
            rows,
        )
        raw = encode(header)
        block = Block(raw, header, header_hash(raw), ordered)
        following = next_set or self.set
        with self.store.snapshot() as snapshot:
            outcome = executor.run(
                snapshot,
                executor.BlockInput(self.chain_id, self.height, self.now_ms, proposer, ordered),
            )
            timeline = outcome.timeline
            if next_set:  # as a decision of K + 1 blocks ago would have it
                timeline = (Terms(self.height + 1, next_set, (), self.genesis.parameters),)
                outcome.changes[TIMELINE.key()] = encode(Decided(timeline))
            change = StateTree(snapshot, snapshot.state_root).apply(outcome.changes)
        leaves = receipts_root([receipt_leaf(receipt) for receipt in outcome.receipts])
        result = Result(
            self.chain_id,
            self.height,
            block.hash,
            self.now_ms,
            self.set.hash(),
            following.hash(),
            change.root,
            leaves,
            self.head.history.root,
        )
        sealed = self.sign(raw, result, self.set)
        tip = self.head.tip.after(raw, header, self.set)
        self.head = self.head.after(tip, result_digest(sealed.result), timeline)
        work = BlockWork(tuple(sorted(outcome.changes.items())), change.tiles, outcome.receipts)
        self.store.write(
            [
                StoreSealed(
                    block, sealed, Outcome(self.height, block.hash, change.root, leaves, timeline, work), self.head
                )
            ]
        )
        self.set = following
        receipts = [decode(Receipt, receipt) for receipt in outcome.receipts]
        self.receipts += receipts
        return receipts

    def sign(self, header_raw: bytes, result: Result, by: ValidatorSet) -> SealedHeader:
        """A seal of all members of a set."""
        raw = encode(result)
        digest = result_digest(raw)
        votes = (Vote(at, vote_signer(member.name, by.epoch).sign(digest)) for at, member in enumerate(by.validators))
        return SealedHeader(header_raw, raw, tuple(votes))

    def anchor(self, owner_key: bytes = b"") -> LightState:
        """What a pile is provisioned with: the chain's id."""
        return LightState(self.chain_id, owner_key)

    def config(self, pile: str, **fields: Any) -> PileConfig:
        """A pile's settings."""
        given: dict[str, Any] = {"name": pile, "power_max_w": 60_000, "price_book": SessionPrices()}
        given["archive_key"] = key("archive SGCC")
        return PileConfig(**(given | fields))

    def close(self) -> None:
        """Close the files."""
        self.store.close()


class Core:
    """What a gateway needs of core: submit and follow. Seals what is submitted at once, if told so."""

    def __init__(self, chain: DeviceChain, clock: Any = None) -> None:
        self.chain = chain
        self.clock = clock
        self.seals = True
        self.submitted: list[bytes] = []
        self._changed = asyncio.Event()

    @property
    def height(self) -> int:
        """Sealed height."""
        return self.chain.height

    async def submit(self, raws: list[bytes]) -> list[tuple[str, str]]:
        """Seal in one block what is not sealed yet."""
        self.submitted += raws
        if not self.seals:
            return [("", "")] * len(raws)
        transactions = {decode_transaction(raw).id: decode_transaction(raw) for raw in raws}
        with self.chain.reader.snapshot() as snapshot:
            fresh = [tx for tx in transactions.values() if snapshot.locate(tx.id) is None]
        if fresh:
            self.seal(*fresh)
        return [("", "")] * len(raws)

    def seal(self, *transactions: Transaction) -> list[Receipt]:
        """Seal a block at the clock's time and tell the followers."""
        receipts = self.chain.seal(*transactions, at_ms=self.clock.now_ms() if self.clock else 0)
        self._changed.set()
        self._changed = asyncio.Event()
        return receipts

    async def wait_above(self, height: int) -> int:
        """The sealed height once it is larger."""
        while self.chain.height <= height:
            await self._changed.wait()
        return self.chain.height
