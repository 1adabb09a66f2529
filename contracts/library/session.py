"""Contract 5, session: a charging session in three transactions, open, start and stop.

Parties: the driver (account key), the pile (device key), the pile's operator, the driver's home operator, the grid
company of the region's tariff, a private pile's owner. A session's id is the id of the transaction that opened it.

| state | entered by | leaves by |
|---|---|---|
| OPEN | `open` (driver): escrow and headroom taken, connector taken | `start` → CHARGING; schedule `expire` → EXPIRED |
| CHARGING | `start` (pile), register where the last session left it | `stop` → SETTLED; schedule `time_out` → CLAIM |
| CLAIM | nobody stopped it for the session time-out | `stop` → SETTLED; `claim` stays; schedule `close` → SETTLED |
| SETTLED | bill posted, rest returned, connector free | – |
| EXPIRED | not started in time; all returned, connector free | – |

In CLAIM the driver, the pile or the pile's operator brings the newest reading that the pile has signed; `close` bills
up to it at the day's lowest price, and to nothing at all if none came. The pile's next session may then begin at a
higher register. Amounts in fen, energy in Wh, times in ms of chain time, prices in 0.0001 yuan per kWh (`_e4`).
"""

from contracts.language import *

CONTRACT = Contract("session", Business.CHARGING, Branch.CHARGING)

SCHEDULED_GAS = 1_000_000
"""For expiring, timing out and closing: three times what the dearest of them takes."""
BORDERS_MAX = 256
"""Register values in a stop: ten days of hourly prices, the longest stays that real records show (cars left at a pile
over a holiday).
"""
ENERGY_FACTOR = 2
"""Readings beyond twice what the pile's power allows are refused: no broken register is ever billed, and sums stay
within 64 bits.
"""
OVERSTAY_MS_MAX = 60 * 60_000
"""Beyond the grace time, from which on blocking a connector counts as bad behaviour."""
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
WMS_PER_WH = 3_600_000
WH_E4_PER_FEN = 100_000
"""fen = Wh x (0.0001 yuan / kWh) / (1000 Wh / kWh) / (100 e4 / fen)."""
PPM = 1_000_000
PRICE_E4_MAX = 1_000_000
NO_HASH = b"\0" * 32
"""Root of the readings of a session that the pile did not stop."""


# ── records of other contracts ────────────────────────────────────────────────────────────────────────────────────────


class PileKind(Enum):
    """Whose pile it is."""

    OPERATOR = 1
    PRIVATE = 2
    PUBLIC = 3


Owner = Annotated[bytes, Size(0, 65)]
"""Account of a private pile's owner; empty for the others."""
PriceE4 = Annotated[int, Range(0, PRICE_E4_MAX)]


class Pile(Struct):
    """Of the registry."""

    name: Name
    operator: Name
    kind: PileKind
    owner: Owner
    owner_share_ppm: Annotated[int, Range(0, PPM)]
    public_key: PublicKey
    latitude_e7: Annotated[int, Range(-900_000_000, 900_000_000)]
    longitude_e7: Annotated[int, Range(-1_800_000_000, 1_800_000_000)]
    power_w: Annotated[int, Range(1, 10_000_000)]
    connectors: Annotated[int, Range(1, 16)]
    region: Name
    meter_state: Annotated[int, Range(0, 2)]


class Period(Struct):
    """Of a tariff: from its minute of the day to the next period's."""

    begin_minute: Annotated[int, Range(0, 24 * 60 - 1)]
    energy_price_e4: PriceE4
    """What the driver pays for energy."""
    purchase_price_e4: PriceE4
    """What the operator owes the grid company for it: never more than the energy price."""


class Tariff(Struct):
    """Prices of a region from a time on. Its periods form a day: sorted, the first at minute 0."""

    region: Name
    grid: Name
    effective_from_ms: Time
    utc_offset_minutes: Annotated[int, Range(-24 * 60, 24 * 60)]
    periods: Annotated[List[Period], Size(1, 24)]


