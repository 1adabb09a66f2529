"""`pilechain bench growth` on real core processes, with sizes so small that it says nothing of speed."""

import json

import pytest
from typer.testing import CliRunner

from bench import growth
from bench.growth import Plan
from node.cli.main import app

TINY = Plan(points=((4, 600), (4, 2_000), (7, 600)), lengths=(5, 15), seconds=1.0, payers=100, chain_s_max=60.0)


@pytest.mark.long
def test_W4_growth_runs_and_its_figures_are_possible(tmp_path, monkeypatch):
    monkeypatch.setattr(growth, "QUICK", TINY)
    file = tmp_path / "growth.json"
    answer = CliRunner().invoke(app, ["bench", "growth", "--quick", "--json", str(file)], catch_exceptions=False)
    assert answer.exit_code == 0
    found = json.loads(file.read_text(encoding="utf-8"))
    assert {"machine", "python", "pilechain", "scheme", "points", "chain", "laws"} <= found.keys()
    assert found["nodes"] == [4, 7]

    points = found["points"]
    assert [(point["nodes"], point["keys"]) for point in points] == list(TINY.points)
    for point in points:
        assert point["sealed"] > 100
        assert point["rejected"] == {}
        assert point["state_roots_equal"]
        assert point["ceiling_tps"] > 0
        assert 20 < point["cpu_us_per_tx_node"] < 20_000
        assert 0 < point["start_s"] < 60
        assert 0 < point["start_loaded_s"] < 60
        loaded = point["private_memory"]["loaded"]
        assert 10 < loaded["anonymous_mib"] < 500
        assert loaded["private_mib"] > 10
        disk = point["disk"]
        assert 200 < disk["bytes_per_payment"]["bodies"] < 500  # a payment is 210 bytes, in pages of 4 KiB
        assert disk["bytes_per_payment"]["all"] < disk["written_bytes_per_payment"]  # the log has the block as well
        assert disk["loaded_mib"] > disk["state_mib"]
    assert [point["seal_signatures"] for point in points] == [3, 3, 5]
    assert points[1]["disk"]["state_mib"] > points[0]["disk"]["state_mib"]

    rows = found["chain"]["lengths"]
    assert [row["blocks"] >= length for row, length in zip(rows, TINY.lengths, strict=True)] == [True, True]
    assert found["chain"]["bytes_per_block"]["headers"] > 400
    # Three validators more are two signatures more, of 64 bytes and their frame.
    assert found["laws"]["sealed_header_bytes_of_validators"]["each_bytes"] == pytest.approx(2 * 67 / 3, rel=0.2)
