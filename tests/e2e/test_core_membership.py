"""F07 on real processes: four validators become seven and four again under load, and nobody is started again."""

import asyncio
import shutil
import sys
import time
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from consensus.state import Timing
from contracts import views
from ledger.block import Header, Result
from ledger.codec import decode
from ledger.terms import DECISION_DELAY
from ledger.transaction import decode_transaction
from node.calls import signed_call
from node.cli.query import transaction_of
from node.cli.verify import verify_chain
from node.clock import ChainClock
from node.config import to_toml
from node.home import Home
from node.library import library_abi
from node.storage.reader import LedgerReader
from node.testnet.join import add_home
from tests.e2e.test_core_testnet import NODES, ROOT, Cores

JOINING = ("CityGrid", "EnergyBureau", "MetroLab")
VOTERS = (*NODES, *JOINING)
"""Six of eight companies decide; the regulator is EnergyBureau."""
PAUSE_MS_MAX = 2 * Timing().view_ms
"""Between two blocks: a view's time-out, and as much for what a loaded machine adds to the new view."""
WAIT_S = 120.0
"""Machines are shared; the run takes some 20 s on a quiet one."""


class Governed(Cores):
    """The testnet, and what its companies say to each other on chain."""

    def reader(self, name: str) -> LedgerReader:
        return LedgerReader(self.net.home(name).ledger, 4 << 30)

    async def call(self, sender: str, method: str, **fields: Any) -> dict[str, Any]:
        """A call of a company's key through a first member; its sealed outcome."""
        call = library_abi().encode_call("governance", method, **fields)
        raw = signed_call(call, self.net.signer("company", sender), self.genesis.hash(), ChainClock())
        client = await self.client(NODES[0])
        assert await client.submit([raw]) == [("", "")]
        await client.close()
        await self.sealed(NODES[0], [raw])
        reader = self.reader(NODES[0])
        with reader.snapshot() as snapshot:
            shown = transaction_of(snapshot, decode_transaction(raw).id)
        reader.close()
        return shown

    async def decide(self, method: str, voters: tuple[str, ...], **fields: Any) -> None:
        """Propose and approve until it is decided."""
        shown = await self.call(voters[0], method, **fields)
        assert shown["code"] == 0, shown
        for voter in voters[1:]:
            approved = await self.call(voter, "approve", proposal=bytes.fromhex(shown["id"]))
            assert approved["code"] == 0, approved
            if any(event["event"] == "governance.decided" for event in approved["events"]):
                return
        raise AssertionError(f"{method} {fields} was not decided")

    async def until(self, what: str, name: str, condition: Any) -> Any:
        """Wait until a condition on the newest snapshot of a node holds; returns what it gave."""
        end = time.monotonic() + WAIT_S
        reader = self.reader(name)
        try:
            while time.monotonic() < end:
                with reader.snapshot() as snapshot:
                    found = condition(snapshot)
                if found:
                    return found
                await asyncio.sleep(0.1)
        finally:
            reader.close()
        raise AssertionError(f"{what}: not within {WAIT_S:.0f} s")

    async def pay_on(self, ended: asyncio.Event) -> list[bytes]:
        """A payment every 50 ms until the end; ids of those that were taken."""
        taken: list[bytes] = []
        client = await self.client(NODES[1])
        while not ended.is_set():
            raw = self.payment(len(taken))
            if await client.submit([raw]) == [("", "")]:
                taken.append(decode_transaction(raw).id)
            await asyncio.sleep(0.05)
        await client.close()
        return taken


@pytest.fixture
def cores(tmp_path):
    """Four running cores."""
    with Governed(tmp_path / "net").running() as running:
        yield running


def _keep_two_peers(home: Home) -> None:
    """A company that joins knows two members; the others find it by its address on chain, and it finds those that came
    after it.
    """
    text = home.config_file.read_text(encoding="utf-8")
    peers = {name: at for name, at in home.config().p2p.peers.items() if name in NODES[:2]}
    settings = tomllib.loads(text)
    settings["p2p"]["peers"] = peers
    home.config_file.write_text(to_toml(settings), encoding="utf-8")


def voting(count: int) -> Any:
    """Whether so many vote on the next block."""
    return lambda snapshot: snapshot.head.validators.size == count


