"""The command line against a running testnet of four: start, status, tx, query, verify, as an operator uses them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import pytest

from contracts.genesis import consortium_of
from ledger.errors import ClientError
from node.cli.verify import verify_chain
from node.home import Home
from node.keystore import save_key
from node.testnet.make import Testnet, TestnetPlan, example_drivers, example_piles, make_testnet
from tests.unit.test_contract_language import tutorial

READY_S_MAX = 40
PAGE = Path(__file__).parents[2] / "docs" / "contract-language.md"


def pilechain(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "node", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def answer(*arguments: str):
    """The JSON that a successful command prints."""
    done = pilechain(*arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def testnet(tmp_path_factory) -> Testnet:
    """Four homes, made and not started."""
    plan = TestnetPlan(base_port=0, piles=example_piles(4), drivers=example_drivers(4))
    return make_testnet(tmp_path_factory.mktemp("cli") / "n", plan)


@pytest.fixture(scope="module")
def running(testnet):
    """Each node under a `pilechain start` of its own; ends as an operator ends it."""
    processes = {
        company: subprocess.Popen(
            [sys.executable, "-m", "node", "start", "--home", str(testnet.home(company).root), "--only", "core"],
            stderr=(testnet.logs / f"{company}.log").open("wb"),
        )
        for company in testnet.nodes
    }
    deadline = time.monotonic() + READY_S_MAX
    for company in testnet.nodes:
        while pilechain("status", "--home", str(testnet.home(company).root)).returncode:
            assert time.monotonic() < deadline, (testnet.logs / f"{company}.log").read_text()
            time.sleep(0.1)
    yield processes
    for process in processes.values():
        process.send_signal(signal.SIGTERM)
    assert [process.wait(20) for process in processes.values()] == [0, 0, 0, 0]


def home_of(testnet: Testnet, company: str) -> str:
    """The --home of a company."""
    return str(testnet.home(company).root)


def test_F20_a_contract_is_compiled_proposed_and_voted_in(testnet, running, tmp_path):
    """As an outside author and the companies do it; what a call would do is seen before it is sent."""
    file = tmp_path / "feeder.py"
    file.write_text(tutorial(), encoding="utf-8")
    done = pilechain("contract", "compile", str(file), "--out", str(tmp_path / "feeder.tree"))
    page = PAGE.read_text(encoding="utf-8")
    assert done.stdout.splitlines()[0] in page
    assert done.stdout.split()[-1][:8] in page
    judged = answer("contract", "verify", str(tmp_path / "feeder.tree"), "--hash", done.stdout.split()[-1])
    assert judged["methods"] == 3
    proposed = answer("contract", "propose", "9", str(file), "--home", home_of(testnet, "SGCC"))
    (tmp_path / "passphrase").write_text("of a test")
    codes = []
    for company in sorted({each.name for each in consortium_of(testnet.genesis()).companies} - {"SGCC"}):
        save_key(tmp_path / f"{company}.json", testnet.signer("company", company), b"of a test")
        voter = ("--home", home_of(testnet, "SGCC"), "--key", str(tmp_path / f"{company}.json"))
        call = ("tx", "governance", "approve", "--proposal", proposed["id"], *voter)
        tried = json.loads(pilechain(*call, "--dry-run", "--output", "json").stdout)
        sent = json.loads(pilechain(*call, "--output", "json").stdout)
        assert (tried["code"], len(tried["events"])) == (sent["code"], len(sent["events"]))
        codes.append([event["event"] for event in sent["events"]])
        if "governance.decided" in codes[-1]:
            break
    assert codes[-1] == ["governance.approved", "governance.installed", "governance.decided"]
    grid = ("--home", home_of(testnet, "SGCC"), "--key", str(tmp_path / "CityGrid.json"))
    notice = ("--feeder", "F1", "--limit-w", "500000", "--until-ms", str(2**62))
    told = answer("tx", "feeder", "announce", *notice, *grid)
    assert [event["event"] for event in told["events"]] == ["feeder.announced"]
    again = pilechain("tx", "feeder", "confirm", "--feeder", "F2", "--home", home_of(testnet, "SGCC"))
    assert (again.returncode, "there is no notice about this feeder" in again.stdout) == (1, True)
    assert any(row["call"] == "feeder confirm" for row in answer("tx", "--list", "--home", home_of(testnet, "SGCC")))
    here = ("--home", home_of(testnet, "SGCC"))
    assert pilechain("query", "contract", "feeder", "--text", *here).stdout == tutorial()
    shown = answer("query", "contract", "9", *here)
    assert [each["code_hash"] for each in shown["versions"]] == [shown["code_hash"]] == [judged["hash"]]
    assert pilechain("query", "contract", "feder", *here).stderr.startswith("contract-unknown")


def test_F20_what_is_wrong_with_a_contract_is_told_by_line(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text(tutorial().replace("limit_w: U32", "limit_w: int"), encoding="utf-8")
    done = pilechain("contract", "compile", str(bad))
    assert done.returncode == 1
    assert "bad.py:16:14: int is no type here" in done.stderr
    assert "Traceback" not in done.stderr
    bad.with_suffix(".tree").write_bytes(os.urandom(200))
    done = pilechain("contract", "verify", str(bad.with_suffix(".tree")))
    assert (done.returncode, done.stderr.split(":")[0]) == (1, "code-refused")


def open_session(testnet: Testnet, pile: str, deposit_fen: int) -> subprocess.CompletedProcess[str]:
    """A driver opens a session from the command line."""
    fields = ("--pile", pile, "--connector", "1", "--deposit-fen", str(deposit_fen), "--accept-unverified", "false")
    key = ("--key", str(testnet.root / "accounts" / "driver-001.json"), "--home", home_of(testnet, "SGCC"))
    return pilechain("tx", "session", "open", *fields, *key, "--output", "json")


def test_F55_a_transaction_is_sealed_and_found_on_every_node(testnet, running):
    """`tx` waits for the sealed receipt; `query` reads each node's own store."""
    opened = json.loads(open_session(testnet, "pile-002", 5000).stdout)
    assert (opened["code_name"], opened["call"]) == ("done", "session.open")
    for company in testnet.nodes:
        status = answer("status", "--home", home_of(testnet, company))
        assert (status["company"], status["halted"]) == (company, False)
    home = home_of(testnet, "SGCC")
    assert answer("query", "tx", opened["id"], "--home", home)["height"] == opened["height"]
    block = answer("query", "block", str(opened["height"]), "--home", home)
    assert len(block["sealed_by"]) >= 3
    assert answer("query", "session", opened["id"], "--home", home)["agreed"]["pile"] == "pile-002"
    assert answer("query", "pile", "pile-002", "--home", home)["connectors"][0]["session"] == opened["id"]
    sender = answer("query", "account", opened["sender"], "--home", home)
    assert sender["balance_fen"] == 100_000 - 5000
    assert answer("query", "company", "SGCC", "--home", home)["headroom_fen"] > 0


