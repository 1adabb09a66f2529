"""Who does what on the demo day: stations shared out among operators, cars sent to piles, drivers with wallets, and
wishes made bad on purpose.

Everything follows from the city and the seed. The tables of sessions and stations come from different cities, so which
car goes where is this module's rule and nothing else's: stations draw an operator by chance, evenly; from them a pool
of stations is drawn by chance, weighted by their piles, until its piles suffice for the busiest hour; each car draws a
pile of the pool, evenly. A car that finds its pile taken goes to the nearest free pile of the pool (see `drivers`).
"""

import random
from collections.abc import Sequence
from enum import StrEnum
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from ledger.units import energy_cost_fen
from node.demo.city import Car, City, Station
from node.testnet.consortium import Driver, Pile

POOL_MARGIN_PERCENT = 8
"""Piles beyond the busiest hour's cars."""
POOL_PILES_PER_STATION_MAX = 8
"""Spreads the pool over more of the city than its largest stations."""
FAST_W = 60_000
SLOW_W = 7_000
DEPOSIT_PRICE_E4 = 25_000
"""Escrow per kWh asked for: above any tariff and service fee of the demo, so that no bill is cut off at the deposit."""
DEPOSIT_BASE_FEN = 10_000
"""Escrow beyond the energy: what a long stay at the pile may cost."""
WALLET_SPARE_FEN = 2_000
BAD_WISHES_EACH = 2
HUGE_DEPOSIT_FEN = 1_000_000_000_000
"""Ten billion yuan: more headroom than any operator's collateral gives."""


class Refusal(StrEnum):
    """Codes with which wishes that are made bad on purpose are refused."""

    OVERSPENT = "overspent"
    NO_HEADROOM = "no-headroom"
    PILE_UNKNOWN = "pile-unknown"
    WALLET_UNKNOWN = "wallet-unknown"


class Wish(Struct, frozen=True):
    """A driver who will try to open a session."""

    driver: str
    home: str
    """Operator that keeps the driver's wallet and through whose node the driver speaks."""
    pile: str
    """Where the car goes first."""
    car: Car
    deposit_fen: int
    refusal: Refusal | None = None
    """What it must be refused with, if it was made bad on purpose."""


class DemoPlan(Struct, frozen=True):
    """The day."""

    piles: tuple[Pile, ...]
    """All registered piles."""
    pool: tuple[str, ...]
    """Names of those that are used today, and therefore run."""
    drivers: tuple[Driver, ...]
    wishes: tuple[Wish, ...]
    """By time of arrival."""
    stations_without_piles: int
    """Stations of the table that own no pile, and so cannot be registered."""


def make_plan(city: City, operators: Sequence[str], seed: int) -> DemoPlan:
    """The day's plan. The same city, operators and seed give the same plan."""
    rng = random.Random(f"plan {seed}")
    usable = [station for station in city.stations if station.fast + station.slow]
    owner = {station.name: rng.choice(operators) for station in usable}
    pool = _draw_pool(rng, usable, owner, busiest(city.cars) * (100 + POOL_MARGIN_PERCENT) // 100 + 1)
    used = {pile.name.rpartition("-")[0] for pile in pool}
    # Every station is on the map: those outside of the pool with their first pile.
    others = [
        pile
        for station in usable
        for pile in _piles_of(station, owner[station.name], 1)
        if station_key(station) not in used
    ]
    wishes, drivers = [], []
    for number, car in enumerate(city.cars, 1):
        wish, driver = _wish(f"driver-{number:04}", rng.choice(operators), rng.choice(pool).name, car)
        wishes.append(wish)
        drivers.append(driver)
    for wish, account in _bad_wishes(rng, city.cars, operators, pool):
        wishes.append(wish)
        drivers += [account] if account else []
    return DemoPlan(
        piles=tuple(sorted([*pool, *others], key=lambda pile: pile.name)),
        pool=tuple(sorted(pile.name for pile in pool)),
        drivers=tuple(drivers),
        wishes=tuple(sorted(wishes, key=lambda wish: (wish.car.arrival_ms, wish.driver))),
        stations_without_piles=len(city.stations) - len(usable),
    )


def busiest(cars: Sequence[Car]) -> int:
    """Most cars that stay at a time."""
    steps = [(car.arrival_ms, 1) for car in cars] + [(car.arrival_ms + car.stay_ms, -1) for car in cars]
    return max(accumulate(step for _, step in sorted(steps)), default=0)


def station_key(station: Station) -> str:
    """Name of a station on the chain; its piles' names begin with it."""
    return f"S{station.name}"


def deposit_for(energy_wh: int) -> int:
    """Escrow (fen) of a session that wants so much: more than any bill of it."""
    return DEPOSIT_BASE_FEN + energy_cost_fen(energy_wh, DEPOSIT_PRICE_E4)


def _draw_pool(rng: random.Random, stations: Sequence[Station], owner: dict[str, str], piles_needed: int) -> list[Pile]:
    # Weighted drawing without putting back (Efraimidis and Spirakis 2006): the largest of u^(1/w) come first.
    drawn = sorted(stations, key=lambda station: rng.random() ** (1 / (station.fast + station.slow)), reverse=True)
    pool: list[Pile] = []
    for station in drawn:
        if len(pool) >= piles_needed:
            break
        pool += _piles_of(station, owner[station.name], POOL_PILES_PER_STATION_MAX)
    return pool


def _piles_of(station: Station, operator: str, most: int) -> list[Pile]:
    """A station's piles, slow ones first: most cars of the tables are slow."""
    powers = [SLOW_W] * station.slow + [FAST_W] * station.fast
    return [
        Pile(f"{station_key(station)}-{number}", operator, station.latitude_e7, station.longitude_e7, power_w)
        for number, power_w in enumerate(powers[:most], 1)
    ]


def _wish(driver: str, home: str, pile: str, car: Car) -> tuple[Wish, Driver]:
    deposit_fen = deposit_for(car.energy_wh)
    return Wish(driver, home, pile, car, deposit_fen), Driver(driver, home, deposit_fen + WALLET_SPARE_FEN)


def _bad_wishes(
    rng: random.Random, cars: Sequence[Car], operators: Sequence[str], pool: Sequence[Pile]
) -> list[tuple[Wish, Driver | None]]:
    """Wishes that the contracts must refuse, each for its own reason."""
    made: list[tuple[Wish, Driver | None]] = []
    for number in range(1, BAD_WISHES_EACH + 1):
        for refusal in Refusal:
            name = f"{refusal.value}-{number}"
            wish, driver = _wish(name, rng.choice(operators), rng.choice(pool).name, rng.choice(cars))
            wallet_fen = driver.wallet_fen
            match refusal:
                case Refusal.OVERSPENT:
                    wallet_fen = wish.deposit_fen - 1
                case Refusal.NO_HEADROOM:
                    wallet_fen = HUGE_DEPOSIT_FEN
                    wish = replace(wish, deposit_fen=HUGE_DEPOSIT_FEN)
                case Refusal.PILE_UNKNOWN:
                    wish = replace(wish, pile=f"phantom-{number}")
            account = None if refusal is Refusal.WALLET_UNKNOWN else Driver(name, wish.home, wallet_fen)
            made.append((replace(wish, refusal=refusal), account))
    return made
