"""The demo's city: charging stations and the cars that come on one day, from tables of real data or made up.

Tables are CSV files with the columns of `STATION_COLUMNS` and `SESSION_COLUMNS`. A row that cannot be right is an error
that names file, line, column, value and expectation; nothing is guessed or skipped. Without files the city is
synthetic: seeded, and said to be so.
"""

import csv
import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from ledger.errors import ClientError

T = TypeVar("T")

STATION_COLUMNS = ("station_id", "latitude", "longitude", "fast", "slow", "count")
SESSION_COLUMNS = ("session_id", "station_id", "arrival", "departure", "energy_kwh", "max_power_kw")
ROWS_MAX = 100_000
"""Of either table: a demo day of more is a mistaken file."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STAY_MAX_MS = DAY_MS
"""Longer stays end after a day: cars that are left at a pile for weeks would keep the demo day from ending."""

CAR_KW_MIN = Decimal("0.001")
"""A watt: a car without power would charge for ever."""

SYNTHETIC_STATIONS = 1_706
SYNTHETIC_CARS = 954
SYNTHETIC_POWER_W = 6_600
CHARGING_MINUTES_BY_HOUR = {
    7: 30.2, 8: 42.3, 9: 22.2, 10: 38.3, 11: 36.9, 12: 24.6, 13: 32.8, 14: 23.8, 15: 30.0,
    16: 33.6, 17: 33.4, 18: 30.4, 19: 37.3, 20: 26.7, 21: 25.4, 22: 38.1, 23: 16.7,
}  # fmt: skip
"""Expected charging minutes per hour of the dispatch paper's table 1: how a synthetic day's arrivals are spread."""


class Station(Struct, frozen=True):
    """A charging station."""

    name: str
    latitude_e7: int
    longitude_e7: int
    fast: int
    """Fast piles."""
    slow: int
    """Slow piles."""


class Car(Struct, frozen=True):
    """One wish to charge: a car comes at a time of day, stays, and would like so much energy."""

    name: str
    arrival_ms: int
    """After midnight of the demo day."""
    stay_ms: int
    energy_wh: int
    """Asked for. What the power cannot deliver within the stay is not delivered."""
    power_w: int
    """The car's own limit."""


class City(Struct, frozen=True):
    """Stations, and the cars of one day by time of arrival."""

    stations: tuple[Station, ...]
    cars: tuple[Car, ...]
    origin: str
    """Where it comes from, in words for the summary."""


def load_city(stations: Path | None, sessions: Path | None, seed: int, sample: int | None = None) -> City:
    """The city of these tables; whatever has no table is synthetic. `sample` keeps so many cars, drawn by the seed.

    Raises ClientError `city-unreadable` or `city-row`.
    """
    places = read_stations(stations) if stations else synthetic_stations(seed)
    cars = read_cars(sessions) if sessions else synthetic_cars(seed)
    if sample is not None and sample < len(cars):
        cars = random.Random(seed).sample(cars, sample)
    origin = "; ".join(
        f"{what}: {f'{path.name}' if path else f'synthetic, seed {seed}'}"
        for what, path in (("stations", stations), ("sessions", sessions))
    )
    return City(tuple(places), tuple(sorted(cars, key=lambda car: (car.arrival_ms, car.name))), origin)


