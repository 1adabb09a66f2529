"""A charging session: opened by the driver, started and stopped by the pile, billed to the fen."""

OPEN = {"connector": 1, "deposit_fen": 5_000, "accept_unverified": False}


class Stay:
    """A session at a pile."""

    def __init__(self, chain, pile="Pile-1", driver=None, **changes):
        self.chain = chain
        self.pile = {"Pile-1": chain.pile, "Pile-2": chain.other_pile, "Home-1": chain.home_pile}[pile]
        self.driver = driver or chain.driver
        self.id = self.driver.call("open", **OPEN | {"pile": pile} | changes).id

    def fields(self, **more):
        """Arguments of the pile's next record; its counter grows with the chain."""
        return {"session": self.id, "counter": self.chain.height, **more}

    def start(self, meter_wh=1_000):
        """Energy may flow."""
        self.begin_ms = self.chain.now_ms
        return self.pile.call("start", **self.fields(time_ms=self.begin_ms, meter_wh=meter_wh))

    def stop_fields(self, *borders, ended_ms=None):
        """Arguments of a stop: minutes after the beginning, and registers."""
        readings = tuple((self.begin_ms + minutes * 60_000, meter_wh) for minutes, meter_wh in borders)
        ended_ms = readings[-1][0] if ended_ms is None else ended_ms
        return self.fields(borders=readings, charging_ended_ms=ended_ms, readings_count=2, readings_root=bytes(32))

    def stop(self, *borders, ended_ms=None):
        """The end; the bill."""
        self.chain.wait(borders[-1][0] * 60_000)
        return self.pile.call("stop", **self.stop_fields(*borders, ended_ms=ended_ms)).event("session.settled")

    @property
    def record(self):
        """As it stands."""
        return self.chain.record("SESSIONS", self.id)

    def reading(self, number, minutes, meter_wh, session=None, by=None):
        """A signed reading of the pile."""
        time_ms = self.begin_ms + minutes * 60_000
        return (by or self.pile).reading(session or self.id, number, time_ms, meter_wh)


def test_a_stay_is_billed_and_everybody_gets_their_part(chain):
    stay = Stay(chain, pile="Pile-2")
    stay.start()
    bill = stay.stop((60, 11_000))
    assert (bill.energy_wh, bill.total_fen, bill.grid_fen) == (10_000, 400 + 500, 300)
    assert bill.refund_fen == 5_000 - 900
    assert bill.behaviour == 1
    assert chain.record("money.WALLETS", chain.driver.key).balance_fen == 100_000 - 900
    assert chain.record("money.DUES", "Operator", "Other").amount_fen == 900
    assert chain.record("money.DUES", "Grid", "Other").amount_fen == -300
    assert stay.record.state == 4
    assert bill.previous == bytes(32)
    again = Stay(chain, pile="Pile-2")
    again.start(11_000)
    assert again.stop((10, 11_000)).previous == stay.id


def test_energy_is_priced_at_the_tariff_s_borders(chain):
    chain.wait(6 * chain.HOUR_MS + 30 * chain.MINUTE_MS)  # half past seven: the price rises at eight
    stay = Stay(chain)
    stay.start()
    border = (8 * chain.HOUR_MS - (stay.begin_ms - chain.document.time_ms)) // chain.MINUTE_MS
    chain.wait(60 * chain.MINUTE_MS)
    missing = stay.stop_fields((60, 3_000))
    stay.pile.refused("border-mismatch", "stop", **missing)
    stay.pile.refused("border-mismatch", "stop", **stay.stop_fields((border + 1, 2_000), (60, 3_000)))
    exact = stay.fields(
        borders=((chain.document.time_ms + 8 * chain.HOUR_MS, 2_000), (stay.begin_ms + 60 * 60_000, 3_000)),
        charging_ended_ms=stay.begin_ms + 60 * 60_000, readings_count=3, readings_root=bytes(32),
    )  # fmt: skip
    bill = stay.pile.call("stop", **exact).event("session.settled")
    assert [line.energy_price_e4 for line in bill.lines] == [4_000, 8_000]
    assert bill.total_fen == 40 + 50 + 80 + 50


def test_a_private_pile_s_owner_has_a_part_of_the_service_fee(chain):
    chain.owner.call("registry.share", pile="Home-1", shared=True)
    stay = Stay(chain, pile="Home-1")
    stay.start()
    assert stay.stop((60, 11_000)).owner_fen == 250
    assert chain.record("money.WALLETS", chain.owner.key).balance_fen == 100_250


def test_who_blocks_a_connector_pays_for_it(chain):
    stay = Stay(chain)
    stay.start()
    bill = stay.stop((180, 11_000), ended_ms=stay.begin_ms + 60 * 60_000)
    assert bill.occupancy_fen == (120 - 15) * 10
    assert bill.behaviour == -1
    quick = Stay(chain)
    quick.start(11_000)
    assert quick.stop((30, 11_000), ended_ms=quick.begin_ms + 60_000).behaviour == 0


def test_a_bill_ends_at_the_deposit(chain):
    stay = Stay(chain, deposit_fen=100)
    stay.start()
    bill = stay.stop((60, 11_000))
    assert (bill.total_fen, bill.refund_fen, bill.cut_fen) == (100, 0, 800)
    assert bill.grid_fen == 100, "never more than was reserved"


