"""What the simulated nodes execute: a small key-value application for speed, or the real contracts.

Every application makes the genesis document, its clients' transactions and the state after a block, and says what is
wrong with a state.
"""

import hashlib
from random import Random
from typing import Any, Protocol

from contracts import abi, executor, views
from contracts.compiler.compiler import compile_source
from contracts.contract import Role
from contracts.genesis import AccountSetup, CompanySetup, Consortium, ContractSetup, FeeSetup, PileSetup, genesis_state
from contracts.host import TIMELINE, Decided
from contracts.memory import MemoryState
from contracts.records.registry import MeterState, Pile, PileKind
from contracts.records.session import State as SessionState
from contracts.records.tariff import ServiceFee
from ledger.block import Block
from ledger.charging import BorderReading
from ledger.codec import decode, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.keys import Signer
from ledger.tariff import Period, Tariff
from ledger.terms import DECISION_DELAY, Terms, Timeline, advance, first_timeline, terms_at
from ledger.transaction import Body, Branch, ExpiryClass, sign_transaction
from ledger.validators import Failure, Validator, ValidatorSet
from node.library import NUMBERS, library, library_abi, text_of
from tests.sim.signing import make_signer

GENESIS_TIME_MS = 1_700_000_000_000
VALID_MS = 400_000
HOUR_MS = 3_600_000
SENDERS = 4
"""Clients of the key-value application; the last one makes most transactions."""


class Application(Protocol):
    """Deterministic execution, and clients."""

    genesis: Genesis
    first_state: dict[bytes, bytes]

    def execute(self, state: dict[bytes, bytes], block: Block, failures: tuple[Failure, ...]) -> dict[bytes, bytes]:
        """The state after a block, as a new dict."""

    def timeline(self, state: dict[bytes, bytes]) -> Timeline:
        """Who votes on the block after that of a state, and what is decided."""

    def audit(self, state: dict[bytes, bytes]) -> list[str]:
        """What is wrong with a state."""

    def make(self, random: Random, now_ms: int) -> bytes:
        """Some client's next transaction."""


def root(state: dict[bytes, bytes]) -> bytes:
    """Digest of a state."""
    running = hashlib.blake2b(digest_size=32)
    for key, value in sorted(state.items()):
        running.update(key + value)
    return running.digest()


def make_genesis(validators: ValidatorSet, parameters: Parameters, consortium: bytes = b"") -> Genesis:
    """The genesis document."""
    return Genesis(1, "Simulated", Profile.INTL, GENESIS_TIME_MS, parameters, validators, consortium)


class KeyValue:
    """Enough to see an order, a loss or a repetition of transactions in the state root."""

    def __init__(self, validators: ValidatorSet, parameters: Parameters, real_signatures: bool) -> None:
        self.genesis = make_genesis(validators, parameters)
        self.first_state: dict[bytes, bytes] = {}
        self._chain_id = self.genesis.hash()
        self._clients = [make_signer(bytes([number]) * 32, real_signatures) for number in range(SENDERS)]

    def execute(self, state: dict[bytes, bytes], block: Block, failures: tuple[Failure, ...]) -> dict[bytes, bytes]:
        """Each transaction chains its id onto its key's value, so any other order shows."""
        after = dict(state)
        height, timeline = block.header.height, self.timeline(state)
        for transaction in block.transactions:
            if transaction.body.method == "decide":
                timeline = self._decided(timeline, height, decode(tuple[Validator, ...], transaction.body.args))
            key = transaction.body.args
            after[key] = hashlib.blake2b(after.get(key, b"") + transaction.id, digest_size=16).digest()
        timeline = advance(timeline, height + 1)
        if timeline != first_timeline(self.genesis):
            after[TIMELINE.key()] = encode(Decided(timeline))
        return after

    def timeline(self, state: dict[bytes, bytes]) -> Timeline:
        """As the transactions decided."""
        raw = state.get(TIMELINE.key())
        return decode(Decided, raw).timeline if raw else first_timeline(self.genesis)

    def _decided(self, timeline: Timeline, height: int, members: tuple[Validator, ...]) -> Timeline:
        """As `contracts.host.Host.decide`."""
        rules_from = height + DECISION_DELAY
        before = terms_at(timeline, rules_from - 1).validators
        validators = before if members == before.validators else ValidatorSet(before.epoch + 1, members)
        kept = tuple(terms for terms in timeline if terms.height < rules_from)
        return (*kept, Terms(rules_from, validators, (), self.genesis.parameters))

    def decide(self, members: tuple[Validator, ...], random: Random, now_ms: int) -> bytes:
        """A decision that these vote, sorted by name, from K + 1 blocks on."""
        return self._make(random, now_ms, Branch.GOVERNANCE, "decide", encode(members))

    def audit(self, state: dict[bytes, bytes]) -> list[str]:
        """Any state will do."""
        return []

    def make(self, random: Random, now_ms: int) -> bytes:
        """A put."""
        branch = random.choice((Branch.CHARGING, Branch.EVALUATION, Branch.SERVICE))
        return self._make(random, now_ms, branch, "put", bytes([random.randrange(16)]))

    def _make(self, random: Random, now_ms: int, branch: Branch, method: str, args: bytes) -> bytes:
        client = self._clients[min(args[-1], SENDERS - 1)]
        body = Body(
            self._chain_id,
            client.public_key,
            branch,
            ExpiryClass.ORDINARY,
            1,
            method,
            args,
            1_000,
            now_ms + VALID_MS,
            random.randbytes(8),
        )
        return sign_transaction(body, client)


