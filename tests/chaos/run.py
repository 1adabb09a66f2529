"""A chaos run: four real nodes behind the proxy, clients, a plan of faults, and at the end the history held against
every node's store.
"""
# ruff: noqa: ASYNC110 (processes have no event to wait for)

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from ledger.errors import ClientError
from node.cli.verify import verify_chain
from node.config import split_address
from node.testnet.consortium import Driver
from node.testnet.make import TestnetPlan, make_testnet
from node.testnet.run import until_ready
from tests.chaos.clients import ANSWER_S_MAX, Clients, Node, Payer, read_balances
from tests.chaos.history import History, read_chain, violations
from tests.chaos.members import DISK_SIZE, LOOK_S, Injector, Member
from tests.chaos.plan import BRIEF, STARTS_ANEW, Fault, Wave, describe, make_plan
from tests.chaos.proxy import Proxy
from tests.chaos.report import Report, WaveOutcome
from tests.small_disk import SmallDisk, small_disk_at

MEMBERS = ("Potevio", "SGCC", "StarCharge", "Teld")
DISK_OF = "StarCharge"
"""The member whose disk is a small one."""
PAYERS = 12
WALLET_FEN = 1_000_000
BLOCKS_NEW = 2
"""By which the chain must have grown to have gone on: the first may have been agreed upon before."""
PROGRESS_S_MAX = 90.0
"""In a tolerated wave: until the others have gone on. Many times what it takes; a stall is a stall."""
GAP_S_MAX = 20.0
"""In a tolerated wave: without a new block. Time-outs of three views in a row, and a slow machine."""
RECOVERY_S_MAX = 150.0
"""After the faults: until the chain has gone on, and until all members vote at its end. As generous."""
STRIKE_S_MAX = 300.0
"""A fault has met something and is over by then, or it never does."""
MEMORY_MIB_MAX = 300
"""Of any process at any time."""
WELL_LOOKS = 4
"""In a row: a connection that the other side refuses is there for a moment."""


