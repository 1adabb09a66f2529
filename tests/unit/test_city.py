"""The demo's city: tables, their errors, the synthetic city, and the day's plan."""

from pathlib import Path

import pytest

from ledger.errors import ClientError
from node.demo.city import (
    DAY_MS,
    HOUR_MS,
    SESSION_COLUMNS,
    STATION_COLUMNS,
    City,
    load_city,
    read_cars,
    read_stations,
    synthetic_cars,
    synthetic_stations,
)
from node.demo.plan import Refusal, busiest, make_plan, station_key

OPERATORS = ("SGCC", "Teld", "Potevio", "StarCharge")
STATION = "7,22.5,114.0,1,2,3"
SESSION = "s1,CA-1,2019-03-01T06:20:00,2019-03-01T07:40:00,4.216,6.6"


def table(path: Path, columns: tuple[str, ...], *rows: str) -> Path:
    """Write a table."""
    path.write_text("\n".join([",".join(columns), *rows]) + "\n", encoding="utf-8")
    return path


def test_F61_tables_are_read_with_their_units(tmp_path):
    """Degrees become 1e-7 degrees, kWh become Wh, kW become W, and a stay is capped at a day."""
    station = read_stations(table(tmp_path / "stations.csv", STATION_COLUMNS, STATION))[0]
    assert (station.latitude_e7, station.longitude_e7, station.fast, station.slow) == (225_000_000, 1_140_000_000, 1, 2)
    long_stay = "s2,CA-1,2019-03-01T06:20:00,2019-03-09T07:40:00,58.039,6.6"
    first, second = read_cars(table(tmp_path / "sessions.csv", SESSION_COLUMNS, SESSION, long_stay))
    assert (first.arrival_ms, first.stay_ms, first.energy_wh, first.power_w) == (22_800_000, 4_800_000, 4216, 6600)
    assert second.stay_ms == DAY_MS


@pytest.mark.parametrize(
    ("row", "column", "expected"),
    [
        ("s1,CA-1,yesterday,2019-03-01T07:40:00,4.2,6.6", "arrival", "a local time"),
        ("s1,CA-1,2019-03-01T06:20:00+01:00,2019-03-01T07:40:00,4.2,6.6", "arrival", "a local time"),
        ("s1,CA-1,2019-03-01T07:40:00,2019-03-01T07:40:00,4.2,6.6", "departure", "a time after the arrival"),
        ("s1,CA-1,2019-03-01T06:20:00,2019-03-01T07:40:00,nan,6.6", "energy_kwh", "kWh above 0"),
        ("s1,CA-1,2019-03-01T06:20:00,2019-03-01T07:40:00,-1,6.6", "energy_kwh", "kWh above 0"),
        ("s1,CA-1,2019-03-01T06:20:00,2019-03-01T07:40:00,4.2,much", "max_power_kw", "kW above 0"),
        (",CA-1,2019-03-01T06:20:00,2019-03-01T07:40:00,4.2,6.6", "session_id", "a new name"),
    ],
)
def test_F61_a_bad_session_is_named_with_file_line_column_value_and_expectation(tmp_path, row, column, expected):
    """The second row is bad, so line 3 of the file."""
    path = table(tmp_path / "sessions.csv", SESSION_COLUMNS, SESSION.replace("s1", "s0"), row)
    with pytest.raises(ClientError) as caught:
        read_cars(path)
    assert caught.value.code == "city-row"
    value = row.split(",")[SESSION_COLUMNS.index(column)]
    assert caught.value.message.startswith(f"{path}:3: {column} = {value!r}: expected {expected}")


@pytest.mark.parametrize(
    ("row", "column"),
    [
        ("7,95,114.0,1,2,3", "latitude"),
        ("7,22.5,abc,1,2,3", "longitude"),
        ("7,22.5,114.0,-1,2,1", "fast"),
        ("7,22.5,114.0,1,2,4", "count"),
        ("7/#,22.5,114.0,1,2,3", "station_id"),
    ],
)
def test_F61_a_bad_station_is_named(tmp_path, row, column):
    """Names of stations become parts of MQTT topics, so they may hold no wildcard."""
    with pytest.raises(ClientError, match=rf"stations.csv:2: {column} = "):
        read_stations(table(tmp_path / "stations.csv", STATION_COLUMNS, row))