class ServiceFee(Struct):
    """What an operator asks beside the energy."""

    service_price_e4: PriceE4
    occupancy_fen_per_minute: U32
    """For a car that stays after charging ended, per full minute after the grace time."""
    grace_ms: U32


class Terms(Struct):
    """What a session is billed by."""

    tariff_from_ms: Time
    fee: ServiceFee


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


class State(Enum):
    """See the table above."""

    OPEN = 1
    CHARGING = 2
    CLAIM = 3
    SETTLED = 4
    EXPIRED = 5


Score = Annotated[int, Range(-1, 1)]


class Agreed(Struct):
    """What was fixed when the session opened; never changes."""

    driver: PublicKey
    pile: Name
    pile_key: PublicKey
    pile_kind: PileKind
    connector: U32
    power_w: U32
    operator: Name
    home: Name
    """The driver's operator."""
    region: Name
    tariff_from_ms: Time
    fee: ServiceFee
    owner: Owner
    owner_share_ppm: U32
    deposit_fen: U63
    opened_ms: Time


class BorderReading(Struct):
    """A register value that a bill line begins or ends with."""

    time_ms: Time
    meter_wh: U63


Readings = Annotated[List[BorderReading], Size(1, BORDERS_MAX)]
"""The register at each tariff border passed, in order, and last at the end."""
Periods = Annotated[List[Period], Size(0, BORDERS_MAX)]
"""Of a day, or of the lines of a bill."""


class Claim(Struct):
    """The newest signed reading that a side has brought."""

    number: U32
    reading: BorderReading


class Closing(Struct):
    """How it ended."""

    end: BorderReading
    energy_wh: U63
    total_fen: U63
    refund_fen: U63
    behaviour: Score
    """Score B of the driver: −1, 0 or +1."""
    readings_count: U32
    readings_root: Hash
    """Root over all signed readings, which lie in the operator's archive; zero if the pile did not stop it."""
    previous: Hash
    """The pile's previous charging record (P4's index pointer); zero for the first."""


class Session(Struct):
    """The record. Key: the session's id."""

    state: State
    agreed: Agreed
    due_ms: Time
    """When the scheduled call that waits for this session comes; 0 in the last two states."""
    begin: BorderReading | None = None
    claim: Claim | None = None
    closing: Closing | None = None


class Settings(Struct):
    """From genesis; chain time."""

    start_max_ms: U63
    """From opening to start."""
    time_out_ms: U63
    """From start to the claim window."""
    claim_window_ms: U63
    clock_error_max_ms: U63
    """How far a device's clock may be off the chain's."""


SESSIONS: Table[Hash, Session] = table("s")
SETTINGS: Cell[Settings] = cell("c")


# ── parameters and bills ──────────────────────────────────────────────────────────────────────────────────────────────


class Reading(Struct):
    """What the pile signs each time it reads its register."""

    session: Hash
    number: U32
    """From 0, gap-free within the session."""
    time_ms: Time
    meter_wh: U63
    """The register itself, never a difference."""
    reason: Annotated[int, Range(0, 3)]
    """Begin, periodic, tariff border, end."""
    previous: Hash
    """Digest of the reading before; zero for the first."""


class SignedReading(Struct):
    """A reading as it leaves the pile."""

    reading: Annotated[bytes, Size(0, 256)]
    signature: Signature


class BillLine(Struct):
    """Energy of one tariff period, priced."""

    begin_ms: Time
    end_ms: Time
    energy_wh: U63
    energy_price_e4: U63
    service_price_e4: U63
    energy_fen: U63
    service_fen: U63


Lines = Annotated[List[BillLine], Size(0, BORDERS_MAX)]