def _is_id(text: str) -> bool:
    """Whether a text can stand in the name of a pile, and so in its MQTT topics."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,40}", text) is not None


class _Row:
    """A row of a table, whose cells are taken with a check."""

    def __init__(self, path: Path, line: int, cells: dict[str, str]) -> None:
        self._where = f"{path}:{line}"
        self._cells = cells

    def wrong(self, column: str, expected: str) -> ClientError:
        """The error for a cell of this row."""
        return ClientError("city-row", f"{self._where}: {column} = {self._cells[column]!r}: expected {expected}")

    def take(self, column: str, read: Callable[[str], T], good: Callable[[T], bool], expected: str) -> T:
        """The cell's value; raises `wrong` if it cannot be read or is not good."""
        try:
            value = read(self._cells[column])
            fits = good(value)
        except (ValueError, ArithmeticError) as error:  # a Decimal may be NaN, or too large for any arithmetic
            raise self.wrong(column, expected) from error
        if not fits:
            raise self.wrong(column, expected)
        return value


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[_Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            missing = [column for column in columns if column not in header]
            if missing:
                raise ClientError("city-row", f"{path}:1: the header has no {missing[0]}: expected {','.join(columns)}")
            for cells in reader:
                if reader.line_num > ROWS_MAX:
                    raise ClientError("city-row", f"{path}:{reader.line_num}: expected at most {ROWS_MAX} lines")
                if len(cells) != len(header):
                    message = f"{path}:{reader.line_num}: {len(cells)} cells: expected {len(header)}, as in the header"
                    raise ClientError("city-row", message)
                yield _Row(path, reader.line_num, dict(zip(header, cells, strict=True)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClientError("city-unreadable", f"{path}: {error}") from error


def read_stations(path: Path) -> list[Station]:
    """Stations of a table. Raises ClientError `city-unreadable` or `city-row`."""
    stations: dict[str, Station] = {}
    for row in _rows(path, STATION_COLUMNS):
        name = row.take(
            "station_id", str, lambda text: _is_id(text) and text not in stations, "a new name of A-Z a-z 0-9 - _ ."
        )
        latitude = row.take("latitude", Decimal, lambda degrees: abs(degrees) <= 90, "degrees from -90 to 90")
        longitude = row.take("longitude", Decimal, lambda degrees: abs(degrees) <= 180, "degrees from -180 to 180")
        fast, slow, count = (
            row.take(column, int, lambda number: 0 <= number <= 10_000, "a number of piles from 0 to 10000")
            for column in ("fast", "slow", "count")
        )
        if count != fast + slow:
            raise row.wrong("count", f"fast + slow = {fast + slow}")
        stations[name] = Station(name, int(latitude * 10**7), int(longitude * 10**7), fast, slow)
    if not any(station.fast + station.slow for station in stations.values()):
        raise ClientError("city-row", f"{path}: expected a station with a pile")
    return list(stations.values())


def read_cars(path: Path) -> list[Car]:
    """Sessions of a table, each at its own time of day. Raises ClientError `city-unreadable` or `city-row`."""
    cars: dict[str, Car] = {}
    moment = "a local time like 2019-03-01T06:20:00"
    for row in _rows(path, SESSION_COLUMNS):
        name = row.take("session_id", str, lambda text: bool(text) and text not in cars, "a new name")
        arrival = row.take("arrival", datetime.fromisoformat, lambda time: time.tzinfo is None, moment)
        departure = row.take("departure", datetime.fromisoformat, lambda time: time.tzinfo is None, moment)
        if departure <= arrival:
            raise row.wrong("departure", f"a time after the arrival at {arrival.isoformat()}")
        energy = row.take("energy_kwh", Decimal, lambda kwh: 0 < kwh <= 1000, "kWh above 0, up to 1000")
        power = row.take("max_power_kw", Decimal, lambda kw: CAR_KW_MIN <= kw <= 1000, "kW above 0, from 0.001 to 1000")
        midnight = arrival.replace(hour=0, minute=0, second=0, microsecond=0)
        cars[name] = Car(
            name,
            arrival_ms=(arrival - midnight) // timedelta(milliseconds=1),
            stay_ms=min((departure - arrival) // timedelta(milliseconds=1), STAY_MAX_MS),
            energy_wh=max(1, int(energy * 1000)),
            power_w=int(power * 1000),
        )
    if not cars:
        raise ClientError("city-row", f"{path}: expected at least one session")
    return list(cars.values())


def synthetic_stations(seed: int) -> list[Station]:
    """Made-up stations: twelve districts of different size around a bay, most stations small, a few large."""
    rng = random.Random(f"stations {seed}")
    districts = [(rng.uniform(22.48, 22.80), rng.uniform(113.80, 114.45), rng.uniform(0.01, 0.04)) for _ in range(12)]
    weights = [1 / (rank + 1) for rank in range(len(districts))]
    stations = []
    for number in range(1, SYNTHETIC_STATIONS + 1):
        latitude, longitude, spread = rng.choices(districts, weights)[0]
        piles = min(200, max(1, round(rng.lognormvariate(2.1, 0.9))))
        fast = sum(rng.random() < 0.12 for _ in range(piles))
        stations.append(
            Station(
                str(number),
                round(rng.gauss(latitude, spread) * 10**7),
                round(rng.gauss(longitude, spread) * 10**7),
                fast,
                piles - fast,
            )
        )
    return stations


def synthetic_cars(seed: int) -> list[Car]:
    """Made-up cars: arrivals spread as the paper's charging minutes, stays of some hours, energies about 9 kWh."""
    rng = random.Random(f"cars {seed}")
    hours = rng.choices(list(CHARGING_MINUTES_BY_HOUR), list(CHARGING_MINUTES_BY_HOUR.values()), k=SYNTHETIC_CARS)
    cars = []
    for number, hour in enumerate(hours, 1):
        energy_wh = min(58_000, max(500, round(rng.lognormvariate(8.9, 0.7))))
        charging_ms = energy_wh * HOUR_MS // SYNTHETIC_POWER_W
        lingering_ms = round(rng.expovariate(1 / (3 * HOUR_MS)))
        # One car in thirty asks for more than its stay can hold, as real ones do.
        stay_ms = charging_ms // 2 if rng.random() < 1 / 30 else charging_ms + lingering_ms
        arrival_ms = hour * HOUR_MS + rng.randrange(12) * 300_000
        cars.append(
            Car(f"car-{number:04}", arrival_ms, max(300_000, min(stay_ms, STAY_MAX_MS)), energy_wh, SYNTHETIC_POWER_W)
        )
    return cars
