"""F33: time-of-use periods, one energy price for all operators, service fees under the cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from contracts import views
from contracts.contract import Role
from contracts.genesis import CompanySetup, ConsortiumParameters
from contracts.records.tariff import Caps, ServiceFee
from ledger.charging import BorderReading
from ledger.tariff import Period, Tariff, borders, is_well_formed, period_at
from tests.consortium import HOUR, PERIODS, T0, Call, Chain, consortium, genesis, key
from tests.oracles.bill import make_bill
from tests.oracles.codes import describe
from tests.oracles.money_oracle import MINUTE, border_times

TARIFF = Tariff("Shenzhen", "Grid", T0, 480, PERIODS)


def label(receipt) -> str:
    """Name of a receipt's code."""
    return describe(receipt.code)[0]


def test_F33_borders_of_a_stay():
    assert borders(TARIFF, T0 + 7 * HOUR, T0 + 25 * HOUR) == [T0 + 8 * HOUR, T0 + 18 * HOUR, T0 + 24 * HOUR]
    assert borders(TARIFF, T0 + 8 * HOUR, T0 + 18 * HOUR) == []
    assert period_at(TARIFF, T0 + 8 * HOUR).energy_price_e4 == 8_500
    assert period_at(TARIFF, T0 + 8 * HOUR - 1).energy_price_e4 == 4_000


@given(
    st.sets(st.integers(1, 1_439), max_size=6),
    st.integers(-720, 840),
    st.integers(0, 3 * 24 * HOUR),
    st.integers(0, 3 * 24 * HOUR),
)
def test_F33_borders_are_the_minutes_at_which_prices_change(minutes, offset, begin, length):
    starts = [0, *sorted(minutes)]
    tariff = Tariff("R", "G", 0, offset, tuple(Period(m, 1_000 + i, 500) for i, m in enumerate(starts)))
    begin += T0
    expected = border_times(starts if minutes else [], offset, begin, begin + length) if length else []
    assert borders(tariff, begin, begin + length) == expected


def test_F33_no_border_where_prices_stay_the_same():
    tariff = Tariff("R", "G", 0, 0, (Period(0, 5, 4), Period(60, 5, 4), Period(120, 5, 3), Period(1_000, 5, 4)))
    assert borders(tariff, 0, 24 * HOUR + 1) == [120 * MINUTE, 1_000 * MINUTE]


@pytest.mark.parametrize(
    "periods",
    [(Period(1, 5, 4),), (Period(0, 5, 4), Period(0, 6, 4)), (Period(0, 5, 4), Period(9, 6, 4), Period(8, 6, 4)),
     (Period(0, 4, 5),)],
)  # fmt: skip
def test_F33_malformed_tariffs_are_refused(periods):
    tariff = replace(TARIFF, periods=periods, effective_from_ms=T0 + 100 * HOUR)
    assert not is_well_formed(tariff)
    assert label(Chain().call("Grid", "tariff.publish", tariff=tariff)) == "tariff-malformed"


def test_F33_a_tariff_is_published_ahead_and_comes_into_force():
    chain = Chain()
    later = replace(TARIFF, effective_from_ms=T0 + 5 * HOUR, periods=(Period(0, 7_000, 6_000),))
    assert label(chain.call("SGCC", "tariff.publish", tariff=later)) == "role-missing"
    assert label(chain.call("Grid", "tariff.publish", tariff=replace(later, grid="Other"))) == "not-grid-company"
    for too_soon in (T0, T0 + 3 * HOUR):
        short = replace(later, effective_from_ms=too_soon)
        assert label(chain.call("Grid", "tariff.publish", tariff=short)) == "tariff-notice"
    assert label(chain.call("Grid", "tariff.publish", tariff=later)) == "done"
    assert views.tariff_in_force(chain.state, "Shenzhen", chain.now_ms) == TARIFF
    assert views.tariff_in_force(chain.state, "Shenzhen", T0 + 5 * HOUR) == later
    sooner = replace(later, effective_from_ms=T0 + 4 * HOUR)
    assert label(chain.call("Grid", "tariff.publish", tariff=sooner)) == "done"
    assert views.tariff_in_force(chain.state, "Shenzhen", T0 + 5 * HOUR) == sooner
    assert views.tariff_in_force(chain.state, "Nowhere", chain.now_ms) is None


