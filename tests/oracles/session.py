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
higher register. Amounts in fen, energy in Wh, times in ms of chain time; codes 5001… in `contracts.codes`.
"""

from msgspec.structs import replace

from contracts.contract import Business, Role
from contracts.host import Host
from contracts.numbers import MONEY, REGISTRY, SESSION, TARIFF
from contracts.records.registry import Pile
from contracts.records.session import SESSIONS, SETTINGS, Agreed, Claim, Closing, Session, Settings, State
from ledger.charging import (
    BorderReading,
    Reading,
    SessionExpired,
    SessionOpened,
    SessionSettled,
    SessionStarted,
    SessionTimedOut,
    SignedReading,
    StartArgs,
    StopArgs,
    reading_digest,
)
from ledger.codec import Wire, decode
from ledger.errors import OurError, PeerError
from ledger.hashing import ZERO_HASH
from ledger.tariff import Tariff, borders
from ledger.transaction import Branch, ExpiryClass
from ledger.units import U32, U63, Hash, Name
from tests.oracles.bill import Bill, behaviour_score, make_bill, make_coarse_bill
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail
from tests.oracles.money import HoldArgs, ReleaseArgs, SettleArgs
from tests.oracles.neutral import beans_wh, has_unpaid_bill, reputation_suffices
from tests.oracles.registry import BeginArgs, FreeArgs, TakeArgs
from tests.oracles.tariff import TariffArgs, Terms, TermsArgs

CONTRACT = Contract(SESSION, "session", Business.CHARGING, Branch.CHARGING)

SCHEDULED_GAS = 1_000_000
"""For expiring, timing out and closing: three times what the dearest of them takes."""
LINE_GAS = 1_500
"""Finding a tariff border and pricing a line of the bill."""
ENERGY_FACTOR = 2
"""Readings beyond twice what the pile's power allows are refused: no broken register is ever billed, and sums stay
within 64 bits.
"""
_WMS_PER_WH = 3_600_000


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events (start, stop: ledger.charging) ─────────────────────────────────────────────────────────


class OpenArgs(Wire):
    """`session.open`, sent by the driver."""

    pile: Name
    connector: U32
    deposit_fen: U63
    """Escrowed from the driver's wallet; the bill never exceeds it."""
    accept_unverified: bool
    """Set by a driver who agrees to a meter that no lab has verified."""


class ClaimArgs(Wire):
    """`session.claim`."""

    session: Hash
    signed: SignedReading


class SessionArgs(Wire):
    """The scheduled calls `expire`, `time_out` and `close`."""

    session: Hash


_OPENED = CONTRACT.event("session.opened", SessionOpened)
_STARTED = CONTRACT.event("session.started", SessionStarted)
_SETTLED = CONTRACT.event("session.settled", SessionSettled)
_EXPIRED = CONTRACT.event("session.expired", SessionExpired)
_TIMED_OUT = CONTRACT.event("session.timed-out", SessionTimedOut)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(OpenArgs, (Role.DRIVER,))
def open_(host: Host, args: OpenArgs) -> None:
    """A driver with enough reputation and money opens a session at a free connector that may serve."""
    session, driver = host.call_id, host.caller
    if not reputation_suffices(host, driver):
        fail(Code.REPUTATION_LOW)
    if has_unpaid_bill(host, driver):
        fail(Code.UNPAID_BILL)
    take = TakeArgs(args.pile, args.connector, session, driver, args.accept_unverified)
    pile: Pile = host.call(REGISTRY, "take", take)
    terms: Terms = host.call(TARIFF, "terms", TermsArgs(pile.region, pile.operator))
    home: str = host.call(MONEY, "hold", HoldArgs(driver, pile.operator, args.deposit_fen, session, pile.owner))
    due_ms = host.now_ms + _settings(host).start_max_ms
    agreed = Agreed(
        driver=driver,
        pile=pile.name,
        pile_key=pile.public_key,
        pile_kind=pile.kind,
        connector=args.connector,
        power_w=pile.power_w,
        operator=pile.operator,
        home=home,
        region=pile.region,
        tariff_from_ms=terms.tariff_from_ms,
        fee=terms.fee,
        owner=pile.owner,
        owner_share_ppm=pile.owner_share_ppm,
        deposit_fen=args.deposit_fen,
        opened_ms=host.now_ms,
    )
    host.put(SESSIONS, session, Session(State.OPEN, agreed, due_ms))
    host.schedule(due_ms, session, "expire", SessionArgs(session), SCHEDULED_GAS)
    host.emit(_OPENED, SessionOpened(session, pile.name, args.connector, driver, args.deposit_fen, due_ms))


