"""F20: registry, tariff and session in the contract language do what their Python twins do, receipt by receipt and
record by record, in long random days.
"""

import random
from collections import Counter
from collections.abc import Callable

from msgspec.structs import replace

from contracts import views
from contracts.records import tariff as records
from contracts.records.registry import MeterState, PileKind
from contracts.records.session import Session, State
from contracts.records.tariff import Caps, ServiceFee
from ledger.charging import BorderReading, Reading, ReadingReason, SignedReading, reading_digest
from ledger.codec import encode
from ledger.tariff import Tariff, borders
from ledger.transaction import Transaction
from ledger.units import I64_MAX
from tests.consortium import HOUR, NAMES, OPERATORS, PERIODS, T0, Call, Chain, key, pile, proof, signer
from tests.oracles.codes import Code, describe
from tests.vm.twins import CONTRACTS, MACHINE, MACHINES, TWIN, Pair, drawn_periods, drawn_tariff

MINUTE = 60_000
DAYS = 10
BLOCKS = 700
DRIVERS = tuple(f"d{i}" for i in range(6))
REGIONS = ("Shenzhen", "Harbin", "Lhasa", "Har\0bin", "Har\nbin")
PILES = ("Pile-1", "Pile-2", "Home-1", "Star-1", *(f"New-{i}" for i in range(30)), "New\0pile")
SENDERS = (*NAMES, "North", *DRIVERS, *PILES[:5], "nobody")