def test_F33_a_region_belongs_to_its_grid_company_and_the_regulator_gives_it_away():
    setup = consortium()
    other = CompanySetup("North", "North", (Role.GRID,), key("North"), 500_000, 1_000)
    chain = Chain(genesis(replace(setup, companies=(*setup.companies, other))))

    def publish(sender: str, hours: int, **changes) -> str:
        tariff = replace(TARIFF, effective_from_ms=T0 + hours * HOUR, **changes)
        return label(chain.call(sender, "tariff.publish", tariff=tariff))

    assert publish("North", 5, grid="North") == "region-of-another"
    assert publish("North", 5, grid="North", region="Harbin") == "region-of-another"
    assert publish("Regulator", 5, grid="SGCC", region="Harbin") == "grid-company-unknown"
    assert publish("Regulator", 5, grid="Nobody", region="Harbin") == "grid-company-unknown"
    assert publish("Regulator", 5, grid="North", region="Harbin") == "done"
    assert publish("North", 6, grid="North", region="Harbin") == "done"
    assert publish("Regulator", 5, grid="North") == "done"
    assert publish("Grid", 6) == "region-of-another", "it would undo the handover that waits"
    assert publish("North", 6, grid="North") == "region-of-another", "not before it has come"
    chain.block(after_ms=5 * HOUR)
    assert publish("North", 10, grid="North") == "done"
    assert publish("Grid", 10) == "region-of-another"


def test_F33_the_notice_is_a_parameter_of_the_chain():
    chain = Chain(genesis(consortium(parameters=ConsortiumParameters(tariff_notice_ms=5))))
    tariff = replace(TARIFF, effective_from_ms=chain.now_ms + 1_000 + 4)
    assert label(chain.call("Grid", "tariff.publish", tariff=tariff)) == "tariff-notice"
    tariff = replace(TARIFF, effective_from_ms=chain.now_ms + 1_000 + 5)
    assert label(chain.call("Grid", "tariff.publish", tariff=tariff)) == "done"


def test_F33_the_service_fee_stays_under_the_regulators_cap():
    chain = Chain()
    fee = ServiceFee(8_001, 50, 0)
    assert label(chain.call("SGCC", "tariff.set_fee", fee=fee)) == "price-above-cap"
    assert label(chain.call("SGCC", "tariff.set_caps", caps=Caps(9_000, 100))) == "role-missing"
    assert label(chain.call("Regulator", "tariff.set_caps", caps=Caps(9_000, 100))) == "done"
    assert label(chain.call("SGCC", "tariff.set_fee", fee=fee)) == "done"
    assert views.service_fee(chain.state, "SGCC") == fee


def test_F33_a_bill_is_split_at_borders_and_rounded_once_per_line():
    readings = [BorderReading(T0 + 8 * HOUR, 1_333), BorderReading(T0 + 9 * HOUR, 2_000)]
    begin = BorderReading(T0 + 7 * HOUR, 0)
    bill = make_bill(TARIFF, ServiceFee(6_000, 50, 0), begin, readings, T0 + 9 * HOUR, 10_000, 0)
    assert [(line.energy_wh, line.energy_price_e4) for line in bill.lines] == [(1_333, 4_000), (667, 8_500)]
    assert [(line.energy_fen, line.service_fen) for line in bill.lines] == [(53, 80), (57, 40)]
    assert (bill.total_fen, bill.refund_fen, bill.cut_fen) == (230, 9_770, 0)
    assert bill.grid_fen == 40 + 40


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.integers(0, 10**6), st.integers(0, 1_000))
def test_F33_whatever_is_cut_the_shares_stay_within_the_deposit(energy_wh, deposit_fen, share_ppm, minutes):
    end = T0 + HOUR + minutes * MINUTE
    bill = make_bill(
        TARIFF, ServiceFee(6_000, 50, 0), BorderReading(T0, 0), [BorderReading(end, energy_wh)], T0 + HOUR,
        deposit_fen, share_ppm,
    )  # fmt: skip
    assert bill.total_fen + bill.refund_fen == deposit_fen
    assert bill.grid_fen + bill.owner_fen <= deposit_fen
    full = sum(line.energy_fen + line.service_fen for line in bill.lines) + bill.occupancy_fen
    assert bill.total_fen + bill.cut_fen == full
    assert min(bill.total_fen, bill.refund_fen, bill.grid_fen, bill.owner_fen, bill.cut_fen) >= 0


def test_F33_a_session_is_billed_by_the_tariff_that_it_opened_under():
    chain = Chain()
    later = replace(TARIFF, effective_from_ms=T0 + 4 * HOUR, periods=(Period(0, 7_000, 6_000),))
    assert label(chain.call("Grid", "tariff.publish", tariff=later)) == "done"
    fields = {"connector": 1, "deposit_fen": 3_000, "accept_unverified": False, "pile": "Pile-1"}
    first = chain.transaction(Call("d0", "session", "open", fields))
    second = chain.transaction(Call("d0", "session", "open", fields | {"connector": 2}))
    chain.run([first])
    chain.run([second], after_ms=4 * HOUR)
    tariffs = []
    for transaction in (first, second):
        record = chain.session(transaction.id)
        tariffs.append(views.tariff_of_session(chain.state, record))
    assert tariffs == [TARIFF, later]
