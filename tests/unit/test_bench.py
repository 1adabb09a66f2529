"""The parts of the benchmarks that can be wrong without a figure looking odd."""

import os

import pytest

from bench.big_state import KEYS_PER_WALLET, give_state
from bench.consortium import sees_quorum
from bench.growth import laws
from bench.joining import measure
from contracts.genesis import genesis_state
from contracts.records.money import WALLETS
from node.memory import private_memory, pss_bytes
from node.storage.reader import LedgerReader
from node.testnet.consortium import Driver
from node.testnet.make import TestnetPlan, make_testnet

KEYS = 700
MIB = 1 << 20


def point(nodes: int, keys: int, cpu_us: float, in_t_verify: float, header_bytes: int):
    return {
        "nodes": nodes,
        "keys": keys,
        "cpu_us_per_tx_node": cpu_us,
        "cpu_in_t_verify": in_t_verify,
        "sealed_header_bytes": header_bytes,
    }


POINTS = [
    point(4, 10_000, 150.0, 2.5, 660),
    point(13, 10_000, 240.0, 4.0, 1_020),
    point(4, 1_000_000, 180.0, 3.0, 660),
    point(7, 10_000, 180.0, 3.0, 780),
]
CHAIN = {"lengths": [{"blocks": 100, "start_s": 0.7}, {"blocks": 2_100, "start_s": 1.7}]}


def test_laws_are_the_lines_through_the_figures():
    assert laws(POINTS, CHAIN) == {
        "cpu_us_per_tx_node_each_decade_of_keys": 15.0,
        "cpu_us_per_tx_node_most_to_fewest_keys": 1.2,
        "cpu_in_t_verify_most_to_fewest_keys": 1.2,
        "sealed_header_bytes_of_validators": {"fixed_bytes": 500.0, "each_bytes": 40.0},
        "cpu_us_per_tx_node_of_validators": {"fixed_us": 110.0, "each_us": 10.0},
        "start_of_blocks": {"fixed_s": 0.65, "each_1000_s": 0.5},
    }


def test_no_law_is_drawn_through_one_figure():
    assert laws(POINTS[:1], {"lengths": CHAIN["lengths"][:1]}) == {}
    assert laws(POINTS[:1], {"lengths": [CHAIN["lengths"][0]] * 2}) == {}


@pytest.mark.parametrize(("connected", "seen"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_core_is_up_when_it_votes_and_sees_a_quorum_with_itself(connected, seen):
    names = ["SGCC", "StarCharge", "Teld"][:connected]
    assert sees_quorum({"voting": True, "connected": names}, 3) is seen
    assert sees_quorum({"voting": False, "connected": names}, 3) is False


def test_a_snapshot_is_made_and_a_store_built_from_it():
    found = measure(1_500)
    assert found["keys"] >= 1_500
    assert found["chunks"] >= 1
    assert 130 * 500 < found["line_bytes"] < 130 * 3_000
    assert found["store_bytes"] > found["line_bytes"]
    assert found["making_beside_a_chain_s"] >= found["making_s"] >= 0


def test_all_nodes_are_given_one_state_of_so_many_keys(tmp_path):
    drivers = tuple(Driver(f"payer {number}", "Teld", 1_000) for number in range(5))
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=4, base_port=0, drivers=drivers))
    accounts = give_state(testnet, KEYS)
    expected = dict(genesis_state(testnet.genesis()))
    assert KEYS - len(expected) - KEYS_PER_WALLET < KEYS_PER_WALLET * len(accounts) <= KEYS - len(expected)
    roots = set()
    for name in testnet.nodes:
        reader = LedgerReader(testnet.home(name).ledger)
        with reader.snapshot() as snapshot:
            state = dict(snapshot.scan(b""))
            assert len(state) == len(expected) + KEYS_PER_WALLET * len(accounts)
            assert expected.items() <= state.items()
            assert all(WALLETS.key(account) in state for account in accounts)
            assert snapshot.bytes_used()["state"] >= sum(len(key) + len(value) for key, value in state.items())
            assert snapshot.bytes_used()["bodies"] == 0
            roots.add(snapshot.state_root)
        reader.close()
    assert len(roots) == 1


def test_private_memory_is_what_a_process_alone_has():
    before = private_memory(os.getpid())
    ballast = bytearray(os.urandom(64 * MIB))
    after = private_memory(os.getpid())
    assert 60 * MIB < after.private_bytes - before.private_bytes < 80 * MIB
    assert 60 * MIB < after.anonymous_bytes - before.anonymous_bytes < 80 * MIB
    assert after.private_bytes <= pss_bytes([os.getpid()])
    assert len(ballast) == 64 * MIB


def test_memory_of_a_dead_process_is_nothing():
    with pytest.raises(ProcessLookupError):
        os.kill(2**22 - 1, 0)
    assert private_memory(2**22 - 1) == (0, 0)
    assert pss_bytes([2**22 - 1]) == 0