def test_what_is_not_started_in_time_expires(chain):
    stay = Stay(chain)
    early = {"time_ms": chain.now_ms, "meter_wh": 1_000}
    chain.other_pile.refused("device-wrong", "start", **stay.fields(**early))
    stay.pile.refused("time-implausible", "start", **stay.fields(time_ms=chain.now_ms + chain.DAY_MS, meter_wh=1_000))
    stay.pile.refused("reading-gap", "start", **stay.fields(time_ms=chain.now_ms, meter_wh=999))
    told = chain.wait(2 * chain.MINUTE_MS)[0].event("session.expired")
    assert told.session == stay.id
    assert chain.record("money.WALLETS", chain.driver.key).balance_fen == 100_000
    stay.pile.refused("start-late", "start", **stay.fields(**early))
    stay.pile.refused("session-unknown", "start", **stay.fields(**early) | {"session": bytes(32)})
    stay.pile.refused("session-unknown", "stop", **stay_stop(bytes(32), chain.height, chain.now_ms))


def stay_stop(session, counter, end_ms):
    """Arguments of some stop."""
    return {
        "session": session, "counter": counter, "borders": ((end_ms, 1_000),), "charging_ended_ms": end_ms,
        "readings_count": 1, "readings_root": bytes(32),
    }  # fmt: skip


def test_a_stop_must_be_plausible(chain):
    stay = Stay(chain)
    stay.pile.refused("session-state", "stop", **stay_stop(stay.id, chain.height, chain.now_ms))
    stay.start()
    stay.pile.refused("session-state", "start", **stay.fields(time_ms=chain.now_ms, meter_wh=1_000))
    chain.wait(chain.HOUR_MS)
    chain.other_pile.refused("device-wrong", "stop", **stay.stop_fields((60, 2_000)))
    stay.pile.refused("register-backwards", "stop", **stay.stop_fields((60, 999)))
    stay.pile.refused("energy-implausible", "stop", **stay.stop_fields((60, 121_001)))
    stay.pile.refused("time-implausible", "stop", **stay.stop_fields((60, 2_000), ended_ms=chain.now_ms + chain.DAY_MS))
    stay.pile.refused("border-mismatch", "stop", **stay.stop_fields((30, 1_500), (60, 2_000)))
    assert stay.pile.call("stop", **stay.stop_fields((60, 2_000))).event("session.settled").energy_wh == 1_000


def test_without_a_stop_the_newest_signed_reading_counts(chain):
    stay = Stay(chain)
    stay.start()
    first = stay.reading(1, 60, 3_000)
    stay.driver.refused("session-state", "claim", session=stay.id, signed=first)
    assert chain.wait(25 * chain.HOUR_MS)[0].event("session.timed-out").session == stay.id
    claim = {"session": stay.id}
    stay.driver.refused("session-unknown", "claim", session=bytes(32), signed=first)
    chain.other_driver.refused("not-party", "claim", signed=first, **claim)
    stay.driver.refused("reading-forged", "claim", signed=(b"x", bytes(64)), **claim)
    stay.driver.refused("reading-forged", "claim", signed=stay.reading(1, 60, 3_000, by=chain.other_pile), **claim)
    stay.driver.refused("reading-mismatch", "claim", signed=stay.reading(1, 60, 3_000, session=b"1" * 32), **claim)
    stay.driver.refused("time-implausible", "claim", signed=stay.reading(1, 60 * 48, 3_000), **claim)
    stay.driver.call("claim", signed=first, **claim)
    stay.driver.refused("reading-mismatch", "claim", signed=first, **claim)
    chain.operator.call("claim", signed=stay.reading(2, 90, 4_000), **claim)
    bill = chain.wait(25 * chain.HOUR_MS)[0].event("session.settled")
    assert (bill.energy_wh, bill.total_fen) == (3_000, 120 + 150), "at the day's lowest price"
    after = Stay(chain)
    after.start(9_000)
    assert after.stop((1, 9_000)).energy_wh == 0, "what lies between is nobody's bill"


def test_without_any_reading_nothing_is_billed(chain):
    stay = Stay(chain)
    stay.start()
    chain.wait(25 * chain.HOUR_MS)
    assert chain.wait(25 * chain.HOUR_MS)[0].event("session.settled").total_fen == 0


def test_a_stop_in_the_claim_window_settles_after_all(chain):
    stay = Stay(chain)
    stay.start()
    chain.wait(25 * chain.HOUR_MS)
    eight, midnight = (chain.document.time_ms + hours * chain.HOUR_MS for hours in (8, 24))
    stop = stay.fields(
        borders=((eight, 2_000), (midnight, 3_000), (midnight + 60_000, 3_001)), charging_ended_ms=midnight,
        readings_count=3, readings_root=bytes(32),
    )  # fmt: skip
    bill = stay.pile.call("stop", **stop).event("session.settled")
    assert [line.energy_price_e4 for line in bill.lines] == [4_000, 8_000, 4_000]
    assert stay.record.state == 4