@CONTRACT.method(StartArgs, (Role.PILE,), expiry_class=ExpiryClass.DEVICE)
def start(host: Host, args: StartArgs) -> None:
    """The pile begins, within the start limit, with its register where the last session ended."""
    record = _find(host, args.session)
    agreed = record.agreed
    if host.caller != agreed.pile_key:
        fail(Code.DEVICE_WRONG)
    if record.state is State.EXPIRED or (record.state is State.OPEN and host.now_ms >= record.due_ms):
        fail(Code.START_LATE)
    if record.state is not State.OPEN:
        fail(Code.SESSION_STATE)
    _check_time(host, agreed.opened_ms - _settings(host).clock_error_max_ms, args.time_ms)
    host.call(REGISTRY, "begin", BeginArgs(agreed.pile, agreed.connector, args.meter_wh))
    due_ms = host.now_ms + _settings(host).time_out_ms
    begin = BorderReading(args.time_ms, args.meter_wh)
    host.cancel(record.due_ms, args.session)
    host.put(SESSIONS, args.session, Session(State.CHARGING, agreed, due_ms, begin))
    host.schedule(due_ms, args.session, "time_out", SessionArgs(args.session), SCHEDULED_GAS)
    host.emit(_STARTED, SessionStarted(args.session, agreed.pile, args.meter_wh, args.time_ms))


@CONTRACT.method(StopArgs, (Role.PILE,), expiry_class=ExpiryClass.DEVICE)
def stop(host: Host, args: StopArgs) -> None:
    """The pile ends the session with its register at every tariff border and at the end; the bill is settled."""
    record = _find(host, args.session)
    agreed, begin = record.agreed, record.begin
    if host.caller != agreed.pile_key:
        fail(Code.DEVICE_WRONG)
    if begin is None or record.state not in (State.CHARGING, State.CLAIM):
        fail(Code.SESSION_STATE)
    end = args.borders[-1]
    _check_time(host, begin.time_ms, args.charging_ended_ms, end.time_ms)
    host.charge(LINE_GAS * len(args.borders))
    tariff = _tariff(host, agreed)
    if [reading.time_ms for reading in args.borders[:-1]] != borders(tariff, begin.time_ms, end.time_ms):
        fail(Code.BORDER_MISMATCH)
    _check_registers(host, agreed, (begin, *args.borders))
    bill = make_bill(
        tariff, agreed.fee, begin, args.borders, args.charging_ended_ms, agreed.deposit_fen, agreed.owner_share_ppm
    )
    score = behaviour_score(end.time_ms, args.charging_ended_ms, agreed.fee.grace_ms, bill.energy_wh)
    host.cancel(record.due_ms, args.session)
    closing = (args.readings_count, args.readings_root)
    _settle(host, args.session, record, bill, end, score, closing, tariff.grid, register_open=False)


@CONTRACT.method(ClaimArgs, (Role.DRIVER, Role.PILE, Role.OPERATOR))
def claim(host: Host, args: ClaimArgs) -> None:
    """Driver, pile or the pile's operator brings a signed reading of a session that timed out; the newest counts."""
    record = _find(host, args.session)
    agreed, begin = record.agreed, record.begin
    if host.company != agreed.operator and host.caller not in (agreed.driver, agreed.pile_key):
        fail(Code.NOT_PARTY)
    if begin is None or record.state is not State.CLAIM:
        fail(Code.SESSION_STATE)
    try:
        reading = decode(Reading, args.signed.reading)
    except PeerError:
        fail(Code.READING_FORGED)
    newest = record.claim.number if record.claim else -1
    if reading.session != args.session or reading.number <= newest:
        fail(Code.READING_MISMATCH)
    _check_time(host, begin.time_ms, reading.time_ms)
    end = BorderReading(reading.time_ms, reading.meter_wh)
    _check_registers(host, agreed, (begin, end))
    if not host.verify(agreed.pile_key, reading_digest(args.signed.reading), args.signed.signature):
        fail(Code.READING_FORGED)
    host.put(SESSIONS, args.session, replace(record, claim=Claim(reading.number, end)))


# ── scheduled calls ───────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.internal(SessionArgs)
def expire(host: Host, args: SessionArgs) -> None:
    """The schedule, when the start limit is over: everything goes back."""
    record = _find(host, args.session)
    agreed = record.agreed
    if record.state is not State.OPEN:
        fail(Code.SESSION_STATE)
    host.call(MONEY, "release", ReleaseArgs(args.session))
    host.call(REGISTRY, "free", FreeArgs(agreed.pile, agreed.connector, args.session, False, 0, False))
    host.put(SESSIONS, args.session, Session(State.EXPIRED, agreed, 0))
    host.emit(_EXPIRED, SessionExpired(args.session, agreed.pile, agreed.connector))


