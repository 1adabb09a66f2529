"""Prices are published ahead of their time, by the grid company of the region and under the regulator's caps."""


def tariff(chain, **changes):
    """A tariff that the grid company may publish for tomorrow."""
    day = ({"begin_minute": 0, "energy_price_e4": 5_000, "purchase_price_e4": 4_000},)
    fields = {
        "region": "City", "grid": "Grid", "effective_from_ms": chain.now_ms + chain.DAY_MS, "utc_offset_minutes": 480,
        "periods": day,
    }  # fmt: skip
    return fields | changes


def period(minute, energy, purchase):
    """A period of a day."""
    return {"begin_minute": minute, "energy_price_e4": energy, "purchase_price_e4": purchase}


def test_a_new_tariff_rules_from_its_time_on(chain):
    session = chain.contract("session")
    before = session.call("terms", region="City", operator="Operator")
    told = chain.grid.call("publish", tariff=tariff(chain)).event("tariff.published")
    assert session.call("terms", region="City", operator="Operator") == before
    chain.wait(chain.DAY_MS)
    after = session.call("terms", region="City", operator="Operator")
    assert after.tariff_from_ms == told.tariff.effective_from_ms
    assert session.call("find", region="City", tariff_from_ms=after.tariff_from_ms).periods[0].energy_price_e4 == 5_000
    chain.grid.call("publish", tariff=tariff(chain))


def test_what_a_tariff_needs(chain):
    chain.regulator.refused("region-name-malformed", "publish", tariff=tariff(chain, region="C\0ity"))
    chain.grid.refused("tariff-notice", "publish", tariff=tariff(chain, effective_from_ms=chain.now_ms))
    for periods in (
        (period(1, 2, 1),),
        (period(0, 1, 2),),
        (period(0, 2, 1), period(0, 3, 1)),
        (period(0, 2, 1), period(9, 3, 1), period(8, 3, 1)),
    ):
        chain.grid.refused("tariff-malformed", "publish", tariff=tariff(chain, periods=periods))


def test_a_region_belongs_to_its_grid_company_and_the_regulator_gives_it_away(chain):
    chain.grid.refused("region-of-another", "publish", tariff=tariff(chain, region="Elsewhere"))
    chain.grid.refused("not-grid-company", "publish", tariff=tariff(chain, grid="Lab"))
    chain.regulator.refused("grid-company-unknown", "publish", tariff=tariff(chain, grid="Lab"))
    chain.regulator.call("publish", tariff=tariff(chain, region="Elsewhere"))
    session = chain.contract("session")
    session.refused("region-unknown", "terms", region="Elsewhere", operator="Operator")
    session.refused("region-unknown", "terms", region="Nowhere", operator="Operator")
    session.refused("fee-unknown", "terms", region="City", operator="Lab")
    session.refused("region-unknown", "find", region="City", tariff_from_ms=5)
    chain.contract("governance").refused("grid-company-needed", "check_no_region", company="Grid")
    chain.contract("governance").call("check_no_region", company="Lab")


def test_a_region_that_was_given_away_is_another_s(chain):
    new = chain.party("NewGrid")
    admit = {"company": "NewGrid", "display_name": "N", "roles": ("grid",), "company_key": new.key}
    chain.contract("governance").call("identity.admit_company", **admit)
    chain.regulator.call("publish", tariff=tariff(chain, grid="NewGrid"))
    chain.grid.refused("region-of-another", "publish", tariff=tariff(chain))
    new.refused("region-of-another", "publish", tariff=tariff(chain, grid="NewGrid"))
    chain.contract("governance").refused("grid-company-needed", "check_no_region", company="NewGrid")
    chain.wait(2 * chain.DAY_MS)
    new.call("publish", tariff=tariff(chain, grid="NewGrid"))
    chain.contract("governance").call("check_no_region", company="Grid")


def test_fees_stay_under_the_caps(chain):
    fee = {"service_price_e4": 8_000, "occupancy_fen_per_minute": 100, "grace_ms": 0}
    assert chain.operator.call("set_fee", fee=fee).event("tariff.fee-set").fee.service_price_e4 == 8_000
    chain.operator.refused("price-above-cap", "set_fee", fee=fee | {"service_price_e4": 8_001})
    chain.operator.refused("price-above-cap", "set_fee", fee=fee | {"occupancy_fen_per_minute": 101})
    chain.regulator.call("set_caps", caps={"service_price_e4_max": 1, "occupancy_fen_per_minute_max": 100})
    chain.operator.refused("price-above-cap", "set_fee", fee=fee)


def test_there_are_at_most_500_regions(chain):
    for number in range(499):
        chain.regulator.call("publish", tariff=tariff(chain, region=f"R{number}"))
    chain.regulator.refused("regions-too-many", "publish", tariff=tariff(chain, region="one more"))