def contracts(of: str = "", old: str = "", new: str = "") -> tuple[ContractSetup, ...]:
    """Those of the library; mutants change a piece of one's text."""
    found = list(library())
    if of:
        text = text_of(of)
        if old not in text:
            raise AssertionError(f"{of} no longer contains {old!r}: the mutant must follow it")
        text = text.replace(old, new)
        found[list(NUMBERS).index(of)] = ContractSetup(NUMBERS[of], encode(compile_source(text)), text)
    return tuple(found)


class Contracts:
    """The real contracts: payments that often ask for too much, real money in and out, and one pile's sessions."""

    def __init__(self, validators: ValidatorSet, parameters: Parameters, real_signatures: bool) -> None:
        names = [member.name for member in validators.validators]
        self._operators = names[2:]
        signers = {
            label: make_signer(hashlib.sha256(label.encode()).digest(), real_signatures)
            for label in (*(f"company {name}" for name in names), "pile", *(f"driver {number}" for number in range(6)))
        }
        self._companies = {name: signers[f"company {name}"] for name in names}
        self._drivers = [signers[f"driver {number}"] for number in range(6)]
        self._pile = signers["pile"]
        self._home = {
            driver.public_key: self._operators[number % len(self._operators)]
            for number, driver in enumerate(self._drivers)
        }
        self.genesis = make_genesis(validators, parameters, encode(self._consortium()))
        self.first_state = genesis_state(self.genesis)
        self._chain_id = self.genesis.hash()
        self._newest = 0, self.first_state
        """Height and state of the newest block that some node executed: what the clients see."""
        self._counter = 0

    def execute(self, state: dict[bytes, bytes], block: Block, failures: tuple[Failure, ...]) -> dict[bytes, bytes]:
        """As the daemon does; the receipts go into the state as well, so that they must be equal."""
        header = block.header
        given = executor.BlockInput(
            chain_id=self._chain_id,
            height=header.height,
            time_ms=header.time_ms,
            proposer=header.proposer,
            transactions=block.transactions,
            failures=failures,
        )
        outcome = executor.run(MemoryState(state), given)
        memory = MemoryState(state)
        memory.apply(outcome.changes)
        memory.apply({b"receipts": hashlib.blake2b(b"".join(outcome.receipts)).digest()})
        if header.height > self._newest[0]:
            self._newest = header.height, memory.entries
        return memory.entries

    def timeline(self, state: dict[bytes, bytes]) -> Timeline:
        """As governance decided."""
        return decode(Decided, state[TIMELINE.key()]).timeline

    def audit(self, state: dict[bytes, bytes]) -> list[str]:
        """I4: no money is made or lost, no wallet overspent, no margin overdrawn."""
        return views.audit(MemoryState(state))

    def make(self, random: Random, now_ms: int) -> bytes:
        """A payment as a rule."""
        driver = random.choice(self._drivers)
        kind = random.randrange(10)
        if kind < 5:
            payee = random.choice(self._drivers).public_key
            amount_fen = random.choice((1, 500, 4_000))
            return self._call(random, now_ms, driver, "money.pay", to=payee, amount_fen=amount_fen, memo=0)
        if kind == 5:
            company = self._companies[self._home[driver.public_key]]
            return self._call(random, now_ms, company, "money.top_up", account=driver.public_key, amount_fen=1_000)
        if kind == 6:
            return self._call(random, now_ms, driver, "money.withdraw", amount_fen=random.choice((100, 3_000)))
        return self._next_of_session(random, now_ms, driver)

    def _next_of_session(self, random: Random, now_ms: int, driver: Signer) -> bytes:
        """Open, start or stop, as the newest state calls for."""
        state = MemoryState(self._newest[1])
        pile = views.pile_state(state, "Pile-1")
        connector = pile.connectors[0] if pile else None
        session = views.session_record(state, connector.session) if connector and connector.session else None
        if connector is None or session is None:
            fields = {"pile": "Pile-1", "connector": 1, "deposit_fen": 2_000, "accept_unverified": False}
            return self._call(random, now_ms, driver, "session.open", **fields)
        self._counter += 1
        fields = {"session": connector.session, "counter": self._counter}
        if session.state is SessionState.OPEN or session.begin is None:
            fields |= {"time_ms": max(now_ms, session.agreed.opened_ms), "meter_wh": connector.register_wh}
            return self._call(random, now_ms, self._pile, "session.start", **fields)
        end_ms = max(now_ms, session.begin.time_ms + 1_000)
        energy_wh = (end_ms - session.begin.time_ms) // 100
        fields |= {"borders": (BorderReading(end_ms, session.begin.meter_wh + energy_wh),), "charging_ended_ms": end_ms}
        fields |= {"readings_count": 2, "readings_root": bytes(32)}
        return self._call(random, now_ms, self._pile, "session.stop", **fields)

    def _call(self, random: Random, now_ms: int, sender: Signer, name: str, **fields: Any) -> bytes:
        contract, method = name.split(".")
        call = library_abi().encode_call(contract, method, **fields)
        body = Body(
            self._chain_id,
            sender.public_key,
            call.branch,
            call.expiry_class,
            call.contract,
            call.method,
            call.args,
            abi.GAS_LIMIT,
            now_ms + VALID_MS,
            random.randbytes(8),
        )
        return sign_transaction(body, sender)

    def _consortium(self) -> Consortium:
        """A grid company, a regulator, operators with little margin, drivers with little money, one pile."""
        grid, regulator = list(self._companies)[:2]
        roles = {grid: Role.GRID, regulator: Role.REGULATOR}
        midnight_ms = GENESIS_TIME_MS // (24 * HOUR_MS) * 24 * HOUR_MS - 8 * HOUR_MS
        pile = Pile(
            name="Pile-1",
            operator=self._operators[0],
            kind=PileKind.OPERATOR,
            owner=b"",
            owner_share_ppm=0,
            public_key=self._pile.public_key,
            latitude_e7=225_000_000,
            longitude_e7=1_140_000_000,
            power_w=60_000,
            connectors=1,
            region="Shenzhen",
            meter_state=MeterState.VERIFIED,
        )
        return Consortium(
            tuple(
                CompanySetup(name, name, (roles.get(name, Role.OPERATOR),), signer.public_key, 20_000, 500)
                for name, signer in self._companies.items()
            ),
            tuple(AccountSetup(driver, home, 10_000) for driver, home in self._home.items()),
            (PileSetup(pile, (1_000,)),),
            (Tariff("Shenzhen", grid, midnight_ms, 480, (Period(0, 4_000, 3_000),)),),
            tuple(FeeSetup(name, ServiceFee(6_000, 50, 15 * 60_000)) for name in self._operators),
            contracts(),
        )