class Town:
    """The members with their clients, while the run lasts."""

    def __init__(self, members: dict[str, Member], clients: Clients, proxy: Proxy) -> None:
        self._members = members
        self._clients = clients
        self._wrong = clients.history.wrong
        self._injector = Injector(members, proxy, self._wrong)

    async def run_wave(self, number: int, wave: Wave) -> WaveOutcome:
        """Strike, wait until it is over, and wait until all is well again."""
        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in wave.faults:
                group.create_task(self._strike(number, wave, fault))
        healed_s = time.monotonic()
        height = await self.height()
        goes_on = self._clients.until_above(height + BLOCKS_NEW - 1)
        chain_s = await self._within(RECOVERY_S_MAX, goes_on, f"wave {number}: no new blocks after its faults")
        times_s = [begun_s, *(at for at in self._clients.advances_s if at > begun_s), time.monotonic()]
        gap_s = max(later - earlier for earlier, later in pairwise(times_s))
        if wave.tolerated and gap_s > GAP_S_MAX:
            self._wrong.append(f"wave {number}: no new block for {gap_s:.1f} s while only one member was struck")
        members_s = {}
        for name, member in self._members.items():
            await self._within(RECOVERY_S_MAX, self._well(member, height), f"wave {number}: {name} did not recover")
            members_s[name] = round(time.monotonic() - healed_s, 2)
            if member.gave_up:
                self._wrong.append(f"wave {number}: the supervisor of {name} gave up")
            member.look_at_memory()
        return WaveOutcome(
            number,
            wave.tolerated,
            wave.faults,
            round(healed_s - begun_s, 2),
            round(gap_s, 2),
            round(chain_s, 2),
            members_s,
        )

    async def height(self, without: str = "") -> int:
        """Newest height that a client or a core that answers knows to be sealed. A core that is stopped is better left
        out: its answer is waited for.
        """
        asked = [member.status() for name, member in self._members.items() if name != without]
        return max([self._clients.height, *(status["sealed"] for status in await asyncio.gather(*asked) if status)])

    async def finish(self, payers: Sequence[Payer]) -> None:
        """A payment by way of each node; then no more clients, and all nodes at one height with nothing waiting."""
        for payer, node in zip(payers, self._clients.nodes, strict=False):
            payment, raw = payer.pay(1)
            self._clients.history.payments.append(payment)
            await payer.ask(payment, raw, node)
            if not payment.acknowledged:
                self._wrong.append(f"after all faults {node.name} gives no receipt of a new payment")
        self._clients.stopping.set()
        await self._within(RECOVERY_S_MAX, self._quiet(), "the nodes did not come to rest at one height")

    async def _strike(self, number: int, wave: Wave, fault: Fault) -> None:
        """One fault, from its begin to its end."""
        told = f"wave {number}: {fault.kind} of {fault.victim or 'all'}"
        work = self._injector.strike(fault, partial(self._hold, told, wave, fault))
        await self._within(STRIKE_S_MAX, work, f"{told} did not befall anything, or did not end")
        if fault.kind in STARTS_ANEW:
            names = [fault.victim] if fault.victim else MEMBERS
            self._clients.started_s.update(dict.fromkeys(names, time.monotonic()))

    async def _hold(self, told: str, wave: Wave, fault: Fault) -> None:
        """How long a fault holds: its time, and in a tolerated wave, if it is not a brief one, until the others have
        gone on under it.
        """

        async def progress() -> None:
            if wave.tolerated and fault.kind not in BRIEF:
                until = self._clients.until_above(await self.height(without=fault.victim) + BLOCKS_NEW - 1)
                await self._within(PROGRESS_S_MAX, until, f"{told}: no new blocks while it lasts")

        await asyncio.gather(asyncio.sleep(fault.duration_s), progress())

    async def _well(self, member: Member, height: int) -> None:
        """Until a member votes, has reached a height, is connected to all, and its API tells of that height."""
        looks = 0
        while looks < WELL_LOOKS:
            status = await member.status()
            is_well = (
                status
                and status["voting"]
                and status["sealed"] >= height
                and len(status["connected"]) == len(MEMBERS) - 1
            )
            looks = looks + 1 if is_well else 0
            await asyncio.sleep(LOOK_S)
        while await self._clients.told_height(member.api) < height:
            await asyncio.sleep(LOOK_S)

    async def _quiet(self) -> None:
        while True:
            told = await asyncio.gather(*(member.status() for member in self._members.values()))
            where = {(each["sealed"], each["committed"], each["transactions"]) for each in told if each}
            if None not in told and len(where) == 1 and next(iter(where))[2] == 0:
                return
            await asyncio.sleep(LOOK_S)

    async def _within(self, limit_s: float, work: Awaitable[None], complaint: str) -> float:
        """Seconds that something took; a complaint if it takes too long."""
        begun_s = time.monotonic()
        try:
            async with asyncio.timeout(limit_s):
                await work
        except TimeoutError:
            self._wrong.append(f"{complaint} within {limit_s:.0f} s")
        return time.monotonic() - begun_s


