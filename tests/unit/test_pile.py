"""F43: the firmware against the real contracts and the gateway's own code, in chain time."""

from pathlib import Path

import pytest
from msgspec import structs

from devices.light_state import LightState
from devices.pile_parts import Contactor, PileState, Save, Send
from devices.pile_states import TRANSITIONS, Status, Trigger, next_status
from devices.readings import READING_BYTES_MAX, verify_chain
from devices.wire import DownPayload, Hello, Receipt, Refused, SessionOpen, Submit, check_up, open_up, seal_up
from ledger.codec import decode, encode
from ledger.errors import OurError, PeerError
from ledger.transaction import decode_transaction
from node.gateway import proofs as gateway_proofs
from node.gateway.serve import known_device, serve
from tests.consortium import key, signer
from tests.device_chain import REGISTER_WH, DeviceChain
from tests.pile_bench import PileBench, bill, packet_bytes

MINUTE = 60_000
HOUR = 60 * MINUTE


@pytest.fixture
def bench(tmp_path: Path) -> PileBench:
    """A pile that has found the chain's head."""
    made = PileBench(tmp_path)
    made.chain.seal()
    made.tick(MINUTE)
    assert made.pile.light.state.height == 1
    return made


def test_F43_a_session_from_plug_to_bill(bench: PileBench):
    bench.session(60, power_w=7_000)
    assert bench.statuses == [Status.PREPARING, Status.CHARGING, Status.FINISHING, Status.AVAILABLE]
    settled = bill(bench)
    assert settled.energy_wh == bench.pile.meter_wh - REGISTER_WH == 6_999, "whole Wh of 7 kWh"
    readings = bench.archive.readings(settled.session)
    end = verify_chain(settled.session, key("Pile-1"), readings)
    assert end.meter_wh == bench.pile.meter_wh
    assert len(readings) == 62
    assert max(len(encode(reading)) for reading in readings) <= READING_BYTES_MAX
    assert bench.pile.state.logs == []


def test_F43_the_live_cost_is_the_bill(bench: PileBench):
    bench.now_ms = bench.chain.now_ms = bench.chain.now_ms // (24 * HOUR) * 24 * HOUR + 23 * HOUR  # 7 o'clock in China
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open(20_000))
    bench.tick(3 * HOUR, 7_000)
    prices, session = bench.pile.prices(), bench.pile.state.session
    assert prices is not None
    assert session is not None
    cost = session.cost_fen(bench.pile.meter_wh, prices)
    bench.do(bench.pile.unplug(bench.now_ms))
    assert len(bill(bench).lines) == 2, "the price changes at 8 o'clock"
    assert bill(bench).total_fen == cost


def test_F43_bytes_of_a_session_and_of_an_idle_day(tmp_path: Path):
    bench = PileBench(tmp_path, DeviceChain(tmp_path, drivers=4, n=8))
    bench.chain.seal()
    bench.tick(MINUTE)
    before = bench.bytes
    bench.session(8 * 60, power_w=6_000)
    assert len(bench.settled()) == 1
    # The blocks here hold one transaction; in full ones each of three proofs has two paths of 11 hashes more.
    full_blocks = 3 * 2 * 11 * 34
    beyond = bench.bytes - before - bench.reading_bytes + full_blocks
    print(f"session of 8 h: {beyond} bytes beyond {bench.reading_bytes} of readings")
    assert beyond <= 16 * 1024
    with bench.chain.store.snapshot() as snapshot:
        sealed = gateway_proofs.sealed_head(snapshot)
    assert sealed is not None
    topic = f"pilechain/{bench.chain.chain_id.hex()[:8]}/head"
    heads = 72 * packet_bytes(topic, encode((1, sealed, b"")))
    pings = 24 * 60 * 4
    print(f"idle day: {heads + pings} bytes")
    assert heads + pings <= 100_000


