"""F43: constant power, then taper, in closed form."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.battery import MS_PER_HOUR, Battery


def battery(soc: float = 0.2) -> Battery:
    """60 kWh, cells for 60 kW, an inlet for 50 kW."""
    return Battery(60_000, 60_000 * soc, 60_000, 50_000)


def test_F43_constant_power_below_the_taper():
    car = battery()
    assert car.power_w(1e9) == 50_000
    assert car.power_w(7_000) == 7_000
    assert car.charge(30_000, MS_PER_HOUR / 2) == pytest.approx(15_000)
    assert car.energy_wh == pytest.approx(27_000)


def test_F43_power_falls_in_the_taper_and_ends_at_full():
    car = battery(0.8)
    powers: list[float] = []
    while car.wanted_wh > 1e-6 and len(powers) < 1_000:
        powers.append(car.power_w(1e9))
        car.charge(1e9, 60_000)
    assert powers == sorted(powers, reverse=True)
    assert powers[-1] >= 0.03 * 60_000 * 0.9
    assert car.power_w(1e9) == 0
    assert car.charge(1e9, 60_000) == 0


@given(
    st.floats(0, 0.999),
    st.floats(1_000, 200_000),
    st.lists(st.floats(1, 3_600_000), min_size=1, max_size=8),
)
def test_F43_steps_of_any_length_give_the_same(soc: float, limit_w: float, steps: list[float]):
    in_steps, at_once = battery(soc), battery(soc)
    taken = sum(in_steps.charge(limit_w, step) for step in steps)
    assert taken == pytest.approx(at_once.charge(limit_w, sum(steps)), rel=1e-6, abs=1e-3)


@given(st.floats(0, 0.99), st.floats(1_000, 200_000), st.floats(0.01, 1))
def test_F43_the_time_until_an_energy_is_when_it_is_there(soc: float, limit_w: float, part: float):
    car = battery(soc)
    wanted = car.wanted_wh * part
    wait_ms = car.ms_until(wanted, limit_w)
    assert car.charge(limit_w, wait_ms) == pytest.approx(wanted, rel=1e-6)


def test_F43_a_numerical_integration_agrees():
    exact, slow = battery(0.7), battery(0.7)
    exact.charge(45_000, MS_PER_HOUR / 2)
    for _ in range(180_000):
        slow.energy_wh = min(slow.capacity_wh, slow.energy_wh + slow.power_w(45_000) * 10 / MS_PER_HOUR)
    assert exact.energy_wh == pytest.approx(slow.energy_wh, rel=1e-4)


def test_F43_never():
    car = battery()
    assert math.isinf(car.ms_until(1, 0))
    assert math.isinf(car.ms_until(100_000, 1e9))
    assert car.ms_until(0, 7_000) == 0


def test_F43_wanting_an_energy():
    car = Battery.wanting(13_780, 6_656)
    assert car.wanted_wh == pytest.approx(13_780)
    car.charge(1e9, 24 * MS_PER_HOUR)
    assert car.wanted_wh == pytest.approx(0, abs=1e-6)
    assert Battery.wanting(100_000, 50_000).capacity_wh > 100_000
