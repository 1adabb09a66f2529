"""The eight companies of the demonstration, and the genesis content of a consortium made of them.

Figures are documented defaults for trials; a real consortium writes its own.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct

from contracts.contract import Role
from contracts.genesis import AccountSetup, CompanySetup, Consortium, ConsortiumParameters, FeeSetup, PileSetup
from contracts.records.registry import MeterState, PileKind
from contracts.records.registry import Pile as PileRecord
from contracts.records.tariff import ServiceFee
from ledger.tariff import Period, Tariff
from node.library import library


class Company(Struct, frozen=True):
    """A company and what it does."""

    name: str
    """English: sorts the bookkeepers."""
    display: str
    """Chinese."""
    roles: tuple[str, ...]
    validator: bool = True


class Driver(Struct, frozen=True):
    """A driver's account."""

    name: str
    home: str
    """Operator that keeps the wallet."""
    wallet_fen: int


class Pile(Struct, frozen=True):
    """A registered pile."""

    name: str
    operator: str
    latitude_e7: int
    longitude_e7: int
    power_w: int


COMPANIES = (
    Company("SGCC", "国家电网", ("operator",)),
    Company("Teld", "特来电", ("operator",)),
    Company("Potevio", "普天新能源", ("operator",)),
    Company("StarCharge", "星星充电", ("operator",)),
    Company("CityGrid", "城市供电公司", ("grid",)),
    Company("EnergyBureau", "市能源局", ("regulator",)),
    Company("MetroLab", "计量检定院", ("lab",)),
    Company("PileCare", "桩护运维", ("maintenance",)),
)
"""In the order in which they vote when fewer than eight do: operators first."""


REGION = "city"
UTC_OFFSET_MINUTES = 480
VALLEY, FLAT, PEAK = (4_000, 3_000), (8_500, 6_500), (13_000, 10_000)
"""Energy price and purchase price, 0.0001 yuan per kWh."""
PERIODS = ((0, VALLEY), (7, FLAT), (10, PEAK), (12, FLAT), (14, PEAK), (19, FLAT), (23, VALLEY))
"""Time of use by hour of the day."""
SERVICE_PRICES_E4 = (4_500, 5_500, 5_000, 6_000)
"""Of the operators in turn; the regulator's cap is 8,000."""
OCCUPANCY_FEN_PER_MINUTE = 5
OCCUPANCY_GRACE_MS = 60 * 60_000
COLLATERAL_FEN = 100_000_000
"""A million yuan: ten times what all sessions of the demonstration can owe at a time."""
POOL_FEN = 10_000_000
MINUTE_MS = 60_000
STAY_MAX_MS = 24 * 60 * MINUTE_MS


def consortium_of(
    companies: Sequence[Company],
    piles: Sequence[Pile],
    drivers: Sequence[Driver],
    key_of: Callable[[str, str], bytes],
    speed: int,
) -> Consortium:
    """What the contracts begin with. `key_of(kind, name)` gives the public key of a company, driver or pile.

    Limits of real time in disguise (how late a record may come) grow with the speed of the chain clock.
    """
    operators = [company.name for company in companies if "operator" in company.roles]
    return Consortium(
        companies=tuple(
            CompanySetup(
                company.name,
                company.display,
                tuple(sorted(Role[role.upper()] for role in company.roles)),
                key_of("company", company.name),
                COLLATERAL_FEN,
                POOL_FEN,
            )
            for company in companies
        ),
        accounts=tuple(
            AccountSetup(key_of("driver", driver.name), driver.home, driver.wallet_fen) for driver in drivers
        ),
        piles=tuple(PileSetup(_record(pile, key_of("pile", pile.name)), (0,)) for pile in piles),
        tariffs=(_tariff(next(company.name for company in companies if "grid" in company.roles)),),
        fees=tuple(
            FeeSetup(
                operator,
                ServiceFee(
                    SERVICE_PRICES_E4[number % len(SERVICE_PRICES_E4)], OCCUPANCY_FEN_PER_MINUTE, OCCUPANCY_GRACE_MS
                ),
            )
            for number, operator in enumerate(operators)
        ),
        contracts=library(),
        parameters=ConsortiumParameters(
            # A stop takes its way: a minute of real time beyond the longest stay.
            session_time_out_ms=STAY_MAX_MS + MINUTE_MS * speed,
            clock_error_max_ms=3 * MINUTE_MS * speed,
        ),
    )


def _tariff(grid: str) -> Tariff:
    periods = tuple(Period(hour * 60, energy_e4, purchase_e4) for hour, (energy_e4, purchase_e4) in PERIODS)
    return Tariff(REGION, grid, 0, UTC_OFFSET_MINUTES, periods)


def _record(pile: Pile, public_key: bytes) -> PileRecord:
    return PileRecord(
        name=pile.name,
        operator=pile.operator,
        kind=PileKind.OPERATOR,
        owner=b"",
        owner_share_ppm=0,
        public_key=public_key,
        latitude_e7=pile.latitude_e7,
        longitude_e7=pile.longitude_e7,
        power_w=pile.power_w,
        connectors=1,
        region=REGION,
        meter_state=MeterState.VERIFIED,
    )
