"""docker-compose.yml for real, by podman: the consortium comes up, settles sessions, loses and gets back companies, is
upgraded node by node, takes in a new one, and goes without a trace. The tests share one consortium, in this order.
"""

import json
import os
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pytest

from contracts.records import governance
from tests.containers.conftest import FAILED
from tests.containers.podman import ROOT, VERSION_LABEL, Podman, until

pytestmark = pytest.mark.needs_podman

PROJECT = "pilechain-test"
ADDRESS = "127.0.0.61"
"""Where the ports are published: an address of loopback that no other consortium of this machine uses."""
MEMBERS = (
    "sgcc",
    "teld",
    "potevio",
    "starcharge",
    "citygrid",
    "energybureau",
    "metrolab",
    "pilecare",
)
PORTS = {company: 26657 + 10 * at for at, company in enumerate((*MEMBERS, "newcomer"))}
LOGS = ROOT / "run" / "compose-test"
SETTINGS = {"PILECHAIN_ADDRESS": ADDRESS, "PILECHAIN_SPEED": "300", "PILECHAIN_VERSION": "test"}


class Consortium:
    """The companies, asked by their APIs on published ports and by their own commands."""

    def __init__(self, podman: Podman) -> None:
        self.podman = podman

    def get(self, company: str, path: str) -> Any:
        """JSON of a company's API. Raises OSError while it does not answer."""
        with urllib.request.urlopen(f"http://{ADDRESS}:{PORTS[company]}{path}", timeout=10) as answer:
            return json.load(answer)

    def height(self, company: str) -> int:
        """What a company's node has sealed; -1 while it does not answer."""
        try:
            return int(self.get(company, "/v1/status")["height"])
        except OSError:
            return -1

    def settled(self, company: str) -> int:
        """Settled sessions, up to a page of them."""
        return len(self.get(company, "/v1/sessions?state=settled&limit=500")["sessions"])

    def sessions(self, company: str) -> dict[str, str]:
        """Id → state of the newest sessions, a page of them."""
        return {each["id"]: each["state"] for each in self.get(company, "/v1/sessions?limit=500")["sessions"]}

    def goes_on(self, company: str, blocks: int = 3, seconds: float = 60) -> None:
        """A company's node seals more blocks, and sessions with them."""
        height, settled = self.height(company), self.settled(company)
        until(lambda: self.height(company) >= height + blocks, f"{blocks} more blocks at {company}", seconds)
        until(lambda: self.settled(company) > settled, f"another session settled at {company}", seconds)

    def catches_up(self, company: str, witness: str, seconds: float = 60) -> float:
        """A company's node comes to the height that another one has now, and is healthy."""
        height = self.height(witness)
        until(lambda: self.height(company) >= height, f"{company} at {height}", seconds)
        return until(lambda: self.podman.is_healthy(company), f"{company} healthy", seconds)

    def call(self, company: str, method: str, *arguments: str) -> str:
        """A company's call of the governance contract, signed in its container; the transaction's id."""
        command = ("pilechain", "tx", "governance", method, *arguments, "--output", "json")
        return str(json.loads(self.podman.inside(company, *command, seconds=60))["id"])

    def decide(self, method: str, *arguments: str) -> None:
        """One company proposes; with five more, the regulator among them, it is decided."""
        proposal = self.call("sgcc", method, *arguments)
        for company in ("teld", "starcharge", "citygrid", "metrolab", "energybureau"):
            self.call(company, "approve", "--proposal", proposal)

    def agree(self, companies: Iterable[str]) -> None:
        """These nodes have the same state, and the books sum to zero."""
        common = min(map(self.height, companies))
        path = f"/v1/headers/{common}"
        results = {company: self.get(company, path)["result"]["state_root"] for company in companies}
        assert len(set(results.values())) == 1, results
        assert self.get("pilecare", "/v1/companies")["balances_sum_fen"] == 0


