"""Two chains, one with the money contract's Python twin and one with the machine, and random days for both."""

import random
from collections import Counter
from typing import Any

import msgspec
from msgspec.structs import replace

from contracts import views
from contracts.contract import Method
from contracts.genesis import ConsortiumParameters
from contracts.host import SYSTEM, Failure, Host
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, SESSION
from contracts.records import money as records
from contracts.records.session import SESSIONS, State
from contracts.vm.entry import methods_of
from contracts.vm.generator import functions
from ledger.charging import BorderReading
from ledger.codec import Wire
from ledger.units import I64_MAX, U32_MAX
from tests.consortium import NAMES, OPERATORS, Call, Chain, consortium, genesis, key
from tests.oracles import margin, money
from tests.oracles.catalogue import METHODS
from tests.oracles.codes import describe
from tests.oracles.identity import CompanyArgs, OpenWalletArgs
from tests.vm.swap import linked_of, running

Methods = dict[tuple[int, str], Method]
TWIN: Methods = {(MONEY, name): method for name, method in money.CONTRACT.methods.items()}
LINKED = linked_of("money")
MACHINE: Methods = methods_of(LINKED, functions(LINKED))

DRIVERS = tuple(f"d{i}" for i in range(6))
PILES = ("Pile-1", "Home-1")
LATER = tuple(f"Later-{i}" for i in range(6))
"""Companies that join, and mostly leave."""
LATE = ("late 1", "late 2")
"""Accounts that are registered, perhaps by them."""
COMPANIES = (*NAMES, *NAMES, *LATER, "Nobody", "Te\0ld", "桩链", "x" * 64)
SENDERS = (*NAMES, *DRIVERS, *PILES, "nobody")
CALLS = 4


def asked(chain: Chain, methods: Methods, caller: int, method: str, args: Wire) -> tuple[Any, ...]:
    """What another contract is told by contract 2: code, result, events, changes."""
    host = Host(chain.state, METHODS | methods, bytes(32), chain.height, chain.now_ms)
    host.begin(chain.height.to_bytes(32, "big"), b"", 10**9)
    host.contract = caller
    code, result = 0, None
    try:
        result = host.call(MONEY, method, args)
    except Failure as failure:
        code = failure.code
        host.roll_back()
    return code, result, host.events, host.changes()


class Pair:
    """Two chains that execute the same blocks, one by the twin and one by the machine."""

    def __init__(self, **more: Any) -> None:
        document = genesis(consortium(**more))
        self.twin, self.other = Chain(document), Chain(document)
        self.codes = Counter[tuple[str, str]]()
        self.events = set[str]()

    def block(self, *calls: Call) -> None:
        """Execute one block on both and compare all that is left of it."""
        transactions = [self.twin.transaction(call) for call in calls]
        with running(METHODS):
            ours = self.twin.run(transactions)
        theirs = self.other.run(transactions)
        told: list[Any] = [*calls, *["scheduled"] * (len(ours) - len(calls))]
        for call, one, other in zip(told, ours, theirs, strict=True):
            assert replace(one, gas_used=0) == replace(other, gas_used=0), (call, describe(other.code))
            self.events |= {event.name for event in one.events}
            if isinstance(call, Call):
                self.codes[call.method, describe(one.code)[0]] += 1
        assert self.twin.last.changes == self.other.last.changes
        assert self.twin.state.entries == self.other.state.entries

    def ask(self, caller: int, method: str, args: Wire) -> Any:
        """Another contract calls on both; what it changes is kept. Returns the twin's answer."""
        ours = asked(self.twin, TWIN, caller, method, args)
        theirs = asked(self.other, MACHINE, caller, method, args)
        assert ours == theirs, (method, args)
        self.codes[method, describe(ours[0])[0]] += 1
        self.events |= {event.name for event in ours[2]}
        for chain in (self.twin, self.other):
            chain.state.apply(ours[3])
        return ours[1]