async def test_F07_four_become_seven_and_four_again_under_load(cores):
    ended = asyncio.Event()
    load = asyncio.create_task(cores.pay_on(ended))
    for company in JOINING:
        cores.net, home, node = add_home(cores.net, company, "json")
        _keep_two_peers(home)
        assert (await cores.call(company, "set_node", **node))["code"] == 0
        cores.start(company)
    for company in JOINING:
        await cores.until(f"the vote key of {company}", NODES[0], lambda snapshot, c=company: _next_key(snapshot, c))
        await cores.decide("propose_vote", VOTERS, company=company)
    await cores.until("seven validators", JOINING[0], voting(7))
    seven_at = await cores.until("their blocks", JOINING[0], lambda snapshot: snapshot.height)
    await cores.until("blocks of the seven", JOINING[0], lambda snapshot: snapshot.height > seven_at + 14)

    for company in JOINING:  # no consent of theirs, nor of the regulator's
        others = tuple(name for name in ("PileCare", *VOTERS) if name != company and name not in JOINING)
        more = tuple(name for name in JOINING if name > company)
        await cores.decide("propose_suspend", (*others, *more), company=company)
    await cores.until("four validators", NODES[0], voting(4))
    four_at = await cores.until("their blocks", NODES[0], lambda snapshot: snapshot.height)
    await cores.until("blocks of the four", NODES[0], lambda snapshot: snapshot.height > four_at + 2 * DECISION_DELAY)
    ended.set()
    taken = await load
    await cores.until("the last payments", NODES[0], lambda snapshot: all(map(snapshot.locate, taken)))
    for company in JOINING:
        await cores.until(f"{company} follows", company, lambda snapshot: snapshot.height >= four_at)

    assert all(process.poll() is None for process in cores.processes.values()), "nobody was started again"
    reader = cores.reader(NODES[0])
    with reader.snapshot() as snapshot:
        blocks = [snapshot.sealed(height) for height in range(1, snapshot.height + 1)]
        sealers = {len(block.seal) for block in blocks}
        sealed = Counter(
            decode_transaction(raw).id for height in range(1, len(blocks) + 1) for raw in snapshot.transactions(height)
        )
    reader.close()
    assert len(taken) > 20
    assert {sealed[id_] for id_ in taken} == {1}
    headers = [decode(Header, block.header) for block in blocks]
    assert sealers == {3, 4, 5}, "quorums of 4, 5 and 6, and 7"
    assert {header.proposer for header in headers} >= set(VOTERS), "who joined keeps the book in turn"
    assert max(header.view for header in headers) <= 1
    times = [decode(Result, block.result).time_ms for block in blocks]
    longest_ms = max(later - earlier for earlier, later in pairwise(times))
    print(
        f"{len(blocks)} blocks, longest pause {longest_ms} ms, {sum(header.view > 0 for header in headers)} late turns"
    )
    assert longest_ms < PAUSE_MS_MAX
    epochs = {decode(Result, block.result).set_hash for block in blocks}
    assert len(epochs) >= 7, "each change is an epoch of its own"
    for name in VOTERS:
        assert "result-contradicted" not in cores.log(name)
        assert "vote_key_in_force" in cores.log(name), "each voter's key changed with the epochs"
    assert set(cores.stop()) == {0}
    verified = verify_chain(cores.net.home(JOINING[0]).ledger, cores.genesis, lambda _height, _newest: None)
    assert verified.height >= four_at, "the whole chain, hand-overs and all, holds for whoever begins at genesis"


def _next_key(snapshot: Any, company: str) -> bytes | None:
    return views.next_vote_key(snapshot, company)


async def test_F07_a_node_that_forgot_its_votes_observes_until_a_new_key_of_its_own_is_in_force(cores):
    victim, home = NODES[3], cores.net.home(NODES[3])
    await cores.sealed(NODES[0], await _submitted(cores, 1))
    cores.kill(victim)
    shutil.rmtree(home.root / "data")
    cores.start(victim)
    await cores.sealed(victim, await _submitted(cores, 2))
    assert "votes_forgotten" in cores.log(victim)
    assert (await _status(cores, victim))["voting"] is False

    pilechain = str(Path(sys.executable).with_name("pilechain"))
    command = [pilechain, "keys", "renew", "--home", str(home.root), "--output", "json"]
    renewed = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    printed, _ = await renewed.communicate()
    assert renewed.returncode == 0, printed
    vote_key = bytes.fromhex(msgspec.json.decode(printed)["vote_key"])
    ended = asyncio.Event()
    load = asyncio.create_task(cores.pay_on(ended))
    await cores.until("its new key in force", victim, lambda snapshot: vote_key in _vote_keys(snapshot))
    height = await cores.until("the height", victim, lambda snapshot: snapshot.height)
    await cores.until("a block that it sealed", victim, lambda snapshot: _sealed_by(snapshot, victim, height + 1))
    ended.set()
    await load
    assert (await _status(cores, victim))["voting"] is True


async def _submitted(cores: Governed, number: int) -> list[bytes]:
    raws = [cores.payment(1000 * number + each) for each in range(3)]
    client = await cores.client(NODES[0])
    assert await client.submit(raws) == [("", "")] * 3
    await client.close()
    return raws


async def _status(cores: Governed, name: str) -> dict[str, Any]:
    client = await cores.client(name)
    shown: dict[str, Any] = await client.status()
    await client.close()
    return shown


def _vote_keys(snapshot: Any) -> set[bytes]:
    return {member.vote_key for member in snapshot.head.validators.validators}


def _sealed_by(snapshot: Any, company: str, first: int) -> bool:
    """Whether a company's vote is in a seal from a height on."""
    for height in range(first, snapshot.height + 1):
        sealed = snapshot.sealed(height)
        voters = snapshot.validator_set(decode(Header, sealed.header).set_hash)
        if any(voters.validators[vote.voter].name == company for vote in sealed.seal):
            return True
    return False