class Day:
    """Calls by chance, mostly such as make sense."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.pair = Pair()
        self.sessions: list[bytes] = []
        self.counters = Counter[str]()
        self.now_ms = 0

    @property
    def chain(self) -> Chain:
        """The twins' chain: what the next calls are made from."""
        return self.pair.twin

    def some_pile(self) -> str:
        """Mostly one that is registered."""
        known = [each.name for each in views.piles(self.chain.state)]
        return self.chance.choice(PILES if self.rarely() else known)

    def rarely(self, one_in: int = 10) -> bool:
        """True once in so many times."""
        return self.chance.randrange(one_in) == 0

    def step(self) -> None:
        """One block with a few calls."""
        soon = (1_000, 2_000, 5_000, 20_000)
        later = (61_000, 20 * MINUTE, 20 * MINUTE, HOUR, 2 * HOUR, 5 * HOUR)
        waiting = bool(self.in_state(State.OPEN, State.CLAIM))
        after_ms = self.chance.choice(later if self.rarely(12 if waiting else 2) else soon)
        self.now_ms = self.chain.now_ms + after_ms
        made: list[Callable[[], Call | None]] = [self.open, self.start, self.start, self.stop, self.claim, self.claim]
        made = 4 * made + [self.publish, self.fee, self.caps, self.register, self.service, self.share]
        made += [self.inspect, self.inspect]
        calls = []
        for _ in range(self.chance.randrange(1, 4)):
            call = self.chance.choice(made)()
            if call is None:
                continue
            if self.rarely(25):
                call.sender = self.chance.choice(SENDERS)
            call.changes["gas_limit"] = 10**8
            transaction = self.chain.transaction(call)
            if self.rarely(40):
                transaction = self.bent(transaction)
            if call.method == "open":
                self.sessions.append(transaction.id)
            calls.append((call, transaction))
        self.pair.block(calls, after_ms)

    def bent(self, transaction: Transaction) -> Transaction:
        """The same call with a byte of its arguments changed."""
        args = bytearray(transaction.body.args)
        args[self.chance.randrange(len(args))] = self.chance.randrange(256)
        return replace(transaction, body=replace(transaction.body, args=bytes(args)))

    # ── sessions ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def open(self) -> Call:
        """A driver opens a session."""
        fields = {
            "pile": self.some_pile(),
            "connector": self.chance.choice((1, 2)) if not self.rarely() else self.chance.choice((0, 3, 2**32 - 1)),
            "deposit_fen": self.chance.choice((300, 2_000, 9_000, 9_000, 20_000, self.chance.choice((0, 10**9)))),
            "accept_unverified": self.rarely(3),
        }
        return Call(self.chance.choice(DRIVERS), "session", "open", fields)

    def in_state(self, *states: State) -> list[bytes]:
        """The last sessions that are in one of these states."""
        return [each for each in self.sessions[-60:] if (found := self.record(each)) and found.state in states]

    def record(self, session_id: bytes) -> Session | None:
        """A session's record, None if its opening failed."""
        return views.session_record(self.chain.state, session_id)

    def some_session(self, *states: State) -> tuple[bytes, Session | None]:
        """Mostly one in one of these states, if there is any."""
        fitting = self.in_state(*states)
        if not fitting or self.rarely(25):
            fitting = [*self.sessions[-60:], bytes(32)]
        chosen = self.chance.choice(fitting)
        return chosen, self.record(chosen)

    def counter(self, sender: str) -> int:
        """A device's next."""
        if not self.rarely(25):
            self.counters[sender] += 1
        return self.counters[sender]

    def start(self) -> Call | None:
        """A pile starts a session."""
        chosen, record = self.some_session(State.OPEN)
        if record is None and not self.rarely():
            return None
        sender = record.agreed.pile if record else "Pile-1"
        meter_wh = self.chance.randrange(9_000)
        if record is not None:
            state = self.chain.pile_state(record.agreed.pile)
            connector = state.connectors[record.agreed.connector - 1]
            meter_wh = connector.register_wh
            if connector.register_open or self.rarely(20):
                meter_wh += self.chance.choice((-1, 0, 1, 700))
        early_ms = self.chance.choice((0, 0, 0, 1_000, 30_000, -2 * MINUTE, 4 * MINUTE * self.chance.choice((-1, 1))))
        fields = {
            "session": chosen,
            "counter": self.counter(sender),
            "time_ms": self.now_ms - early_ms,
            "meter_wh": max(meter_wh, 0),
        }
        return Call(sender, "session", "start", fields)

    def stop(self) -> Call | None:
        """A pile stops a session, with the right readings or one wrong."""
        chosen, record = self.some_session(State.CHARGING, State.CHARGING, State.CLAIM)
        if record is None or record.begin is None:
            return None
        begin = record.begin
        prices = views.tariff_of_session(self.chain.state, record)
        assert prices is not None
        end_ms = max(self.now_ms - self.chance.choice((0, 0, 1_000, HOUR)), begin.time_ms)
        ended_ms = self.chance.choice((end_ms, self.chance.randint(begin.time_ms, end_ms)))
        meter_wh, before_ms = begin.meter_wh, begin.time_ms
        readings = []
        for time_ms in (*borders(prices, begin.time_ms, end_ms), end_ms):
            meter_wh += (time_ms - before_ms) * record.agreed.power_w // 3_600_000 * self.chance.randint(0, 4) // 4
            before_ms = time_ms
            readings.append(BorderReading(time_ms, meter_wh))
        if self.rarely(2):
            readings, ended_ms = self.wrong(begin, readings, ended_ms)
        sender = record.agreed.pile
        fields = {
            "session": chosen,
            "counter": self.counter(sender),
            "borders": tuple(readings),
            "charging_ended_ms": ended_ms,
            "readings_count": self.chance.randrange(99),
            "readings_root": self.chance.randbytes(32),
        }
        return Call(sender, "session", "stop", fields)

    def wrong(
        self, begin: BorderReading, readings: list[BorderReading], ended_ms: int
    ) -> tuple[list[BorderReading], int]:
        """Readings of which something is wrong, perhaps more than one thing."""
        for _ in range(self.chance.randint(1, 2)):
            place = self.chance.randrange(len(readings))
            reading = readings[place]
            match self.chance.randrange(7):
                case 0:
                    other = self.chance.choice((begin.meter_wh - 1, reading.meter_wh - 1, reading.meter_wh + 10**7))
                    readings[place] = replace(reading, meter_wh=max(other, 0))
                case 1:
                    readings[place] = replace(reading, meter_wh=self.chance.choice((0, 2**62, I64_MAX)))
                case 2:
                    off_ms = self.chance.choice((-1, 1, MINUTE, 3 * MINUTE, 4 * MINUTE, -9 * HOUR))
                    readings[place] = replace(reading, time_ms=reading.time_ms + off_ms)
                case 3 if len(readings) > 1:
                    del readings[place]
                case 4:
                    readings.insert(place, self.chance.choice((begin, reading, readings[-1])))
                case 5:
                    ended_ms = self.chance.choice((begin.time_ms - 1, readings[-1].time_ms + 1, 0, I64_MAX))
                case _:
                    readings.insert(0, replace(begin, time_ms=begin.time_ms + 1))
        return readings, ended_ms

    def claim(self) -> Call | None:
        """A party brings a reading."""
        chosen, record = self.some_session(State.CLAIM)
        if record is None or record.begin is None:
            return None
        agreed, begin = record.agreed, record.begin
        time_ms = self.chance.randint(begin.time_ms, max(self.now_ms, begin.time_ms))
        energy_wh = (time_ms - begin.time_ms) * agreed.power_w * self.chance.choice((0, 1, 1, 2)) // 3_600_000
        meter_wh = begin.meter_wh + energy_wh
        if self.rarely(4):
            time_ms += self.chance.choice((-MINUTE, MINUTE, 9 * HOUR, -9 * HOUR))
        if self.rarely(4):
            meter_wh = self.chance.choice((begin.meter_wh - 1, meter_wh + 1, meter_wh + energy_wh // 2, I64_MAX))
        of = self.chance.choice((chosen, chosen, chosen, chosen, bytes(32)))
        newest = record.claim.number if record.claim else 0
        number = max(newest + self.chance.choice((-1, 0, 1, 1, 2)), 0)
        raw = encode(Reading(of, number, time_ms, max(meter_wh, 0), ReadingReason.PERIODIC, bytes(32)))
        signature = signer("Pile-2" if self.rarely(6) else agreed.pile).sign(reading_digest(raw))
        if self.rarely(6):
            raw = self.chance.choice((raw + b"\0", raw[:-1], b"", bytes(256), raw[:1] + b"\xda\0\x20" + raw[3:]))
        driver = next(name for name in DRIVERS if key(name) == agreed.driver)
        sender = self.chance.choice((driver, agreed.pile, agreed.operator, self.chance.choice(SENDERS)))
        fields = {"session": chosen, "signed": SignedReading(raw, signature)}
        return Call(sender, "session", "claim", fields)

    # ── tariffs and fees ──────────────────────────────────────────────────────────────────────────────────────────────

    def publish(self) -> Call:
        """A tariff is announced."""
        prices = drawn_tariff(self.chance)
        if self.rarely(4):
            prices = replace(prices, periods=drawn_periods(self.chance, sound=False))
        notice_ms = self.chance.choice((HOUR, HOUR, 2 * HOUR, 9 * HOUR, HOUR - 1, -HOUR))
        region = self.chance.choice(REGIONS if self.rarely(3) else REGIONS[:1])
        grid = self.chance.choice(("Grid", "Grid", "North", "SGCC", "nobody"))
        sender = self.chance.choice((grid, "Grid", "North", "Regulator", "Regulator"))
        prices = replace(prices, region=region, grid=grid, effective_from_ms=max(self.now_ms + notice_ms, 0))
        return Call(sender, "tariff", "publish", {"tariff": prices})

    def fee(self) -> Call:
        """An operator sets its fees."""
        fee = ServiceFee(
            self.chance.randrange(7_000),
            self.chance.choice((0, 50, 100, 101, 2**32 - 1)),
            self.chance.choice((0, MINUTE, 15 * MINUTE)),
        )
        return Call(self.chance.choice(OPERATORS), "tariff", "set_fee", {"fee": fee})

    def caps(self) -> Call:
        """The regulator sets the caps."""
        caps = Caps(self.chance.randrange(5_000, 9_000), self.chance.choice((50, 100)))
        return Call(self.chance.choice(("Regulator", "Regulator", "Grid")), "tariff", "set_caps", {"caps": caps})

    # ── piles ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self) -> Call:
        """An operator registers a pile."""
        name = self.chance.choice(PILES)
        sender = self.chance.choice(OPERATORS)
        kind = self.chance.choice(list(PileKind))
        private = kind is PileKind.PRIVATE
        connectors = self.chance.randint(1, 3)
        record = pile(
            name,
            "Teld" if self.rarely() else sender,
            kind=kind,
            owner=key(self.chance.choice(DRIVERS)) if private else b"",
            owner_share_ppm=self.chance.choice((0, 1, 400_000, 1_000_000)) if private else 0,
            public_key=key(self.chance.choice(SENDERS) if self.rarely() else name),
            connectors=connectors,
            region=self.chance.choice(REGIONS if self.rarely(3) else REGIONS[:1]),
            meter_state=MeterState.VERIFIED if self.rarely() else MeterState.UNVERIFIED,
        )
        if self.rarely(4):
            odd_owner = self.chance.choice((b"", b"short", key("nobody"), key("d1"), bytes(65)))
            record = replace(record, owner=odd_owner, owner_share_ppm=self.chance.choice((0, 7)))
        registers = [self.chance.randrange(9_000) for _ in range(connectors)]
        if self.rarely():
            registers.append(0)
        signed = proof("Pile-1" if self.rarely() else name, record.operator)
        return Call(sender, "registry", "register", {"pile": record, "registers_wh": tuple(registers), "proof": signed})

    def inspect(self) -> Call:
        """A lab inspects a pile."""
        name = self.some_pile()
        known = views.pile(self.chain.state, name)
        connectors = known.connectors if known and not self.rarely() else 2
        fields = {
            "pile": name,
            "meter_state": self.chance.choice(list(MeterState)) if self.rarely(4) else MeterState.VERIFIED,
            "registers_wh": tuple(self.chance.randrange(9_000) for _ in range(connectors)),
        }
        return Call("SGCC" if self.rarely() else "Lab", "registry", "inspect", fields)

    def service(self) -> Call:
        """An operator takes a pile in or out of service."""
        name = self.some_pile()
        known = views.pile(self.chain.state, name)
        sender = known.operator if known and not self.rarely() else "SGCC"
        return Call(sender, "registry", "set_service", {"pile": name, "in_service": not self.rarely(8)})

    def share(self) -> Call:
        """An owner shares a private pile."""
        name = self.some_pile()
        known = views.pile(self.chain.state, name)
        owners = [each for each in DRIVERS if known and key(each) == known.owner] or ["d0"]
        sender = self.chance.choice(DRIVERS) if self.rarely() else owners[0]
        return Call(sender, "registry", "share", {"pile": name, "shared": not self.rarely(8)})


UNREACHED = {Code.REGIONS_TOO_MANY, Code.GRID_COMPANY_NEEDED, Code.REPUTATION_LOW, Code.UNPAID_BILL}
"""Five hundred regions, a question of governance, and what nobody is refused for yet."""


def test_F20_registry_tariff_and_session_do_what_their_twins_do():
    codes, done, leave = Counter[int](), Counter[str](), set()
    for seed in range(DAYS):
        day = Day(seed)
        for _ in range(BLOCKS):
            day.step()
        codes += day.pair.codes
        done += day.pair.done
        leave |= {day.pair.may_leave(company) for company in (*NAMES, "North")}
    wanted = {code for code in Code if code // 1_000 in (3, 4, 5)} - UNREACHED
    assert not wanted - codes.keys(), sorted(describe(code)[0] for code in wanted - codes.keys())
    assert {0, 6, 8, 9, 12, 1002, 1004, 1012, 2003} <= codes.keys()
    assert {event for each in CONTRACTS for event in each.events} <= done.keys()
    assert leave == {0, int(Code.GRID_COMPANY_NEEDED)}
    assert codes[0] > sum(codes.values()) // 3


def test_F20_a_region_too_many_is_refused_by_both():
    pair = Pair()
    for number in range(records.REGIONS_MAX - 1):
        region = f"R-{number:03}"
        for chain in (pair.twin, pair.other):
            chain.state.entries[records.PLANS.key(region.encode())] = encode(records.Plan(T0, T0))
    for region, sender in (("Shenzhen", "Grid"), ("One more", "Regulator")):
        prices = Tariff(region, "Grid", T0 + 9 * HOUR, 480, PERIODS)
        call = Call(sender, "tariff", "publish", {"tariff": prices}, {"gas_limit": 10**8})
        pair.block([(call, pair.twin.transaction(call))], 1_000)
    assert pair.codes == {0: 1, int(Code.REGIONS_TOO_MANY): 1}


def test_F20_the_machine_s_contracts_have_the_twins_methods():
    assert MACHINE.keys() == TWIN.keys()
    for name, method in MACHINE.items():
        old = TWIN[name]
        ours = (method.branch, method.expiry_class, method.roles, method.callers)
        assert ours == (old.branch, old.expiry_class, tuple(sorted(old.roles)), tuple(sorted(old.callers))), name
        declared = MACHINES[{3: "registry", 4: "tariff", 5: "session"}[name[0]]].linked.program
        params = next(tuple(param.name for param in each.params) for each in declared.methods if each.name == name[1])
        assert params == old.args.__struct_fields__, name
        if old.roles or old.callers:
            assert method.business == old.business, name


def test_F20_codes_and_events_are_the_twins():
    for contract in CONTRACTS:
        program = MACHINES[contract.name].linked.program
        assert sorted(event.name for event in program.events) == sorted(contract.events)
        codes = {contract.number * 1_000 + code.number: code.name for code in program.codes}
        twin = {int(code): code.name for code in Code if code // 1_000 == contract.number}
        assert codes == twin