class Bill(Struct):
    """What a session costs and who gets what of it."""

    lines: Lines
    energy_wh: U63
    occupancy_fen: U63
    cut_fen: U63
    total_fen: U63
    """To the pile's operator, out of the deposit."""
    refund_fen: U63
    grid_fen: U63
    """From the operator to the grid company; with `owner_fen` never above the deposit, which is what was reserved for
    them.
    """
    owner_fen: U63


# ── codes, events, other contracts ────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    SESSION_UNKNOWN = 1, "no such session"
    SESSION_STATE = 2, "the session is not in a state that allows this"
    START_LATE = 3, "the session was not started within the start limit"
    TIME_IMPLAUSIBLE = 4, "the device's time is before the session or ahead of the chain"
    BORDER_MISMATCH = 5, "the readings do not stand exactly at the tariff borders of the stay"
    REGISTER_BACKWARDS = 6, "the register runs backwards"
    ENERGY_IMPLAUSIBLE = 7, "more energy than the pile can deliver in the time"
    REPUTATION_LOW = 8, "the driver's reputation is below the threshold"
    UNPAID_BILL = 9, "the driver has an unpaid bill"
    NOT_PARTY = 10, "only the session's driver, its pile or the pile's operator may do this"
    READING_FORGED = 11, "the reading is not signed by the pile"
    READING_MISMATCH = 12, "the reading is of another session, or older than the one claimed"
    DEVICE_WRONG = 13, "the sender is not the pile's key"


class SessionOpened(Struct):
    """Tells the pile that it may start."""

    session: Hash
    pile: Name
    connector: U32
    driver: PublicKey
    deposit_fen: U63
    start_until_ms: Time


class SessionStarted(Struct):
    """Its sealed receipt closes the contactor."""

    session: Hash
    pile: Name
    meter_wh: U63
    time_ms: Time


class SessionSettled(Struct):
    """The bill."""

    session: Hash
    pile: Name
    driver: PublicKey
    operator: Name
    home_operator: Name
    energy_wh: U63
    lines: Lines
    beans_wh: U63
    """Energy paid by electric beans; none until their contract comes."""
    occupancy_fen: U63
    total_fen: U63
    refund_fen: U63
    grid_fen: U63
    """What the operator owes the grid company for the energy."""
    owner_fen: U63
    """Share of a private pile's owner."""
    previous: Hash
    """The pile's previous session: the index pointer of charging records (P4). Zero for the first."""
    cut_fen: U63
    """What the lines and the occupancy fee come to beyond the deposit: not paid, the pile's operator bears it."""
    behaviour: Score
    """Score B of the driver (P4)."""


class SessionExpired(Struct):
    """Not started in time; the deposit is back and the connector free."""

    session: Hash
    pile: Name
    connector: U32


class SessionTimedOut(Struct):
    """Neither side ended it; readings may be claimed until then."""

    session: Hash
    pile: Name
    claim_until_ms: Time


OPENED: Event[SessionOpened] = event("session.opened")
STARTED: Event[SessionStarted] = event("session.started")
SETTLED: Event[SessionSettled] = event("session.settled")
EXPIRED: Event[SessionExpired] = event("session.expired")
TIMED_OUT: Event[SessionTimedOut] = event("session.timed-out")


class Money(Interface):
    """Escrow."""

    def hold(self, payer: PublicKey, operator: Name, amount_fen: U63, session: Hash, owner: Owner) -> Name: ...
    def release(self, session: Hash) -> None: ...
    def settle(
        self, session: Hash, total_fen: U63, grid: Name, grid_fen: U63, owner: Owner, owner_fen: U63
    ) -> None: ...


class Registry(Interface):
    """Piles and their connectors."""

    def take(self, pile: Name, connector: U32, session: Hash, driver: PublicKey, accept_unverified: bool) -> Pile: ...
    def begin(self, pile: Name, connector: U32, meter_wh: U63) -> None: ...
    def free(
        self, pile: Name, connector: U32, session: Hash, settled: bool, meter_wh: U63, register_open: bool
    ) -> Hash: ...


