"""A fleet that starts again: its piles go on where their memory stands."""

import json
import time
from pathlib import Path

import pytest

from devices.flash import with_checksum
from devices.pile_states import Status
from node.cli.main import run_command
from node.clock import ChainClock
from node.demo.fleet import Fleet
from node.testnet.make import Testnet, TestnetPlan, example_piles, make_testnet
from tests.pile_bench import PileBench

MINUTE = 60_000
PILES = example_piles(2)


def fleet(testnet: Testnet, clock: ChainClock, flash: Path | None) -> Fleet:
    """Piles of a testnet, not connected."""
    return Fleet(testnet, testnet.genesis(), clock, PILES, flash)


def test_F61_piles_keep_what_they_know_in_files_and_forget_it_without(tmp_path):
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, piles=PILES))
    for flash, status in ((tmp_path / "flash", Status.FAULTED), (None, Status.AVAILABLE)):
        fleet(testnet, testnet.clock, flash).chargers["pile-001"].agent.fault("meter")
        again = fleet(testnet, testnet.clock, flash).chargers
        assert again["pile-001"].agent.status is status
        assert again["pile-002"].agent.status is Status.AVAILABLE


@pytest.mark.parametrize(
    "damaged", [b"", bytes(4), bytes(100), with_checksum(b"state")[:-1]], ids=["no", "zero", "zeros", "cut"]
)
def test_F61_a_pile_whose_memory_is_damaged_is_named_and_its_flash_is_no_bug_of_ours(
    tmp_path, capsys, monkeypatch, damaged
):
    """Whoever reads it takes that file away: the other piles have done nothing."""
    # The command would have the whole process log into this test's own standard error.
    monkeypatch.setattr("node.logs.configure_logs", lambda section: None)
    net, flash = tmp_path / "net", tmp_path / "flash"
    make_testnet(net, TestnetPlan(base_port=0, piles=PILES))
    flash.mkdir()
    (flash / "pile-002.flash").write_bytes(damaged)
    assert run_command(["fleet", str(net), "--piles", "2", "--flash", str(flash), "--output", "json"]) == 4
    error = json.loads(capsys.readouterr().err)["error"]
    assert error["code"] == "flash-damaged"
    assert "pile-002" in error["message"]


def test_F61_a_car_that_charged_when_the_power_was_cut_has_left_when_it_is_back(tmp_path):
    """Its session is stopped: nobody would ever unplug it, and the pile would serve no other car."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(base_port=0, piles=PILES))
    bench = PileBench(tmp_path)
    bench.do(bench.pile.plug_in(bench.now_ms))
    bench.down(bench.open())
    bench.tick(10 * MINUTE, 7_000)
    assert bench.flows()
    flash = tmp_path / "flash"
    flash.mkdir()
    (flash / "pile-001.flash").write_bytes(with_checksum(bench.flash))
    clock = ChainClock(bench.now_ms + MINUTE, time.time_ns() // 1_000_000)
    agent = fleet(testnet, clock, flash).chargers["pile-001"].agent
    agent.set_limit(7_000)  # time passes
    session = agent.pile.state.session
    assert session is not None
    assert session.ended
    assert not agent.closed
    assert agent.pile.meter_wh == bench.pile.meter_wh
