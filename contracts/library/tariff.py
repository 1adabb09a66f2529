"""Contract 4, tariff: energy prices by region and time of use, service fees under the regulator's cap.

A tariff is published ahead of its time and replaces the one before for sessions that open after it; a session is
billed to its end by the tariff and fee in force when it opened, which its driver could know. Per region one tariff is
in force and one may wait. A region belongs to the grid company of its tariffs; the regulator gives it to another, and
a new region to its first.

A region's day is divided into periods with one energy price each, the same at every operator. Minutes are counted in
the region's own time, a fixed offset from UTC (China: 480, no daylight saving). Prices in 0.0001 yuan per kWh (`_e4`).
"""

from contracts.language import *

CONTRACT = Contract("tariff", Business.CHARGING, Branch.GOVERNANCE)

IDENTITY_NUMBER = 1
SESSION_NUMBER = 5
GOVERNANCE_NUMBER = 6

REGIONS_MAX = 500
"""Cities and prefectures of a large country: when a grid company leaves, all of them are looked through."""
DAY_MINUTES = 24 * 60
PERIODS_MAX = 24
"""Periods of a day: hourly prices."""
PRICE_E4_MAX = 1_000_000
"""100 yuan per kWh: a typing error, not a price, above it."""


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


PriceE4 = Annotated[int, Range(0, PRICE_E4_MAX)]


class Period(Struct):
    """From its minute of the day to the next period's."""

    begin_minute: Annotated[int, Range(0, DAY_MINUTES - 1)]
    energy_price_e4: PriceE4
    """What the driver pays for energy."""
    purchase_price_e4: PriceE4
    """What the operator owes the grid company for it: never more than the energy price."""


class Tariff(Struct):
    """Prices of a region from a time on."""

    region: Name
    grid: Name
    """The grid company that sells the energy."""
    effective_from_ms: Time
    utc_offset_minutes: Annotated[int, Range(-DAY_MINUTES, DAY_MINUTES)]
    periods: Annotated[List[Period], Size(1, PERIODS_MAX)]
    """Sorted by minute, the first at 0."""


class Plan(Struct):
    """Which tariffs of a region count. Key: the region."""

    current_from_ms: Time
    next_from_ms: Time
    """Equal to `current_from_ms` if none waits."""


class ServiceFee(Struct):
    """What an operator asks beside the energy. Key: the operator."""

    service_price_e4: PriceE4
    occupancy_fen_per_minute: U32
    """For a car that stays after charging ended, per full minute after the grace time."""
    grace_ms: U32


class Caps(Struct):
    """The regulator's upper limits."""

    service_price_e4_max: PriceE4
    occupancy_fen_per_minute_max: U32


class Settings(Struct):
    """From genesis; chain time."""

    notice_ms: U63
    """From a tariff's publication to its beginning, at least."""


PLANS: Table[Name, Plan] = table("p")
TARIFFS: Table[tuple[Name, Time], Tariff] = table("t")
"""Key: region and `effective_from_ms`. Kept for good: bills are checked against it."""
FEES: Table[Name, ServiceFee] = table("f")
CAPS: Cell[Caps] = cell("c")
SETTINGS: Cell[Settings] = cell("s")


# ── codes, events, other contracts ────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    TARIFF_MALFORMED = 1, "the tariff's periods do not form a day, or a purchase price is above its energy price"
    TARIFF_NOTICE = 2, "a tariff must be published earlier than this before it begins"
    REGION_UNKNOWN = 3, "the region has no tariff in force"
    PRICE_ABOVE_CAP = 4, "the price is above the regulator's cap"
    FEE_UNKNOWN = 5, "the operator has published no service fee"
    NOT_GRID_COMPANY = 6, "a grid company publishes tariffs in its own name only"
    REGION_OF_ANOTHER = 7, "the region's tariffs are another grid company's; the regulator gives regions away"
    GRID_COMPANY_UNKNOWN = 8, "the tariff names no grid company of the consortium"
    REGIONS_TOO_MANY = 9, "there are as many regions as decisions can walk through"
    GRID_COMPANY_NEEDED = 10, "the company has a region's tariffs; the regulator gives the region to another first"
    REGION_NAME_MALFORMED = 11, "a name must not hold control characters"


class TariffPublished(Struct):
    """A region will have these prices."""

    tariff: Tariff


class FeeSet(Struct):
    """An operator's fees from now on."""

    operator: Name
    fee: ServiceFee


class CapsSet(Struct):
    """The caps from now on."""

    caps: Caps


PUBLISHED: Event[TariffPublished] = event("tariff.published")
FEE_SET: Event[FeeSet] = event("tariff.fee-set")
CAPS_SET: Event[CapsSet] = event("tariff.caps-set")


class Terms(Struct):
    """What a session is billed by."""

    tariff_from_ms: Time
    fee: ServiceFee


