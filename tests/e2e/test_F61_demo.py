"""The demo day, small: real nodes, broker, piles, drivers and faults, and an audit that must find nothing."""

import json
import signal
import subprocess
import sys
import time

import pytest

CARS = 20


@pytest.fixture(scope="module")
def day(tmp_path_factory):
    """Summary of a small day, and the folder that it was played in."""
    folder = tmp_path_factory.mktemp("demo")
    command = [
        sys.executable,
        "-m",
        "node",
        "demo",
        "--once",
        "--nodes",
        "4",
        "--sample",
        str(CARS),
        "--base-port",
        "0",
    ]
    command += ["--speed", "3000", "--json", str(folder / "out.json"), "--home", str(folder / "h")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "out.json").read_text()), folder / "h"


def test_F61_every_honest_session_is_settled_and_every_bad_one_refused_for_its_reason(day):
    """Two of each kind of bad wish."""
    sessions = day[0]["sessions"]
    assert sessions["settled"] == CARS
    assert sessions["refused"] == {"no-headroom": 2, "overspent": 2, "pile-unknown": 2, "wallet-unknown": 2}
    assert sessions["offered"] == CARS + 8
    assert not sessions["failed"]


def test_F61_money_energy_and_roots_agree(day):
    """Read from the nodes' stores and the operators' archives."""
    summary, _ = day
    assert summary["problems"] == []
    assert summary["balances_sum_fen"] == 0
    assert summary["books_wrong"] == []
    assert summary["energy_wh"] == summary["readings_energy_wh"] > 0
    assert (summary["sessions_unlike_readings"], summary["sessions_unlike_readings_root"]) == (0, 0)
    assert summary["readings"] >= 2 * CARS
    assert (summary["unarchived"], len(summary["nodes"])) == (0, 4)
    assert len({node["common_root"] for node in summary["nodes"]}) == 1
    assert all(node["height"] >= summary["common_height"] > 0 for node in summary["nodes"])
    assert sum(summary["bookkeepers"].values()) > 0
    assert sum(summary["money_fen"].values()) > 0


def test_F61_cars_get_what_they_ask_for_or_can_get(day):
    """Within the tolerance, each of them."""
    summary, _ = day
    assert summary["sessions_unlike_car"] == []
    assert summary["energy_asked_wh"] >= summary["energy_obtainable_wh"] > 0
    assert summary["sessions_empty"] == summary["sessions_empty_explained"]


def test_F61_killed_nodes_come_back_and_nothing_acknowledged_is_lost(day):
    """One of whichever validator, one of the present primary; at the end every node has every receipt's transaction."""
    summary, _ = day
    faults = summary["faults"]
    assert [("primary" in fault["what"], fault["lost"]) for fault in faults] == [(False, 0), (True, 0)]
    assert all(fault["back_s"] is not None and fault["back_height"] >= fault["height"] for fault in faults)
    assert summary["acknowledged"]["transactions"] >= CARS
    assert list(summary["acknowledged"]["lost"].values()) == [0] * 4


def test_F61_the_summary_measures_itself(day):
    """Memory of a node below the limit; bytes and latencies counted."""
    summary, _ = day
    assert all(0 < used < 220 for used in summary["memory_mb"].values())
    assert summary["latency_ms"]["p99"] >= summary["latency_ms"]["p50"] > 0
    assert summary["bytes_per_pile"]["p99"] >= summary["bytes_per_pile"]["p50"] > 0
    assert summary["ready_s"] > 0
    assert summary["first_settled_s"] < 60


def test_F61_nothing_of_the_demo_is_left_running(day):
    """Nodes and broker end with it."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = subprocess.run(["pgrep", "-f", str(day[1])], capture_output=True, text=True, check=False).stdout
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {left}")


def test_F61_ctrl_c_ends_everything(tmp_path):
    """In the middle of the day, with exit code 130."""
    command = [sys.executable, "-m", "node", "demo", "--nodes", "4", "--sample", "5", "--base-port", "0"]
    with subprocess.Popen([*command, "--home", str(tmp_path / "h")], stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr
        next(line for line in demo.stderr if "nodes answer" in line)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=40)
    assert demo.returncode == 130
    left = subprocess.run(["pgrep", "-f", str(tmp_path / "h")], capture_output=True, text=True, check=False)
    assert not left.stdout