@pytest.fixture(scope="module")
def consortium(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Images built, everything up. Afterwards nothing of it is left, whatever happened."""
    podman = Podman(tmp_path_factory.mktemp("podman"), PROJECT, SETTINGS)
    podman.down()  # of a run that was killed
    podman.make_base()
    podman.build("broker", "pilechain-broker", "test")
    podman.build("build", "pilechain-test/build", "test")  # its layers have a name, so the next run finds them
    for version in ("test", "next"):
        podman.build("node", "pilechain", version)
    try:
        podman.compose("up", "--no-build", "setup")
        podman.up(*MEMBERS, "broker", "fleet")
        yield Consortium(podman)
    except (RuntimeError, subprocess.TimeoutExpired):  # no test has begun, so none keeps the logs
        podman.save_logs(LOGS / "up")
        raise
    finally:
        podman.down()


@pytest.fixture(autouse=True)
def _logs(request: pytest.FixtureRequest, consortium: Consortium) -> Iterator[None]:
    """After a failure, what the containers have said until then."""
    yield
    if request.node.stash.get(FAILED, False):
        consortium.podman.save_logs(LOGS / request.node.name)


def test_F61_eight_companies_and_the_broker_come_up_healthy(consortium: Consortium):
    """By the health checks of their images."""
    for service in (*MEMBERS, "broker"):
        until(partial(consortium.podman.is_healthy, service), f"{service} healthy", 90)
    assert len(consortium.get("sgcc", "/v1/status")["consensus"]["peers"]) == 7


def test_F61_sessions_settle(consortium: Consortium):
    """Cars charge at piles that know the broker by certificate; every company sees the bills."""
    until(lambda: consortium.settled("pilecare") >= 10, "10 sessions settled", 120)
    consortium.agree(MEMBERS)


def test_F61_containers_can_do_no_more_than_they_must(consortium: Consortium):
    """No root, no capability, no writing outside the volume, no secret in the environment, ports on loopback only."""
    for service in (*MEMBERS, "broker", "fleet"):
        container = consortium.podman.inspect(service)
        host = container["HostConfig"]
        assert container["Config"]["User"] == "10001:10001"
        assert host["ReadonlyRootfs"]
        assert "no-new-privileges" in " ".join(host["SecurityOpt"])
        assert host["Memory"]
        assert host["PidsLimit"]
        assert not container["BoundingCaps"], "a user who is not root has no effective ones anyway"
        bound = [port["HostIp"] for ports in (host["PortBindings"] or {}).values() for port in ports or ()]
        assert set(bound) <= {ADDRESS}
        names = [variable.partition("=")[0] for variable in container["Config"]["Env"]]
        assert not [name for name in names if re.search("PASS|SECRET|KEY", name)]
    mounts = {mount["Name"] for mount in consortium.podman.inspect("sgcc")["Mounts"] if mount["Type"] == "volume"}
    assert mounts == {f"{PROJECT}_sgcc"}, "nobody else's keys"


def test_F61_a_company_cut_off_is_not_missed_and_catches_up(consortium: Consortium):
    """Its node stays up alone, says that it is not ready, and follows again when the network is back."""
    podman, network, name = consortium.podman, f"{PROJECT}_members", consortium.podman.name("potevio")
    podman.run("network", "disconnect", network, name)
    until(lambda: not podman.is_healthy("potevio"), "potevio notices", 60)
    assert "not-connected" in podman.run("exec", name, "pilechain", "status", "--ready", check=False)
    consortium.goes_on("teld", blocks=5)
    podman.run("network", "connect", "--alias", "potevio-p2p", network, name)
    consortium.catches_up("potevio", "teld")


def test_F61_two_companies_killed_and_paused_are_not_missed(consortium: Consortium):
    """Eight bear two: one process tree killed with kill -9, one frozen, at once."""
    podman = consortium.podman
    started = podman.inspect("citygrid")["State"]["StartedAt"]
    podman.run("pause", podman.name("metrolab"))
    os.kill(podman.inspect("citygrid")["State"]["Pid"], signal.SIGKILL)
    consortium.goes_on("teld", blocks=5)
    podman.run("unpause", podman.name("metrolab"))
    until(lambda: podman.inspect("citygrid")["State"]["StartedAt"] != started, "citygrid restarted", 30)
    for company in ("citygrid", "metrolab"):
        consortium.catches_up(company, "teld")


def test_F61_a_broker_that_is_killed_costs_no_session(consortium: Consortium):
    """Piles and gateways find it again by themselves: every car that was charging gets its bill."""
    podman = consortium.podman

    def charging() -> set[str]:
        return {id_ for id_, state in consortium.sessions("pilecare").items() if state == "charging"}

    until(lambda: bool(charging()), "a car charges", 60)
    started, begun = podman.inspect("broker")["State"]["StartedAt"], charging()
    os.kill(podman.inspect("broker")["State"]["Pid"], signal.SIGKILL)
    until(lambda: podman.inspect("broker")["State"]["StartedAt"] != started, "broker restarted", 30)
    until(lambda: podman.is_healthy("broker"), "broker healthy", 60)

    def unsettled() -> dict[str, str]:
        return {
            id_: state for id_, state in consortium.sessions("pilecare").items() if id_ in begun and state != "settled"
        }

    until(lambda: not unsettled(), f"sessions of {sorted(begun)} settled", 120)
    consortium.goes_on("pilecare", seconds=90)


def test_F61_a_node_is_upgraded_in_its_place(consortium: Consortium):
    """Another image on the same volume: it keeps its votes and its height, and votes on."""
    podman, before = consortium.podman, consortium.height("energybureau")
    assert podman.inspect("energybureau")["Config"]["Labels"][VERSION_LABEL] == "test"
    podman.up("energybureau", version="next")
    assert podman.inspect("energybureau")["Config"]["Labels"][VERSION_LABEL] == "next"
    consortium.catches_up("energybureau", "teld")
    status = consortium.get("energybureau", "/v1/status")
    assert status["consensus"]["voting"]
    assert status["height"] >= before
    consortium.goes_on("energybureau")


def test_F61_a_new_company_is_admitted_follows_and_votes(consortium: Consortium):
    """The members vote it in; it says which node is its own by way of another's; then its node follows the chain,
    registers a vote key by itself, and the members give it its vote.
    """
    podman = consortium.podman
    made = podman.compose("up", "--no-build", "newcomer-setup")
    company_key, node_key, address, proof = (
        re.search(rf"\b{name} +(\S+)", made)[1]  # type: ignore[index]
        for name in ("company_key", "node_key", "address", "proof")
    )
    podman.up("newcomer")
    identity = ("--display-name", "新运营商", "--roles", '["operator"]', "--company-key", company_key)
    consortium.decide("propose_admit", "--company", "Newcomer", *identity)
    node = ("--node-key", node_key, "--address", address, "--proof", proof)
    consortium.call("newcomer", "set_node", *node, "--api", "sgcc:26657")
    consortium.catches_up("newcomer", "teld")
    registered = ("pilechain", "query", "state", governance.NEXT_KEYS.key().hex())
    until(lambda: b"Newcomer".hex() in podman.inside("teld", *registered), "its vote key is registered", 60)
    consortium.decide("propose_vote", "--company", "Newcomer")
    until(lambda: consortium.get("newcomer", "/v1/status")["consensus"]["voting"], "newcomer votes", 60)


def test_F61_all_agree_in_the_end_and_the_chain_verifies(consortium: Consortium):
    """Every company's books are the same, and one node's whole chain is executed again from genesis."""
    for company in PORTS:
        consortium.catches_up(company, "teld")
    consortium.agree(PORTS)
    verified = consortium.podman.inside("metrolab", "pilechain", "verify", "--output", "json", seconds=120)
    assert json.loads(verified)["valid"]


def test_F61_stopped_in_order_and_gone_without_a_trace(consortium: Consortium):
    """SIGTERM reaches the supervisor; `down --volumes` leaves nothing."""
    podman = consortium.podman
    began = time.monotonic()
    podman.run("stop", "--time", "30", podman.name("sgcc"))
    assert time.monotonic() - began < 20
    assert podman.inspect("sgcc")["State"]["ExitCode"] == 0
    podman.down()
    assert podman.left() == []