def test_F61_a_table_without_a_column_or_with_a_short_row_is_refused(tmp_path):
    """The header names what is missing; a row of other length is never padded."""
    with pytest.raises(ClientError, match="the header has no max_power_kw"):
        read_cars(table(tmp_path / "sessions.csv", SESSION_COLUMNS[:-1], SESSION.rpartition(",")[0]))
    with pytest.raises(ClientError, match="5 cells: expected 6"):
        read_cars(table(tmp_path / "sessions.csv", SESSION_COLUMNS, SESSION.rpartition(",")[0]))
    with pytest.raises(ClientError, match="city-unreadable"):
        read_cars(tmp_path / "nowhere.csv")


def test_F61_the_synthetic_city_is_seeded_and_says_so():
    """Same seed, same city; another seed, another; its columns hold believable values."""
    assert synthetic_cars(1) == synthetic_cars(1) != synthetic_cars(2)
    assert synthetic_stations(1) == synthetic_stations(1) != synthetic_stations(2)
    assert "synthetic, seed 1" in load_city(None, None, 1).origin
    assert len(load_city(None, None, 1, sample=20).cars) == 20
    cars = synthetic_cars(1)
    assert all(0 < car.stay_ms <= DAY_MS and car.energy_wh > 0 and 0 <= car.arrival_ms < DAY_MS for car in cars)
    assert 6_000 < sum(car.energy_wh for car in cars) / len(cars) < 14_000
    assert any(car.energy_wh * HOUR_MS > car.power_w * car.stay_ms for car in cars), (
        "some ask for more than they can get"
    )


def test_F61_the_plan_is_seeded_and_its_pool_holds_the_busiest_hour():
    """Every used pile is registered under its station's operator; bad wishes are marked; nobody is dropped."""
    city = load_city(None, None, 3)
    plan = make_plan(city, OPERATORS, 3)
    assert plan == make_plan(city, OPERATORS, 3)
    assert plan != make_plan(city, OPERATORS, 4)
    piles = {pile.name: pile for pile in plan.piles}
    assert len(piles) == len(plan.piles)
    assert busiest(city.cars) < len(plan.pool) <= len(piles)
    assert {pile.operator for pile in plan.piles} == set(OPERATORS)
    assert {name.rpartition("-")[0] for name in piles} == {station_key(s) for s in city.stations}, "all on the map"
    good = [wish for wish in plan.wishes if wish.refusal is None]
    assert {wish.car.name for wish in good} == {car.name for car in city.cars}
    assert all(wish.pile in plan.pool for wish in good)
    wallets = {driver.name: driver.wallet_fen for driver in plan.drivers}
    assert all(wallets[wish.driver] >= wish.deposit_fen for wish in good)
    assert all(wallets[w.driver] < w.deposit_fen for w in plan.wishes if w.refusal is Refusal.OVERSPENT)
    assert [w for w in plan.wishes if w.refusal is Refusal.PILE_UNKNOWN]
    assert all(w.pile not in piles for w in plan.wishes if w.refusal is Refusal.PILE_UNKNOWN)


def test_F61_stations_without_piles_are_counted_not_registered():
    """The real table lists some."""
    city = load_city(None, None, 3, sample=5)
    empty = city.stations[0].__class__("empty", 0, 0, 0, 0)
    plan = make_plan(City((*city.stations, empty), city.cars, ""), OPERATORS, 3)
    assert plan.stations_without_piles == 1
    assert not any(pile.name.startswith("Sempty") for pile in plan.piles)


def test_F61_the_real_tables_make_a_city(data_dir):
    """954 sessions on one day, at most a day long, over 1,706 stations."""
    city = load_city(data_dir / "stations_shenzhen.csv", data_dir / "sessions_acn_caltech_2019_03.csv", 1)
    assert (len(city.stations), len(city.cars)) == (1706, 954)
    assert sum(car.energy_wh for car in city.cars) == 8_900_523
    plan = make_plan(city, OPERATORS, 1)
    assert len(plan.pool) > 564, "so many real cars stay at a time"