class Tariffs(Interface):
    """Prices."""

    def terms(self, region: Name, operator: Name) -> Terms: ...
    def find(self, region: Name, tariff_from_ms: Time) -> Tariff: ...


MONEY = Money(2)
REGISTRY = Registry(3)
TARIFF = Tariffs(4)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.DRIVER)
def open_(pile: Name, connector: U32, deposit_fen: U63, accept_unverified: bool) -> None:
    """A driver with enough reputation and money opens a session at a free connector that may serve."""
    session: Hash = call.id
    driver: PublicKey = call.caller
    require(reputation_suffices(driver), Code.REPUTATION_LOW)
    require(not has_unpaid_bill(driver), Code.UNPAID_BILL)
    taken = REGISTRY.take(pile, connector, session, driver, accept_unverified)
    terms = TARIFF.terms(taken.region, taken.operator)
    home = MONEY.hold(driver, taken.operator, deposit_fen, session, taken.owner)
    due_ms: Time = block.time_ms + SETTINGS.read().start_max_ms
    agreed = Agreed(
        driver=driver,
        pile=pile,
        pile_key=taken.public_key,
        pile_kind=taken.kind,
        connector=connector,
        power_w=taken.power_w,
        operator=taken.operator,
        home=home,
        region=taken.region,
        tariff_from_ms=terms.tariff_from_ms,
        fee=terms.fee,
        owner=taken.owner,
        owner_share_ppm=taken.owner_share_ppm,
        deposit_fen=deposit_fen,
        opened_ms=block.time_ms,
    )
    SESSIONS[session] = Session(State.OPEN, agreed, due_ms)
    schedule(due_ms, session, expire, session)
    emit(OPENED, SessionOpened(session, pile, connector, driver, deposit_fen, due_ms))


@method(Role.PILE, device=True)
def start(session: Hash, counter: U63, time_ms: Time, meter_wh: U63) -> None:
    """The pile begins, within the start limit, with its register where the last session ended."""
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    agreed = record.agreed
    require(call.caller == agreed.pile_key, Code.DEVICE_WRONG)
    late = record.state == State.OPEN and block.time_ms >= record.due_ms
    require(not late and record.state != State.EXPIRED, Code.START_LATE)
    require(record.state == State.OPEN, Code.SESSION_STATE)
    limits = SETTINGS.read()
    off_ms = limits.clock_error_max_ms
    require(agreed.opened_ms - off_ms <= time_ms <= block.time_ms + off_ms, Code.TIME_IMPLAUSIBLE)
    REGISTRY.begin(agreed.pile, agreed.connector, meter_wh)
    due_ms: Time = block.time_ms + limits.time_out_ms
    cancel(record.due_ms, session)
    SESSIONS[session] = Session(State.CHARGING, agreed, due_ms, BorderReading(time_ms, meter_wh))
    schedule(due_ms, session, time_out, session)
    emit(STARTED, SessionStarted(session, agreed.pile, meter_wh, time_ms))


@method(Role.PILE, device=True)
def stop(
    session: Hash, counter: U63, borders: Readings, charging_ended_ms: Time, readings_count: U32, readings_root: Hash
) -> None:
    """The pile ends the session with its register at every tariff border and at the end; the bill is settled."""
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    agreed = record.agreed
    require(call.caller == agreed.pile_key, Code.DEVICE_WRONG)
    require(record.state == State.CHARGING or record.state == State.CLAIM, Code.SESSION_STATE)
    begin = record.begin or fail(Code.SESSION_STATE)
    end = borders[-1]
    latest_ms = block.time_ms + SETTINGS.read().clock_error_max_ms
    require(begin.time_ms <= charging_ended_ms <= end.time_ms <= latest_ms, Code.TIME_IMPLAUSIBLE)
    tariff = TARIFF.find(agreed.region, agreed.tariff_from_ms)
    periods = periods_of_stay(tariff, begin.time_ms, borders)
    check_registers(agreed, begin, borders)
    overstay_ms = end.time_ms - charging_ended_ms - agreed.fee.grace_ms
    occupancy_fen: U63 = max(overstay_ms, 0) // MINUTE_MS * agreed.fee.occupancy_fen_per_minute
    bill = bill_of(agreed, begin, borders, periods, occupancy_fen)
    behaviour = behaviour_score(overstay_ms, bill.energy_wh)
    cancel(record.due_ms, session)
    settle(session, record, bill, end, behaviour, readings_count, readings_root, tariff.grid, register_open=False)


