"""The demo day from the first key to the last bill."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from msgspec import Struct
from rich.console import Console

from node.demo.api_client import ApiClient
from node.demo.chronicle import Chronicle
from node.demo.city import load_city
from node.demo.drivers import Drivers, Outcome
from node.demo.faults import Faults, core_height
from node.demo.fleet import Fleet
from node.demo.parking import Parking
from node.demo.percentiles import percentiles
from node.demo.plan import DemoPlan, make_plan
from node.demo.progress import NodeView, View, show
from node.demo.summary import audit
from node.demo.verdict import limits, problems
from node.memory import pss_bytes
from node.supervisor import Supervisor
from node.testnet.consortium import COMPANIES
from node.testnet.make import Testnet, TestnetPlan, make_testnet
from node.testnet.run import running, until_ready

MIDNIGHT_MS = 1_772_380_800_000
"""2 March 2026, 00:00 in the city (UTC+8): the demo day."""
CITY_OFFSET_MS = 8 * 3_600_000
LEAD_S_PER_NODE = 2
"""Real time from making the chain to the first car, in which nodes and piles come up; if they take longer, the first
cars are late.
"""
WATCH_S = 1.0
SETTLE_S_MAX = 60.0
"""How long nodes and archives may take after the last bill to be level with one another."""
OPERATORS = tuple(company.name for company in COMPANIES if "operator" in company.roles)


class DemoOptions(Struct, frozen=True, kw_only=True):
    """What the user chose."""

    nodes: int
    speed: int
    seed: int
    stations: Path | None = None
    sessions: Path | None = None
    sample: int | None = None
    base_port: int = 26656


async def run_demo(
    root: Path, options: DemoOptions, console: Console, ended: Callable[[dict[str, Any]], None], once: bool
) -> list[str]:
    """Play the day in the new folder `root`; tell its summary to `ended`, and stay up for ever after unless `once`.

    Returns what went wrong, empty on a good day. Raises ClientError where the tables or ports cannot be used.
    """
    city = load_city(options.stations, options.sessions, options.seed, options.sample)
    plan = make_plan(city, OPERATORS, options.seed)
    console.print(f"city: {city.origin}; which car goes to which station: drawn by seed {options.seed}")
    console.print(
        f"{len(city.stations)} stations ({plan.stations_without_piles} without piles are left out), "
        f"{len(plan.piles)} piles registered, {len(plan.pool)} of them running, {len(city.cars)} cars, "
        f"{len(plan.wishes) - len(city.cars)} wishes made bad on purpose"
    )
    testnet = make_testnet(root, _testnet_plan(plan, options))
    day = _Day(testnet, plan, options)
    try:
        async with running(testnet) as supervisors:
            await until_ready(testnet)
            ready_s = round(day.seconds(), 1)
            console.print(f"{len(testnet.nodes)} nodes answer after {ready_s} s; live page {day.page}")
            summary = {"ready_s": ready_s} | await day.play(supervisors, console)
            summary |= {"problems": problems(summary), "limits": limits(summary)}
            ended(summary)
            for sentence in summary["limits"]:
                console.print(f"[yellow]beyond the limits: {sentence}")
            if not once:
                console.print(f"the day is over; live page {day.page}, Ctrl-C ends")
                await asyncio.Event().wait()
            return list(summary["problems"])
    finally:
        day.chronicle.close()


def _testnet_plan(plan: DemoPlan, options: DemoOptions) -> TestnetPlan:
    first_ms = MIDNIGHT_MS + plan.wishes[0].car.arrival_ms
    return TestnetPlan(
        nodes=options.nodes,
        speed=options.speed,
        chain_start_ms=first_ms - LEAD_S_PER_NODE * options.nodes * 1000 * options.speed,
        base_port=options.base_port,
        piles=plan.piles,
        drivers=plan.drivers,
    )


class _Day:
    """The parts that play together."""

    def __init__(self, testnet: Testnet, plan: DemoPlan, options: DemoOptions) -> None:
        self._testnet = testnet
        self._plan = plan
        self._options = options
        self._began = time.monotonic()
        self.homes = {company: testnet.home(company) for company in testnet.nodes}
        self.chronicle = Chronicle(self.homes)
        self._clock = next(iter(self.homes.values())).config().clock
        self._heights: dict[str, int | None] = dict.fromkeys(self.homes)
        self._memory_mb: dict[str, int] = dict.fromkeys(self.homes, 0)
        self.page = f"http://{next(iter(testnet.nodes.values())).api}/"

    def seconds(self) -> float:
        """Real time since the start."""
        return time.monotonic() - self._began

    async def play(self, supervisors: Mapping[str, Supervisor], console: Console) -> dict[str, Any]:
        """Play the day; returns its summary."""
        genesis = next(iter(self.homes.values())).genesis()
        pool = set(self._plan.pool)
        piles = [pile for pile in self._plan.piles if pile.name in pool]
        fleet = Fleet(self._testnet, genesis, self._clock, piles)
        faults = Faults(self.homes, supervisors, self.chronicle, self._options.seed)
        addresses = {company: node.api for company, node in self._testnet.nodes.items()}
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
            drivers = Drivers(
                chain_id=genesis.hash(),
                clock=self._clock,
                day_ms=MIDNIGHT_MS,
                parking=Parking({pile.name: (pile.latitude_e7, pile.longitude_e7) for pile in piles}),
                chargers=fleet.chargers,
                chronicle=self.chronicle,
                api=ApiClient(session, list(addresses.values())),
                address_of=addresses,
                signer_of=lambda driver: self._testnet.signer("driver", driver),
            )
            background = [
                tasks.create_task(self.chronicle.run()),
                tasks.create_task(fleet.run()),
                tasks.create_task(self._watch_heights()),
                tasks.create_task(self._watch_memory(supervisors)),
                tasks.create_task(show(lambda: self._view(drivers.outcome, faults), console)),
            ]
            troubles = tasks.create_task(faults.run(drivers.outcome, len(self._plan.wishes)))
            await drivers.run(self._plan.wishes)
            await troubles
            level_s = await self._until_level(fleet)
            for task in background:
                task.cancel()
        return await asyncio.to_thread(self._summary, drivers.outcome, faults, fleet, level_s)

    def _summary(self, outcome: Outcome, faults: Faults, fleet: Fleet, level_s: float | None) -> dict[str, Any]:
        power_w = {pile.name: pile.power_w for pile in self._plan.piles}
        summary = audit(self.homes, outcome, self.chronicle, faults.done, power_w, self._options.speed)
        first_s = outcome.first_settled_s
        return summary | {
            "level_s": level_s,
            "unarchived": fleet.unarchived,
            "bytes_per_pile": percentiles(fleet.bytes_per_pile()),
            "memory_mb": self._memory_mb,
            "first_settled_s": None if first_s is None else round(first_s, 1),
            "wall_s": round(self.seconds(), 1),
        }

    async def _watch_heights(self) -> None:
        while True:
            heights = await asyncio.gather(*map(core_height, self.homes.values()))
            self._heights = dict(zip(self.homes, heights, strict=True))
            await asyncio.sleep(WATCH_S)

    async def _watch_memory(self, supervisors: Mapping[str, Supervisor]) -> None:
        """Keeps the highest seen. Apart from the heights, because the kernel counts for long on a busy machine."""
        while True:
            for company, supervisor in supervisors.items():
                pids = [pid for part in ("core", "edge") if (pid := supervisor.pid(part))]
                used_mb = await asyncio.to_thread(pss_bytes, pids) // 1_000_000
                self._memory_mb[company] = max(self._memory_mb[company], used_mb)
            await asyncio.sleep(WATCH_S)

    async def _until_level(self, fleet: Fleet) -> float | None:
        """Real time until all nodes stand at the same block, the last bill's or a later one, and all readings are
        archived; None if that takes too long.
        """
        last, began = self.chronicle.height, self.seconds()
        while (waited_s := self.seconds() - began) < SETTLE_S_MAX:
            heights = set(self.chronicle.heights().values())
            if len(heights) == 1 and min(heights) >= last and not fleet.unarchived:
                return round(waited_s, 1)
            await asyncio.sleep(WATCH_S / 2)
        return None

    def _view(self, outcome: Outcome, faults: Faults) -> View:
        chronicle = self.chronicle
        time_ms = max(chronicle.time_ms, MIDNIGHT_MS)
        return View(
            clock=datetime.fromtimestamp((time_ms + CITY_OFFSET_MS) / 1000, UTC).strftime("%a %H:%M"),
            height=chronicle.height,
            offered=outcome.offered,
            total=len(self._plan.wishes),
            charging=chronicle.opened - len(chronicle.settled) - len(chronicle.expired),
            settled=len(chronicle.settled),
            refused=sum(outcome.refused.values()),
            failed=sum(outcome.failed.values()),
            energy_wh=sum(bill.energy_wh for bill in chronicle.settled.values()),
            money_fen=sum(bill.total_fen for bill in chronicle.settled.values()),
            diverted=outcome.diverted,
            waited=outcome.waited,
            faults=tuple(faults.lines()),
            nodes=tuple(
                NodeView(company, height, chronicle.bookkeepers[company], self._memory_mb[company])
                for company, height in self._heights.items()
            ),
        )