async def run_chaos(folder: Path, seed: int, count: int) -> Report:
    """The whole run under a folder; prints as it goes."""
    begun_s = time.monotonic()
    names = [f"payer {number}" for number in range(PAYERS)]
    drivers = tuple(Driver(name, MEMBERS[number % 4], WALLET_FEN) for number, name in enumerate(names))
    testnet = make_testnet(folder / "net", TestnetPlan(base_port=0, drivers=drivers, log_format="json"))
    genesis = testnet.home(MEMBERS[0]).genesis()
    keys = [testnet.signer("driver", name) for name in names]
    accounts = [key.public_key for key in keys]
    history = History(dict.fromkeys(accounts, WALLET_FEN))
    async with AsyncExitStack() as stack:
        disk = _mount(stack, testnet.home(DISK_OF).ledger.parent)
        plan = make_plan(seed, count, MEMBERS, DISK_OF if disk else "")
        print("\n".join(describe(seed, plan)))
        proxy = await stack.enter_async_context(
            Proxy({name: split_address(testnet.nodes[name].p2p) for name in MEMBERS}, seed)
        )
        members = {name: Member(testnet, name, proxy.addresses[name]) for name in MEMBERS}
        members[DISK_OF].disk = disk
        for member in members.values():
            member.start()
            stack.callback(member.kill)
        await until_ready(testnet)
        web = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S_MAX)))
        nodes = [Node(name, member.api) for name, member in members.items()]
        clients = Clients(genesis, nodes, history, web)
        payers = [
            Payer(clients, key, accounts[(number + 1) % PAYERS], f"{seed}/{number}") for number, key in enumerate(keys)
        ]
        town = Town(members, clients, proxy)
        waves = []
        async with asyncio.TaskGroup() as group:
            for payer in payers:
                group.create_task(payer.run())
            for node in nodes:
                group.create_task(read_balances(clients, node, accounts, f"{seed}/{node.name}"))
            async with asyncio.timeout(RECOVERY_S_MAX):
                await clients.until_above(3)
            for number, wave in enumerate(plan, 1):
                waves.append(await town.run_wave(number, wave))
                print(waves[-1].line(), flush=True)
            await town.finish(payers)
        await _stop(members, history.wrong)
        chains = {name: read_chain(testnet.home(name).ledger, accounts) for name in MEMBERS}
        found = violations(history, chains)
        for name in MEMBERS:
            try:
                await asyncio.to_thread(verify_chain, testnet.home(name).ledger, genesis, lambda at, newest: None)
            except ClientError as error:
                found.append(f"{name}: verify: {error}")
        found += [
            f"{name}: a process of its {part} held {size} MiB"
            for name, member in members.items()
            for part, size in member.peak_mib.items()
            if size > MEMORY_MIB_MAX
        ]
        lines = {name: read_log(member.log) for name, member in members.items()}
        found += [f"{name}: {line}" for name, (_, bad) in lines.items() for line in bad]
        chain = chains[MEMBERS[0]]
        return Report(
            seed=seed,
            seconds=round(time.monotonic() - begun_s, 1),
            faults=dict(Counter(fault.kind for wave in plan for fault in wave.faults)),
            waves=waves,
            payments=dict(history.outcomes()),
            executed=len(chain.executed),
            done=sum(place.code == 0 for places in chain.executed.values() for place in places),
            height=len(chain.blocks),
            reads=dict(Counter(read.node for read in history.reads)),
            requests=dict(history.requests),
            memory_mib={name: dict(member.peak_mib) for name, member in members.items()},
            log=dict(sum((events for events, _ in lines.values()), Counter())),
            violations=found,
        )


def _mount(stack: AsyncExitStack, folder: Path) -> SmallDisk | None:
    """A small disk for a member's data, where this user may mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return stack.enter_context(small_disk_at(folder, DISK_SIZE))
    except PermissionError:
        return None


async def _stop(members: dict[str, Member], wrong: list[str]) -> None:
    for member in members.values():
        member.stop()
    for name, member in members.items():
        if status := await member.ended():
            wrong.append(f"{name}: its supervisor ended with status {status}")
        member.is_down = True


def read_log(path: Path) -> tuple[Counter[str], list[str]]:
    """A node's warnings and errors by event, and what must not be there: lines of level critical, and text that is no
    log line (a traceback, the last words of a process that gave up).
    """
    events, bad = Counter[str](), []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not text.startswith("{"):
            bad.append(text)
            continue
        try:
            line: dict[str, Any] = json.loads(text)
        except ValueError:
            continue  # the last words of a killed process
        if line["level"] == "critical":
            bad.append(text)
        if line["level"] in ("warning", "error"):
            events[line["event"]] += 1
    return events, bad