def test_F43_a_puback_is_no_proof(bench: PileBench):
    bench.sealing = False  # every message arrives and is acknowledged; nothing is sealed
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(50_000)
    assert not bench.flows()
    assert bench.shows(Status.PREPARING)


def test_F43_no_lie_of_a_gateway_closes_the_contactor(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    opened = bench.open()
    bench.down(opened)
    (start, *_) = bench.held
    tx, opened_id = start.transaction, decode_transaction(opened.transaction).id
    receipt = opened.proof.receipt
    renamed = receipt.replace(receipt[3:35], tx.id)
    assert renamed != receipt
    lies: list[DownPayload] = [
        Receipt(tx.id, opened.proof),  # a true proof, of something else
        Receipt(
            tx.id,
            structs.replace(opened.proof, receipt=opened.proof.receipt.replace(opened.proof.receipt[2:34], tx.id)),
        ),
        SessionOpen(tx.raw, opened.proof),
        Refused(1, "ok", "go ahead"),
        bench.archived(opened_id, 99, bytes(32), by="thief"),
    ]
    for lie in lies:
        bench.down(lie)
        assert not bench.flows()
    bench.seal_held()
    assert bench.flows()


def test_F43_an_open_for_another_pile_or_failed_is_refused(tmp_path: Path):
    chain = DeviceChain(tmp_path, ("Pile-1", "Pile-2"))
    bench = PileBench(tmp_path, chain)
    chain.seal()
    bench.tick(MINUTE)
    other = chain.open("d1", "Pile-2")
    poor = chain.open("d2", "Pile-1", deposit_fen=10**9)
    chain.seal(other, poor)
    with chain.store.snapshot() as snapshot:
        for tx in (other, poor):
            found = gateway_proofs.prove_receipt(snapshot, chain.blocks, tx.id)
            assert found is not None
            bench.down(SessionOpen(*found))
    assert bench.notes["open-other"] == 2
    assert bench.pile.state.session is None


def test_F43_start_and_stop_are_sent_again_byte_for_byte(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(40_000)
    raws = {item.transaction.raw for item in bench.held}
    assert len(bench.held) >= 3
    assert len(raws) == 1
    bench.held = bench.held[:1]
    bench.seal_held()
    assert bench.flows()
    bench.tick(5 * MINUTE, 7_000)
    bench.do(bench.pile.unplug(bench.now_ms))
    bench.tick(20 * MINUTE)
    stops = bench.held
    assert 3 <= len(stops) <= 12, "bounded back-off"
    assert len({item.transaction.raw for item in stops}) == 1
    bench.held = stops[:1]
    bench.seal_held()
    assert bench.shows(Status.AVAILABLE)


def test_F43_a_start_that_is_never_sealed_is_given_up(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(3 * MINUTE)
    assert bench.notes["start-late"] == 1
    assert bench.pile.state.logs, "kept: a block that this pile has not heard of may hold the start"
    bench.chain.seal(at_ms=bench.now_ms)
    bench.tick(5 * MINUTE)
    assert bench.notes["start-late"] == 1
    assert bench.pile.state.session is None, "the session's own record says that it never ran"
    assert bench.shows(Status.PREPARING)
    assert bench.pile.state.logs == []


def test_F43_a_start_refused_by_the_contract(bench: PileBench):
    bench.pile.state.register_mwh += 5_000_000  # the meter was moved: not where the last session ended
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    assert bench.notes["start-refused"] == 1
    assert not bench.flows()
    assert bench.shows(Status.PREPARING)


def test_F43_stops_at_the_deposits_worth(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open(deposit_fen=300))
    while bench.flows():
        bench.tick(1_000, 40_000)
    assert bench.statuses[-1] is Status.SUSPENDED_EVSE
    bench.do(bench.pile.unplug(bench.now_ms))
    assert 295 <= bill(bench).total_fen <= 300


def test_F43_full_then_occupied_then_gone(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(30 * MINUTE, 7_000, full=True)
    assert not bench.flows()
    assert bench.shows(Status.SUSPENDED_EV)
    bench.tick(45 * MINUTE, 7_000)
    bench.do(bench.pile.unplug(bench.now_ms))
    assert bill(bench).occupancy_fen > 0
    assert bench.shows(Status.AVAILABLE)


def test_F43_load_command_pauses_and_resumes(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(10 * MINUTE, 7_000)
    bench.do(bench.pile.set_limit(bench.now_ms, 0))
    assert not bench.flows()
    assert bench.shows(Status.SUSPENDED_EVSE)
    at = bench.pile.meter_wh
    bench.tick(10 * MINUTE, 7_000)
    assert bench.pile.meter_wh == at
    bench.do(bench.pile.set_limit(bench.now_ms, 30_000))
    assert bench.flows()
    bench.tick(10 * MINUTE, 7_000)
    bench.do(bench.pile.unplug(bench.now_ms))
    assert bill(bench).energy_wh > at - REGISTER_WH


def test_F43_a_fault_opens_the_contactor_and_stops_the_session(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(10 * MINUTE, 7_000)
    bench.do(bench.pile.fault(bench.now_ms, "over-temperature"))
    assert not bench.flows()
    assert bench.shows(Status.FAULTED)
    assert bill(bench).energy_wh > 0
    bench.do(bench.pile.clear(bench.now_ms))
    assert bench.shows(Status.PREPARING), "the car is still there"
    bench.do(bench.pile.unplug(bench.now_ms))
    assert bench.shows(Status.AVAILABLE)


@pytest.mark.parametrize("after_minutes", [0, 1, 7, 20, 40])
def test_F43_power_cut_in_mid_session(bench: PileBench, after_minutes: int):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(after_minutes * MINUTE, 7_000)
    register = bench.pile.state.register_mwh
    bench.power_cut()
    assert not bench.flows()
    assert bench.pile.state.register_mwh == register
    assert bench.shows(Status.SUSPENDED_EVSE)
    bench.now_ms += 90 * MINUTE
    bench.do(bench.pile.plug_in(bench.now_ms))
    assert bench.flows()
    bench.tick(10 * MINUTE, 7_000)
    bench.do(bench.pile.unplug(bench.now_ms))
    settled = bill(bench)
    assert settled.energy_wh == bench.pile.meter_wh - REGISTER_WH
    verify_chain(settled.session, key("Pile-1"), bench.archive.readings(settled.session))


def test_F43_power_cut_and_the_car_is_gone(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(10 * MINUTE, 7_000)
    bench.power_cut()
    bench.do(bench.pile.unplug(bench.now_ms))
    assert len(bench.settled()) == 1
    assert bench.shows(Status.AVAILABLE)


def test_F43_power_cut_before_the_start_is_sealed(bench: PileBench):
    bench.sealing = False
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    first = bench.held[0].transaction.raw
    bench.power_cut()
    bench.do(bench.pile.plug_in(bench.now_ms))
    assert bench.held[-1].transaction.raw == first
    assert not bench.flows()
    bench.seal_held()
    assert bench.flows()


def test_F43_what_is_sent_was_saved_before(bench: PileBench):
    bench.session(30)
    saved = False
    for effect in bench.effects:
        if isinstance(effect, Save):
            saved = True
        if isinstance(effect, Send):
            assert saved
    for at, effect in enumerate(bench.effects):
        if isinstance(effect, Contactor) and effect.closed:
            assert any(isinstance(before, Save) for before in bench.effects[max(0, at - 3) : at])


def test_F43_offline_for_hours_then_everything_arrives(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.online = False
    bench.tick(3 * HOUR, 7_000)
    bench.do(bench.pile.unplug(bench.now_ms))
    assert bench.settled() == []
    bench.power_cut()
    bench.online = True
    bench.do(bench.pile.link_up(bench.now_ms))
    bench.tick(10 * MINUTE)
    settled = bill(bench)
    assert settled.energy_wh == bench.pile.meter_wh - REGISTER_WH
    assert len(bench.archive.readings(settled.session)) > 180
    assert bench.pile.state.logs == []


def test_F43_a_stop_that_expired_unsealed_is_made_anew(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(10 * MINUTE, 7_000)
    bench.sealing = False
    bench.do(bench.pile.unplug(bench.now_ms))
    first = bench.held[0].transaction
    bench.held = []
    bench.now_ms += 23 * HOUR + MINUTE
    bench.chain.seal(at_ms=bench.now_ms)
    bench.do(bench.pile.link_up(bench.now_ms))
    bench.tick(MINUTE)
    with bench.chain.store.snapshot() as snapshot:
        sealed = gateway_proofs.sealed_head(snapshot)
    assert sealed is not None
    again = bench.held[-1].transaction
    assert again.id != first.id
    assert decode_transaction(again.raw).body.valid_until_ms > first.body.valid_until_ms
    bench.held = [bench.held[-1]]
    bench.seal_held()
    assert len(bench.settled()) == 1


def test_F43_a_session_ends_within_a_day(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open(50_000))
    bench.tick(24 * HOUR + MINUTE, 1_000)
    assert len(bench.settled()) == 1
    assert bench.shows(Status.PREPARING)


def test_F43_the_state_survives_encoding(bench: PileBench):
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(20 * MINUTE, 7_000)
    data = bench.pile.encode()
    assert encode(decode(PileState, data)) == data
    assert len(encode(LightState(bench.chain.chain_id, b""))) < len(data) < 256 * 1024


def test_F43_every_state_is_entered_and_left():
    for status in Status:
        assert any(after is status for (before, _), after in TRANSITIONS.items() if before is not status)
        assert any(before is status for (before, _), after in TRANSITIONS.items() if after is not status)
    with pytest.raises(OurError, match="pile-transition"):
        next_status(Status.AVAILABLE, Trigger.STARTED)
    assert {after for (_, trigger), after in TRANSITIONS.items() if after is Status.CHARGING} == {Status.CHARGING}
    closers = {trigger for (before, trigger), after in TRANSITIONS.items() if after is Status.CHARGING}
    assert closers == {Trigger.STARTED, Trigger.RESUMED}


def test_F43_out_of_service(bench: PileBench):
    bench.do(bench.pile.set_service(bench.now_ms, False))
    assert bench.shows(Status.UNAVAILABLE)
    bench.down(bench.open())
    assert bench.pile.state.session is None
    bench.do(bench.pile.set_service(bench.now_ms, True))
    assert bench.shows(Status.AVAILABLE)


def test_F43_a_plugged_pile_asks_for_an_open_that_it_missed(bench: PileBench):
    bench.open()  # the gateway that should have told it is dead
    bench.do(bench.pile.plug_in(bench.now_ms))
    assert not bench.flows()
    bench.tick(10_000)
    assert bench.flows()


def test_F43_a_gateway_refuses_what_is_not_the_devices_own(bench: PileBench):
    chain = bench.chain
    with chain.store.snapshot() as snapshot:
        for stranger in ("Nobody", "", "a/b", "+"):
            with pytest.raises(PeerError, match="device-unknown"):
                known_device(snapshot, stranger)
        up = open_up(seal_up(chain.chain_id, "Pile-1", 1, Hello(0, know_set=True), signer("thief")))
        with pytest.raises(PeerError, match="message-forged"):
            check_up(up, chain.chain_id, "Pile-1", known_device(snapshot, "Pile-1").public_key)
        foreign = chain.open("d0", "Pile-1")
        with pytest.raises(PeerError, match="sender-other"):
            list(serve(snapshot, chain.blocks, "Pile-1", key("Pile-1"), 1, Submit(foreign.raw)))