def test_F55_a_refused_call_has_its_code_and_exit_code_1(testnet, running):
    """Sealed, charged, and nothing changed."""
    refused = open_session(testnet, "pile-003", 10**9)
    assert refused.returncode == 1
    assert json.loads(refused.stdout)["code_name"] == "overspent"


def test_F55_a_company_signs_with_its_own_key(testnet, running):
    """Without --key the home's company key is used."""
    account = testnet.signer("driver", "driver-002").public_key.hex()
    fields = ("--account", account, "--amount-fen", "700")
    done = answer("tx", "money", "top_up", *fields, "--home", home_of(testnet, "Teld"))
    assert done["code_name"] == "done"


def test_F55_state_is_shown_with_its_proof(testnet, running):
    """The key of a wallet: contract 2, table w, the public key."""
    key = "0000000277" + testnet.signer("driver", "driver-003").public_key.hex()
    shown = answer("query", "state", key, "--proof", "--home", home_of(testnet, "SGCC"))
    assert shown["value"]
    assert shown["proof"]


def test_F55_kill_9_of_a_core_is_survived(testnet, running):
    """The supervisor brings it back, and it serves again."""
    home = testnet.home("Potevio")
    before = answer("status", "--home", str(home.root))["sealed"]
    pids = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(running["Potevio"].pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    os.kill(int(pids[0]), signal.SIGKILL)
    assert json.loads(open_session(testnet, "pile-004", 100).stdout)["code_name"] == "done"
    deadline = time.monotonic() + 20
    while (done := pilechain("status", "--home", str(home.root), "--output", "json")).returncode == 3:
        assert time.monotonic() < deadline, done.stderr
    assert json.loads(done.stdout)["sealed"] >= before


def test_F55_verify_checks_the_whole_chain_and_finds_what_was_altered(testnet, running, tmp_path):
    """Every block is executed again. One changed byte of one receipt, of one seal or of the state is found."""
    verified = answer("verify", "--home", home_of(testnet, "Teld"))
    assert verified["valid"]
    assert verified["height"] >= 3
    genesis = testnet.home("Teld").genesis()
    for database, what in (("receipts", "receipts"), ("headers", "voter"), ("state", "state differs")):
        copy = tmp_path / database
        shutil.copytree(testnet.home("SGCC").ledger, copy, ignore=shutil.ignore_patterns("lock.mdb"))
        alter(copy, database)
        with pytest.raises(ClientError, match="chain-invalid") as caught:
            verify_chain(copy, genesis, lambda *_: None)
        assert what in caught.value.message


def alter(ledger: Path, database: str) -> None:
    """Flip a bit in the last byte of the first entry."""
    with lmdb.open(str(ledger), max_dbs=16, map_size=4 << 30) as env, env.begin(write=True) as txn:
        handle = env.open_db(database.encode(), txn=txn)
        cursor = txn.cursor(handle)
        cursor.first()
        key, value = cursor.item()
        txn.put(key, value[:-1] + bytes([value[-1] ^ 1]), db=handle)


def test_F55_a_node_that_is_down_is_exit_code_3(testnet, running):
    """And queries still work without it, from the store."""
    assert pilechain("status", "--home", str(Home(testnet.root / "nobody").root)).returncode == 3