@method(Role.DRIVER, Role.PILE, Role.OPERATOR)
def claim(session: Hash, signed: SignedReading) -> None:
    """Driver, pile or the pile's operator brings a signed reading of a session that timed out; the newest counts."""
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    agreed = record.agreed
    is_party = call.caller == agreed.driver or call.caller == agreed.pile_key or call.company == agreed.operator
    require(is_party, Code.NOT_PARTY)
    require(record.state == State.CLAIM, Code.SESSION_STATE)
    begin = record.begin or fail(Code.SESSION_STATE)
    reading = decode(Reading, signed.reading) or fail(Code.READING_FORGED)
    require(reading.session == session, Code.READING_MISMATCH)
    require(record.claim is None or reading.number > record.claim.number, Code.READING_MISMATCH)
    latest_ms = block.time_ms + SETTINGS.read().clock_error_max_ms
    require(begin.time_ms <= reading.time_ms <= latest_ms, Code.TIME_IMPLAUSIBLE)
    end = BorderReading(reading.time_ms, reading.meter_wh)
    check_registers(agreed, begin, [end])
    require(verify(agreed.pile_key, reading_digest(signed.reading), signed.signature), Code.READING_FORGED)
    record.claim = Claim(reading.number, end)
    SESSIONS[session] = record


# ── scheduled calls ───────────────────────────────────────────────────────────────────────────────────────────────────


@scheduled(gas=SCHEDULED_GAS)
def expire(session: Hash) -> None:
    """The schedule, when the start limit is over: everything goes back."""
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    agreed = record.agreed
    require(record.state == State.OPEN, Code.SESSION_STATE)
    MONEY.release(session)
    REGISTRY.free(agreed.pile, agreed.connector, session, False, 0, False)
    SESSIONS[session] = Session(State.EXPIRED, agreed, 0)
    emit(EXPIRED, SessionExpired(session, agreed.pile, agreed.connector))


@scheduled(gas=SCHEDULED_GAS)
def time_out(session: Hash) -> None:
    """The schedule, when nobody stopped a session: readings may be claimed now."""
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    require(record.state == State.CHARGING, Code.SESSION_STATE)
    record.state = State.CLAIM
    record.due_ms = block.time_ms + SETTINGS.read().claim_window_ms
    SESSIONS[session] = record
    schedule(record.due_ms, session, close, session)
    emit(TIMED_OUT, SessionTimedOut(session, record.agreed.pile, record.due_ms))


@scheduled(gas=SCHEDULED_GAS)
def close(session: Hash) -> None:
    """The schedule, when the claim window is over: billed up to the newest claimed reading, or not at all; all energy
    at the day's lowest price, in the driver's favour, for nobody brought the readings at the tariff borders.
    """
    record = SESSIONS.get(session) or fail(Code.SESSION_UNKNOWN)
    agreed = record.agreed
    require(record.state == State.CLAIM, Code.SESSION_STATE)
    begin = record.begin or fail(Code.SESSION_STATE)
    end = record.claim.reading if record.claim is not None else begin
    tariff = TARIFF.find(agreed.region, agreed.tariff_from_ms)
    bill = bill_of(agreed, begin, [end], [cheapest_period(tariff)], 0)
    settle(session, record, bill, end, 0, 0, NO_HASH, tariff.grid, register_open=True)