class Identity(Interface):
    """Which company is what."""

    def has_role(self, company: Annotated[str, Size(0, 64)], role: Annotated[int, Range(1, 9)]) -> bool: ...


IDENTITY = Identity(IDENTITY_NUMBER)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.GRID, Role.REGULATOR)
def publish(tariff: Tariff) -> None:
    """A region's grid company announces its prices from a future time on, instead of what was announced before; the
    regulator does it for a new region or a new company.
    """
    require(is_printable(tariff.region), Code.REGION_NAME_MALFORMED)
    if IDENTITY.has_role(call.company, Role.REGULATOR):
        require(IDENTITY.has_role(tariff.grid, Role.GRID), Code.GRID_COMPANY_UNKNOWN)
    else:
        check_owner(tariff)
    require(is_well_formed(tariff), Code.TARIFF_MALFORMED)
    plan = PLANS.get(tariff.region)
    if plan is None:
        check_not_full()
    start_ms = tariff.effective_from_ms
    require(start_ms >= block.time_ms + SETTINGS.read().notice_ms, Code.TARIFF_NOTICE)
    PLANS[tariff.region] = Plan(start_ms if plan is None else in_force_from(plan), start_ms)
    TARIFFS[tariff.region, start_ms] = tariff
    emit(PUBLISHED, TariffPublished(tariff))


@method(Role.OPERATOR)
def set_fee(fee: ServiceFee) -> None:
    """An operator sets its service and occupancy fee under the caps, for sessions that open from now on."""
    caps = CAPS.get() or fail(Code.PRICE_ABOVE_CAP)
    require(fee.service_price_e4 <= caps.service_price_e4_max, Code.PRICE_ABOVE_CAP)
    require(fee.occupancy_fen_per_minute <= caps.occupancy_fen_per_minute_max, Code.PRICE_ABOVE_CAP)
    FEES[call.company] = fee
    emit(FEE_SET, FeeSet(call.company, fee))


@method(Role.REGULATOR)
def set_caps(caps: Caps) -> None:
    """The regulator sets the caps, for fees set from now on."""
    CAPS.write(caps)
    emit(CAPS_SET, CapsSet(caps))


@internal(SESSION_NUMBER)
def terms(region: Name, operator: Name) -> Terms:
    """What a session of this operator in this region is billed by if it opens now."""
    plan = PLANS.get(region) or fail(Code.REGION_UNKNOWN)
    from_ms = in_force_from(plan)
    require(from_ms <= block.time_ms, Code.REGION_UNKNOWN)
    fee = FEES.get(operator) or fail(Code.FEE_UNKNOWN)
    return Terms(from_ms, fee)


@internal(SESSION_NUMBER)
def find(region: Name, tariff_from_ms: Time) -> Tariff:
    """The tariff that a session opened under."""
    return TARIFFS.get(region, tariff_from_ms) or fail(Code.REGION_UNKNOWN)


@internal(GOVERNANCE_NUMBER)
def check_no_region(company: Name) -> None:
    """Whether a company may leave: sessions of its regions would owe energy to nobody."""
    for region, plan in PLANS.items(limit=REGIONS_MAX):
        require(find(region, in_force_from(plan)).grid != company, Code.GRID_COMPANY_NEEDED)
        require(find(region, plan.next_from_ms).grid != company, Code.GRID_COMPANY_NEEDED)


# ── parts of methods ──────────────────────────────────────────────────────────────────────────────────────────────────


def check_owner(tariff: Tariff) -> None:
    """Whether the sender publishes its own prices in a region whose tariffs, in force and waiting, are its own."""
    require(tariff.grid == call.company, Code.NOT_GRID_COMPANY)
    plan = PLANS.get(tariff.region) or fail(Code.REGION_OF_ANOTHER)
    require(find(tariff.region, in_force_from(plan)).grid == call.company, Code.REGION_OF_ANOTHER)
    require(find(tariff.region, plan.next_from_ms).grid == call.company, Code.REGION_OF_ANOTHER)


def check_not_full() -> None:
    """Whether one more region can be walked through."""
    regions = 0
    for _region, _plan in PLANS.items(limit=REGIONS_MAX):
        regions += 1
    require(regions < REGIONS_MAX, Code.REGIONS_TOO_MANY)


def is_well_formed(tariff: Tariff) -> bool:
    """Whether the periods form a day and none sells below its purchase price."""
    minute = -1
    for period in tariff.periods:
        if period.begin_minute <= minute or period.purchase_price_e4 > period.energy_price_e4:
            return False
        minute = period.begin_minute
    return tariff.periods[0].begin_minute == 0


def in_force_from(plan: Plan) -> Time:
    """`effective_from_ms` of the plan's tariff that is in force, or of its first one before that."""
    return plan.next_from_ms if plan.next_from_ms <= block.time_ms else plan.current_from_ms