class Day:
    """Calls by chance, mostly such as may succeed in the present state."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        parameters = ConsortiumParameters(block_reward_fen=self.chance.choice((0, 7, 100, 900)))
        self.pair = Pair(wallet_fen=30_000, collateral_fen=60_000, parameters=parameters)
        self.pair.block(Call("d1", "registry", "share", {"pile": "Home-1", "shared": True}))
        self.chain = self.pair.twin
        self.counters = Counter[str]()

    def step(self) -> None:
        """A block of a few calls, or a question of another contract."""
        if self.chance.random() < 0.5:
            self.pair.block(*[self.call() for _ in range(self.chance.randrange(CALLS + 1))])
        else:
            self.question()

    # ── values ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def near(self, bound: int) -> int:
        """An amount below a bound, or at an edge of it."""
        bound = max(bound, 0)
        edges = (0, 1, bound, bound + 1, max(bound - 1, 0), records.BOOK_FEN_MAX, records.BOOK_FEN_MAX + 1, I64_MAX)
        usual = self.chance.randrange(1, max(bound // 4, 2))
        return min(self.chance.choice(edges), I64_MAX) if self.chance.random() < 0.15 else usual

    def book(self, company: str) -> records.Book:
        """A company's book; an empty one if there is none."""
        return views.book(self.chain.state, company) or records.Book()

    def balance(self, label: str) -> int:
        """What a wallet holds."""
        wallet = views.wallet(self.chain.state, key(label))
        return wallet.balance_fen if wallet else 100

    def some(self, table: Any) -> tuple[bytes, Any]:
        """Key and record of an entry of a table; made-up ones if it is empty or by chance."""
        entries = list(table.scan(self.chain.state))
        if not entries or self.chance.random() < 0.05:
            return self.chance.randbytes(32), None
        return self.chance.choice(entries)

    def company(self) -> str:
        """Mostly one that there is."""
        return self.chance.choice(COMPANIES if self.chance.random() < 0.5 else OPERATORS)

    # ── transactions ──────────────────────────────────────────────────────────────────────────────────────────────────

    def call(self) -> Call:
        """One transaction."""
        draws = (
            self.pay, self.pay, self.pay, self.top_up, self.withdraw, self.pay_out, self.confirm, self.confirm,
            self.deposit, self.release, self.open_session, self.start_session, self.stop_session,
        )  # fmt: skip
        call = self.chance.choice(draws)()
        if self.chance.random() < 0.04:
            call.sender = self.chance.choice(SENDERS)
        if self.chance.random() < 0.03:
            call.changes["args"] = self.spoiled(list(call.fields.values()))
        return call

    def spoiled(self, values: list[Any]) -> bytes:
        """Arguments of which one is odd, one is missing, or there is one more."""
        place = self.chance.randrange(len(values))
        odd = (None, -1, 0, 2**32, 2**63, True, 1.0, b"", bytes(32), bytes(33), bytes(65), bytes(66), "", "x" * 65, ())
        match self.chance.randrange(6):
            case 0:
                values.pop(place)
            case 1:
                values.append(self.chance.choice(odd))
            case _:
                values[place] = self.chance.choice(odd)
        return msgspec.msgpack.encode(values, enc_hook=str)

    def pay(self) -> Call:
        """A payment."""
        payer = self.chance.choice((*DRIVERS, *DRIVERS, *LATE))
        payee = self.chance.choice((*DRIVERS, *DRIVERS, *LATE, "nobody"))
        fields = {
            "to": key(payee),
            "amount_fen": self.near(self.balance(payer)),
            "memo": self.chance.choice((0, 2**32 - 1)),
        }
        return Call(payer, "money", "pay", fields)

    def top_up(self) -> Call:
        """Real money for a wallet."""
        place = self.chance.randrange(6)
        operator = OPERATORS[place % 3]
        account = self.chance.choice((*3 * (f"d{place}",), "nobody", "d0"))
        bound = self.chance.choice((9_000, records.BOOK_FEN_MAX + self.book(operator).cash_fen))
        return Call(operator, "money", "top_up", {"account": key(account), "amount_fen": self.near(bound)})

    def withdraw(self) -> Call:
        """A driver wants real money."""
        driver = self.chance.choice((*DRIVERS, *LATE))
        return Call(driver, "money", "withdraw", {"amount_fen": self.near(self.balance(driver))})

    def pay_out(self) -> Call:
        """An operator has paid, or cannot."""
        payout, record = self.some(records.PAYOUTS)
        operator = record.home if record and self.chance.random() < 0.9 else "SGCC"
        operator = operator if operator in NAMES else "SGCC"
        return Call(operator, "money", self.chance.choice(("pay_out", "decline")), {"payout": payout})

    def confirm(self) -> Call:
        """A company was paid on a claim."""
        claims = [claim for claim in views.claims(self.chain.state) if claim[1] in (*OPERATORS, "Grid")]
        debtor, creditor, owed_fen = self.company(), self.chance.choice(OPERATORS), 5
        if claims and self.chance.random() < 0.8:
            debtor, creditor, owed_fen = self.chance.choice(claims)
        fields = {"debtor": debtor, "amount_fen": self.chance.choice((owed_fen, self.near(owed_fen)))}
        return Call(creditor, "money", "confirm_payment", fields)

    def deposit(self) -> Call:
        """Margin is received."""
        company = self.company()
        bound = self.chance.choice((9_000, 90_000, 90_000, records.BOOK_FEN_MAX + self.book(company).deposited_fen))
        fields = {
            "company": company,
            "collateral_fen": bound if self.chance.random() < 0.05 else self.near(bound),
            "pool_fen": self.chance.choice((0, 0, self.near(2_000))),
            "rewards_fen": self.chance.choice((0, 0, 0, 0, 0, 1)),
        }
        return Call("Regulator", "money", "deposit_margin", fields)

    def release(self) -> Call:
        """Margin is paid back."""
        company = self.company()
        book = self.book(company)
        fields: dict[str, Any] = {"company": company}
        for name, bound in (
            ("collateral_fen", book.headroom_fen),
            ("pool_fen", book.pool_fen),
            ("rewards_fen", book.rewards_fen),
        ):
            fields[name] = self.chance.choice((0, self.near(bound), self.chance.randrange(max(bound, 0) + 1)))
        return Call("Regulator", "money", "release_margin", fields)

    def open_session(self) -> Call:
        """A driver opens a session: a hold."""
        driver = self.chance.choice(DRIVERS)
        fields = {
            "pile": self.chance.choice(PILES),
            "connector": self.chance.choice((1, 2)),
            "deposit_fen": self.chance.choice((5_000, self.near(self.balance(driver)))),
            "accept_unverified": True,
        }
        return Call(driver, "session", "open", fields)

    def of_pile(self, state: State, method: str, **fields: Any) -> Call:
        """A pile's record about a session in some state."""
        found = [each for each in SESSIONS.scan(self.chain.state) if each[1].state is state]
        if not found:
            return self.pay()
        session, record = self.chance.choice(found)
        sender = record.agreed.pile
        self.counters[sender] += 1
        connector = self.chain.pile_state(sender).connectors[record.agreed.connector - 1]
        meter_wh = (record.begin.meter_wh if record.begin else connector.register_wh) + fields.pop("energy_wh")
        begun = {"time_ms": self.chain.now_ms, "meter_wh": meter_wh}
        end = BorderReading(self.chain.now_ms, meter_wh)
        stopped = {
            "borders": (end,), "charging_ended_ms": end.time_ms, "readings_count": 1, "readings_root": bytes(32),
        }  # fmt: skip
        told = {"session": session, "counter": self.counters[sender]} | (begun if method == "start" else stopped)
        return Call(sender, "session", method, told)

    def start_session(self) -> Call:
        """A session begins."""
        return self.of_pile(State.OPEN, "start", energy_wh=0)

    def stop_session(self) -> Call:
        """A session ends: it is settled."""
        return self.of_pile(State.CHARGING, "stop", energy_wh=self.chance.choice((0, 1, 20, 700)))

    # ── what other contracts ask ──────────────────────────────────────────────────────────────────────────────────────

    def question(self) -> None:
        """One call by another contract."""
        company = self.company()
        match self.chance.randrange(10):
            case 0 | 1 | 2:
                payer = self.chance.choice((*DRIVERS, *LATE, "nobody"))
                owner = key(self.chance.choice((*DRIVERS, *LATE, "nobody"))) if self.chance.random() < 0.4 else b""
                session = self.chance.randbytes(32)
                args = money.HoldArgs(key(payer), company, self.near(self.balance(payer)), session, owner)
                self.pair.ask(SESSION, "hold", args)
            case 3 | 4 | 5:
                self.end_of_session()
            case 6:
                account = key(self.chance.choice(LATE))
                if views.wallet(self.chain.state, account) is None:
                    self.pair.ask(IDENTITY, "open_wallet", OpenWalletArgs(account, company))
            case 7:
                later = self.chance.choice(LATER)
                if views.book(self.chain.state, later) is None:
                    self.pair.ask(GOVERNANCE, "open_book", CompanyArgs(later))
                else:
                    locked_ms = self.chain.now_ms + self.chance.choice((0, 1, 20_000))
                    company = self.chance.choice((later, later, company))
                    self.pair.ask(GOVERNANCE, "close_book", margin.CloseArgs(company, locked_ms))
            case 8:
                part_ppm = self.chance.choice((0, 1, 100_000, 999_999, 1_000_000, U32_MAX))
                self.pair.ask(GOVERNANCE, "fine", margin.FineArgs(company, self.company(), part_ppm))
            case _:
                self.pair.ask(SYSTEM, "reward", margin.RewardArgs(self.company(), company))

    def end_of_session(self) -> None:
        """An escrow is posted or void. Those that sessions of this chain made are left to them."""
        sessions = {session for session, _ in SESSIONS.scan(self.chain.state)}
        holds = [each for each in records.HOLDS.scan(self.chain.state) if each[0] not in sessions]
        if not holds:
            return
        session, held = self.chance.choice(holds)
        if self.chance.random() < 0.3:
            self.pair.ask(SESSION, "release", money.ReleaseArgs(session))
            return
        most_fen = held.amount_fen
        total_fen = self.chance.choice((0, 1, most_fen, self.chance.randrange(most_fen + 1)))
        grid_fen = self.chance.choice((0, most_fen, self.chance.randrange(most_fen + 1)))
        owner = key(self.chance.choice((*DRIVERS, *LATE, "nobody"))) if self.chance.random() < 0.6 else b""
        owner_fen = self.chance.choice((0, most_fen - grid_fen, self.chance.randrange(most_fen - grid_fen + 1)))
        grid = self.chance.choice(("Grid", "Grid", self.company()))
        args = money.SettleArgs(session, total_fen, grid, grid_fen, owner, owner_fen if owner else 0)
        self.pair.ask(SESSION, "settle", args)