# ── parts of methods ──────────────────────────────────────────────────────────────────────────────────────────────────


def check_registers(agreed: Agreed, begin: BorderReading, readings: Readings) -> None:
    """Registers never run backwards, nor faster than the pile can deliver."""
    before_wh = begin.meter_wh
    for reading in readings:
        require(before_wh <= reading.meter_wh, Code.REGISTER_BACKWARDS)
        before_wh = reading.meter_wh
    stay_ms = readings[-1].time_ms - begin.time_ms
    most = ENERGY_FACTOR * agreed.power_w * stay_ms
    require((before_wh - begin.meter_wh) * WMS_PER_WH <= most, Code.ENERGY_IMPLAUSIBLE)


def settle(
    session: Hash,
    record: Session,
    bill: Bill,
    end: BorderReading,
    behaviour: Score,
    readings_count: U32,
    readings_root: Hash,
    grid: Name,
    register_open: bool,
) -> None:
    """Post the bill, free the connector, write the record, tell the world."""
    agreed = record.agreed
    MONEY.settle(session, bill.total_fen, grid, bill.grid_fen, agreed.owner, bill.owner_fen)
    previous = REGISTRY.free(agreed.pile, agreed.connector, session, True, end.meter_wh, register_open)
    record.state = State.SETTLED
    record.due_ms = 0
    record.closing = Closing(
        end, bill.energy_wh, bill.total_fen, bill.refund_fen, behaviour, readings_count, readings_root, previous
    )
    SESSIONS[session] = record
    settled = SessionSettled(
        session=session,
        pile=agreed.pile,
        driver=agreed.driver,
        operator=agreed.operator,
        home_operator=agreed.home,
        energy_wh=bill.energy_wh,
        lines=bill.lines,
        beans_wh=beans_wh(agreed.driver, agreed.operator, bill.energy_wh),
        occupancy_fen=bill.occupancy_fen,
        total_fen=bill.total_fen,
        refund_fen=bill.refund_fen,
        grid_fen=bill.grid_fen,
        owner_fen=bill.owner_fen,
        previous=previous,
        cut_fen=bill.cut_fen,
        behaviour=behaviour,
    )
    emit(SETTLED, settled)


# ── the tariff of a stay ──────────────────────────────────────────────────────────────────────────────────────────────


def periods_of_stay(tariff: Tariff, begin_ms: Time, readings: Readings) -> Periods:
    """The period by which each line of the bill is priced, one per reading. The readings must stand exactly at the
    tariff borders, which are the times strictly within the stay at which prices change, and at its end.
    """
    period = period_at(tariff, begin_ms)
    changes = price_changes(tariff)
    end_ms = readings[-1].time_ms
    offset_ms = tariff.utc_offset_minutes * MINUTE_MS
    midnight_ms: I64 = (begin_ms + offset_ms) // DAY_MS * DAY_MS - offset_ms
    found: Periods = []
    while midnight_ms < end_ms and len(changes) > 0:
        for change in changes:
            at_ms = midnight_ms + change.begin_minute * MINUTE_MS
            if begin_ms < at_ms < end_ms:  # the last reading, at the end, is never taken for one of these
                require(readings[len(found)].time_ms == at_ms, Code.BORDER_MISMATCH)
                found.append(period)
                period = change
        midnight_ms += DAY_MS
    require(len(found) == len(readings) - 1, Code.BORDER_MISMATCH)
    found.append(period)
    return found


def price_changes(tariff: Tariff) -> Periods:
    """Periods that begin with other prices than the one before; the first too, if the day's last ones differ."""
    changes: Periods = []
    before = tariff.periods[-1]
    for period in tariff.periods:
        same = period.energy_price_e4 == before.energy_price_e4
        if not (same and period.purchase_price_e4 == before.purchase_price_e4):
            changes.append(period)
        before = period
    return changes