@CONTRACT.internal(SessionArgs)
def time_out(host: Host, args: SessionArgs) -> None:
    """The schedule, when nobody stopped a session: readings may be claimed now."""
    record = _find(host, args.session)
    if record.state is not State.CHARGING:
        fail(Code.SESSION_STATE)
    due_ms = host.now_ms + _settings(host).claim_window_ms
    host.put(SESSIONS, args.session, replace(record, state=State.CLAIM, due_ms=due_ms))
    host.schedule(due_ms, args.session, "close", SessionArgs(args.session), SCHEDULED_GAS)
    host.emit(_TIMED_OUT, SessionTimedOut(args.session, record.agreed.pile, due_ms))


@CONTRACT.internal(SessionArgs)
def close(host: Host, args: SessionArgs) -> None:
    """The schedule, when the claim window is over: billed up to the newest claimed reading, or not at all."""
    record = _find(host, args.session)
    agreed, begin = record.agreed, record.begin
    if begin is None or record.state is not State.CLAIM:
        fail(Code.SESSION_STATE)
    end = record.claim.reading if record.claim else begin
    tariff = _tariff(host, agreed)
    bill = make_coarse_bill(tariff, agreed.fee, begin, end, agreed.deposit_fen, agreed.owner_share_ppm)
    _settle(host, args.session, record, bill, end, 0, (0, ZERO_HASH), tariff.grid, register_open=True)


# ── parts of methods ──────────────────────────────────────────────────────────────────────────────────────────────────


def _check_time(host: Host, *times_ms: int) -> None:
    """Times of a device never run backwards, nor further ahead of the chain than its clock may be off."""
    if list(times_ms) != sorted(times_ms) or times_ms[-1] > host.now_ms + _settings(host).clock_error_max_ms:
        fail(Code.TIME_IMPLAUSIBLE)


def _check_registers(host: Host, agreed: Agreed, readings: tuple[BorderReading, ...]) -> None:
    """Registers never run backwards, nor faster than the pile can deliver."""
    meters = [reading.meter_wh for reading in readings]
    if meters != sorted(meters):
        fail(Code.REGISTER_BACKWARDS)
    stay_ms = readings[-1].time_ms - readings[0].time_ms
    if (meters[-1] - meters[0]) * _WMS_PER_WH > ENERGY_FACTOR * agreed.power_w * stay_ms:
        fail(Code.ENERGY_IMPLAUSIBLE)


def _settle(
    host: Host,
    session: bytes,
    record: Session,
    bill: Bill,
    end: BorderReading,
    behaviour: int,
    readings: tuple[int, bytes],
    grid: str,
    *,
    register_open: bool,
) -> None:
    """Post the bill, free the connector, write the record, tell the world."""
    agreed = record.agreed
    settle = SettleArgs(session, bill.total_fen, grid, bill.grid_fen, agreed.owner, bill.owner_fen)
    host.call(MONEY, "settle", settle)
    free = FreeArgs(agreed.pile, agreed.connector, session, True, end.meter_wh, register_open)
    previous: bytes = host.call(REGISTRY, "free", free)
    closing = Closing(end, bill.energy_wh, bill.total_fen, bill.refund_fen, behaviour, *readings, previous)
    host.put(SESSIONS, session, replace(record, state=State.SETTLED, due_ms=0, closing=closing))
    settled = SessionSettled(
        session=session,
        pile=agreed.pile,
        driver=agreed.driver,
        operator=agreed.operator,
        home_operator=agreed.home,
        energy_wh=bill.energy_wh,
        lines=bill.lines,
        beans_wh=beans_wh(host, agreed.driver, agreed.operator, bill.energy_wh),
        occupancy_fen=bill.occupancy_fen,
        total_fen=bill.total_fen,
        refund_fen=bill.refund_fen,
        grid_fen=bill.grid_fen,
        owner_fen=bill.owner_fen,
        previous=previous,
        cut_fen=bill.cut_fen,
        behaviour=behaviour,
    )
    host.emit(_SETTLED, settled)


def _find(host: Host, session: bytes) -> Session:
    record = host.get(SESSIONS, session)
    if record is None:
        fail(Code.SESSION_UNKNOWN)
    return record


def _settings(host: Host) -> Settings:
    settings = host.get(SETTINGS)
    if settings is None:
        raise OurError("settings-missing", "the session contract has no settings in this state")
    return settings


def _tariff(host: Host, agreed: Agreed) -> Tariff:
    tariff: Tariff = host.call(TARIFF, "find", TariffArgs(agreed.region, agreed.tariff_from_ms))
    return tariff
