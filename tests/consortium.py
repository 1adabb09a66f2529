"""A small consortium for tests: its genesis, a chain that executes blocks in memory, and calls by name."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from contracts import abi, executor, views
from contracts.contract import Role
from contracts.digests import own_key_digest
from contracts.genesis import (
    AccountSetup,
    CompanySetup,
    Consortium,
    ConsortiumParameters,
    FeeSetup,
    PileSetup,
    genesis_state,
)
from contracts.memory import MemoryState
from contracts.records.money import Book, Wallet
from contracts.records.registry import MeterState, Pile, PileKind, PileState
from contracts.records.session import Session
from contracts.records.tariff import ServiceFee
from ledger.block import Receipt
from ledger.codec import decode, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.keys import Scheme, SoftSigner
from ledger.tariff import Period, Tariff
from ledger.transaction import Body, Signed, Transaction, transaction_id, transaction_leaf
from ledger.validators import Validator, ValidatorSet
from node.library import library, library_abi

R = TypeVar("R")
T0 = 1_800_000_000_000 // 86_400_000 * 86_400_000 - 8 * 3_600_000
"""Midnight in China."""
HOUR = 3_600_000
NAMES = ("Grid", "Lab", "Regulator", "SGCC", "StarCharge", "Teld")
ROLES = {"Grid": Role.GRID, "Lab": Role.LAB, "Regulator": Role.REGULATOR}
OPERATORS = ("SGCC", "StarCharge", "Teld")


def signer(label: str) -> SoftSigner:
    """The key of a name, always the same."""
    return SoftSigner.from_seed(Scheme.ED25519, label.encode().ljust(32, b"."))


KEYS = {name: signer(name).public_key for name in NAMES}
PERIODS = (Period(0, 4_000, 3_000), Period(8 * 60, 8_500, 6_000), Period(18 * 60, 13_000, 9_000))


def key(label: str) -> bytes:
    """The public key of a name."""
    return signer(label).public_key


def proof(label: str, company: str) -> bytes:
    """By which a company registers the key of a name on a `Chain`."""
    return signer(label).sign(own_key_digest(bytes(32), company, key(label)))


def pile(name: str, operator: str, **changes: Any) -> Pile:
    """A pile's record."""
    fields: dict[str, Any] = {
        "name": name,
        "operator": operator,
        "kind": PileKind.OPERATOR,
        "owner": b"",
        "owner_share_ppm": 0,
        "public_key": key(name),
        "latitude_e7": 225_000_000,
        "longitude_e7": 1_140_000_000,
        "power_w": 60_000,
        "connectors": 2,
        "region": "Shenzhen",
        "meter_state": MeterState.VERIFIED,
    }
    return Pile(**fields | changes)


def validators() -> ValidatorSet:
    """All companies vote."""
    members = tuple(Validator(name, KEYS[name], key("vote " + name), key("node " + name)[1:]) for name in NAMES)
    return ValidatorSet(0, members)


def consortium(drivers: int = 6, wallet_fen: int = 100_000, collateral_fen: int = 500_000, **more: Any) -> Consortium:
    """Three operators with drivers `d0…` in turn, two piles, a private pile of `d1`, one tariff."""
    companies = tuple(
        CompanySetup(name, name, (ROLES.get(name, Role.OPERATOR),), KEYS[name], collateral_fen, 1_000) for name in NAMES
    )
    accounts = tuple(AccountSetup(key(f"d{i}"), OPERATORS[i % 3], wallet_fen) for i in range(drivers))
    private = pile("Home-1", "Teld", kind=PileKind.PRIVATE, owner=key("d1"), owner_share_ppm=400_000)
    piles = [pile("Pile-1", "SGCC"), pile("Pile-2", "Teld", meter_state=MeterState.UNVERIFIED), private]
    fees = tuple(FeeSetup(name, ServiceFee(6_000, 50, 15 * 60_000)) for name in OPERATORS)
    return Consortium(
        companies,
        accounts,
        tuple(PileSetup(record, (1_000, 2_000)) for record in piles),
        (Tariff("Shenzhen", "Grid", T0, 480, PERIODS),),
        fees,
        library(),
        more.get("parameters", ConsortiumParameters()),
    )


def genesis(setup: Consortium | None = None) -> Genesis:
    """A genesis document."""
    return Genesis(1, "test", Profile.MIXED, T0, Parameters(), validators(), encode(setup or consortium()))


def found(record: R | None) -> R:
    """A record that must be there."""
    if record is None:
        raise KeyError("no such record")
    return record


@dataclass
class Call:
    """A call to put into a block."""

    sender: str
    contract: str
    method: str
    fields: dict[str, Any]
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the body to send wrong."""


@dataclass
class Chain:
    """A chain without consensus: each block executes on the state before it."""

    document: Genesis = field(default_factory=genesis)
    now_ms: int = T0 + HOUR
    height: int = 0
    state: MemoryState = field(init=False)
    last: executor.BlockOutcome = field(init=False)
    salt: int = 0

    def __post_init__(self) -> None:
        self.state = MemoryState(genesis_state(self.document))

    def transaction(self, call: Call) -> Transaction:
        """A transaction with a made-up signature: execution never looks at it."""
        self.salt += 1
        encoded = library_abi().encode_call(call.contract, call.method, **call.fields)
        fields: dict[str, Any] = {
            "chain_id": bytes(32),
            "sender": key(call.sender),
            "branch": encoded.branch,
            "expiry_class": encoded.expiry_class,
            "contract": encoded.contract,
            "method": encoded.method,
            "args": encoded.args,
            "gas_limit": abi.GAS_LIMIT,
            "valid_until_ms": self.now_ms + 60_000,
            "salt": self.salt.to_bytes(8, "big"),
        }
        body = Body(**fields | call.changes)
        raw_body = encode(body)
        raw = encode(Signed(raw_body, bytes(64)))
        return Transaction(raw, body, bytes(64), transaction_id(raw_body), transaction_leaf(raw))

    def block(self, *calls: Call, after_ms: int = 1_000) -> list[Receipt]:
        """Execute one block; returns all receipts."""
        return self.run([self.transaction(call) for call in calls], after_ms)

    def run(self, transactions: list[Transaction], after_ms: int = 1_000) -> list[Receipt]:
        """Execute one block of given transactions."""
        self.now_ms += after_ms
        self.height += 1
        proposer = NAMES[self.height % len(NAMES)]
        block = executor.BlockInput(bytes(32), self.height, self.now_ms, proposer, tuple(transactions))
        self.last = executor.run(self.state, block)
        self.state.apply(self.last.changes)
        return [decode(Receipt, raw) for raw in self.last.receipts]

    def call(self, sender: str, method: str, /, after_ms: int = 1_000, **fields: Any) -> Receipt:
        """One call in a block of its own."""
        contract, name = method.split(".")
        return self.block(Call(sender, contract, name, fields), after_ms=after_ms)[0]

    def wallet(self, label: str) -> Wallet:
        """The wallet of a name's key; a KeyError if there is none."""
        return found(views.wallet(self.state, key(label)))

    def book(self, company: str) -> Book:
        """A company's book; a KeyError if there is none."""
        return found(views.book(self.state, company))

    def pile_state(self, pile: str) -> PileState:
        """What changes of a pile; a KeyError if there is none."""
        return found(views.pile_state(self.state, pile))

    def session(self, session_id: bytes) -> Session:
        """A session's record; a KeyError if there is none."""
        return found(views.session_record(self.state, session_id))