def period_at(tariff: Tariff, time_ms: Time) -> Period:
    """The period that a time lies in; a border belongs to the period that it begins."""
    minute = (time_ms + tariff.utc_offset_minutes * MINUTE_MS) % DAY_MS // MINUTE_MS
    found = tariff.periods[0]
    for period in tariff.periods:
        if period.begin_minute > minute:
            break
        found = period
    return found


def cheapest_period(tariff: Tariff) -> Period:
    """The day's lowest energy price, and of those with it the lowest purchase price."""
    found = tariff.periods[0]
    for period in tariff.periods:
        cheaper = period.energy_price_e4 < found.energy_price_e4
        same = period.energy_price_e4 == found.energy_price_e4
        if cheaper or (same and period.purchase_price_e4 < found.purchase_price_e4):
            found = period
    return found


# ── the bill ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def bill_of(agreed: Agreed, begin: BorderReading, readings: Readings, periods: Periods, occupancy_fen: U63) -> Bill:
    """The bill of a stay, with a line up to each reading. Each line is rounded once. The total is capped at the
    deposit: stopping there is the pile's job, and what the lines and the occupancy fee come to beyond it, `cut_fen`,
    is the loss of the pile's operator, first of all out of its service fee.
    """
    service_price_e4: PriceE4 = agreed.fee.service_price_e4
    lines: Lines = []
    energy_fen = 0
    service_fen = 0
    purchase_fen = 0
    before = begin
    for reading in readings:
        period = periods[len(lines)]
        energy_wh: U63 = reading.meter_wh - before.meter_wh
        line = BillLine(
            before.time_ms,
            reading.time_ms,
            energy_wh,
            period.energy_price_e4,
            service_price_e4,
            round_half_up(energy_wh * period.energy_price_e4, WH_E4_PER_FEN),
            round_half_up(energy_wh * service_price_e4, WH_E4_PER_FEN),
        )
        lines.append(line)
        energy_fen += line.energy_fen
        service_fen += line.service_fen
        purchase_fen += round_half_up(energy_wh * period.purchase_price_e4, WH_E4_PER_FEN)
        before = reading
    full_fen = energy_fen + service_fen + occupancy_fen
    cut_fen = max(full_fen - agreed.deposit_fen, 0)
    total_fen = full_fen - cut_fen
    owner_fen = max(service_fen - cut_fen, 0) * agreed.owner_share_ppm // PPM
    return Bill(
        lines=lines,
        energy_wh=before.meter_wh - begin.meter_wh,
        occupancy_fen=occupancy_fen,
        cut_fen=cut_fen,
        total_fen=total_fen,
        refund_fen=agreed.deposit_fen - total_fen,
        grid_fen=min(purchase_fen, agreed.deposit_fen - owner_fen),
        owner_fen=owner_fen,
    )


def behaviour_score(overstay_ms: I64, energy_wh: U63) -> Score:
    """Score B of the driver (P4): +1 charged and left in the grace time, −1 blocked the connector for an hour beyond
    it, else 0.
    """
    if overstay_ms > OVERSTAY_MS_MAX:
        return -1
    return 1 if overstay_ms <= 0 and energy_wh > 0 else 0


# ── questions to contracts that do not exist yet ──────────────────────────────────────────────────────────────────────

# Each becomes a call when its contract comes; they are asked already where they will have to be.


def reputation_suffices(driver: PublicKey) -> bool:
    """Reputation contract: whether the driver's R is at or above the threshold. Everybody's is."""
    return True


def has_unpaid_bill(driver: PublicKey) -> bool:
    """Dispute contract: whether the driver owes on an earlier bill. The deposit covers every bill, so nobody does."""
    return False


def beans_wh(driver: PublicKey, operator: Name, energy_wh: U63) -> U63:
    """Bean contract: energy that the driver's electric beans of this operator pay. There are none."""
    return 0
