"""The members of a chaos run: each node under its own supervisor process, and everything that is done to them."""
# ruff: noqa: ASYNC110 (processes have no event to wait for)

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from ledger.errors import ClientError
from node.child import die_with
from node.ipc.status import core_status
from node.testnet.make import Testnet
from tests.chaos.plan import Fault, Kind
from tests.chaos.proxy import Condition, Proxy
from tests.small_disk import SmallDisk

LOOK_S = 0.05
APPEAR_S_MAX = 60.0
"""For a process to be there on a loaded machine; starting takes a second."""
STATUS_S_MAX = 2.0
STOP_S_MAX = 40.0
DISK_SIZE = "256m"
"""Of the memory disk: below a quarter of it the node calls it full; 200 faults write a tenth."""
REORDER_JITTER_MS = 300
REORDER_S = 0.5
"""Between two replacements of a connection."""


class Member:
    """One node: supervisor, core and edge."""

    def __init__(self, testnet: Testnet, company: str, peers: dict[str, str]) -> None:
        """`peers`: company → the address at which this node finds it."""
        self.company = company
        self.home = testnet.home(company)
        self.api = f"http://{testnet.nodes[company].api}"
        self.log = testnet.logs / f"{company}.log"
        self.restarting = asyncio.Lock()
        self.is_down = False
        """By a fault, not by its own."""
        self.disk: SmallDisk | None = None
        """That its data is on, if it can be filled."""
        self.peak_mib: Counter[str] = Counter()
        """Part → most memory that a process of it ever held, as far as it has been looked at."""
        self._stops: Counter[int] = Counter()
        """Process → how many faults have stopped it."""
        self._peers = peers
        self._process: subprocess.Popen[bytes]

    def start(self, clock_offset_ms: int = 0) -> None:
        """Start the supervisor, which starts the rest."""
        changed = {
            "PILECHAIN_P2P__PEERS": json.dumps(self._peers),
            "PILECHAIN_MQTT__BROKER": "",  # no devices here
            "PILECHAIN_CLOCK__BASE_CHAIN_MS": str(clock_offset_ms),
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "node", "start", "--home", str(self.home.root)],
                env=os.environ | changed,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with(os.getpid()),
            )
        self.is_down = False

    def kill(self) -> None:
        """Kill -9 of the supervisor; the kernel kills its children."""
        self.look_at_memory()
        self.is_down = True
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM: an orderly stop begins."""
        self.look_at_memory()
        self._process.terminate()

    async def ended(self) -> int:
        """Exit status of a supervisor told to stop. Raises TimeoutError."""
        async with asyncio.timeout(STOP_S_MAX):
            while (status := self._process.poll()) is None:
                await asyncio.sleep(LOOK_S)
        return status

    @property
    def gave_up(self) -> bool:
        """Whether the supervisor ended though nobody asked it to."""
        return not self.is_down and self._process.poll() is not None

    def pids(self) -> dict[str, int]:
        """Living children by name: core, edge."""
        found = {}
        with suppress(OSError):
            supervisor = self._process.pid
            for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
                arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                for part in ("core", "edge"):
                    if f"node.{part}".encode() in arguments:
                        found[part] = int(pid)
        return found

    async def pid(self, part: str) -> int:
        """Process id of a part, as soon as there is one. Raises TimeoutError."""
        async with asyncio.timeout(APPEAR_S_MAX):
            while (pid := self.pids().get(part)) is None:
                await asyncio.sleep(LOOK_S)
        return pid

    async def signal(self, part: str, number: signal.Signals) -> int:
        """Send a signal to a part; the process that got it. Raises as `pid`."""
        while True:
            pid = await self.pid(part)
            with suppress(ProcessLookupError):  # it has just died
                os.kill(pid, number)
                return pid

    async def kill_part(self, part: str) -> None:
        """Kill -9 of core or edge; the supervisor starts it again."""
        self.look_at_memory()
        await self.signal(part, signal.SIGKILL)

    @asynccontextmanager
    async def stopped(self, part: str) -> AsyncIterator[None]:
        """SIGSTOP of core or edge, and SIGCONT when the last of the faults that stopped this process is over."""
        pid = await self.signal(part, signal.SIGSTOP)
        self._stops[pid] += 1
        try:
            yield
        finally:
            self._stops[pid] -= 1
            if not self._stops[pid] and self.pids().get(part) == pid:
                os.kill(pid, signal.SIGCONT)

    async def status(self) -> dict[str, Any] | None:
        """What core says of itself; None if it does not answer."""
        try:
            async with asyncio.timeout(STATUS_S_MAX):
                return await core_status(self.home)
        except (ClientError, TimeoutError):
            return None

    def look_at_memory(self) -> None:
        """Note the most resident memory that each of its processes has held since its start."""
        for part, pid in self.pids().items():
            with suppress(OSError):
                found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
                self.peak_mib[part] = max(self.peak_mib[part], int(found[1]) >> 10 if found else 0)


Hold = Callable[[], Awaitable[None]]


class Injector:
    """Makes faults happen and ends them."""

    def __init__(self, members: dict[str, Member], proxy: Proxy, wrong: list[str]) -> None:
        """Strike these members, and the ways between them; `wrong` is told of orderly stops that end in disorder."""
        self._members = members
        self._proxy = proxy
        self._wrong = wrong

    async def strike(self, fault: Fault, hold: Hold) -> None:
        """One fault, from its begin to its end. It lasts until `hold()` returns, where it can be made to last, and
        until it has met something: a fault that befalls nothing never ends.
        """
        await asyncio.sleep(fault.begin_s)
        match fault.kind:
            case Kind.KILL_CORE | Kind.KILL_EDGE:
                await self._members[fault.victim].kill_part(fault.kind.removeprefix("kill "))
            case Kind.KILL_NODE | Kind.POWER_CUT:
                await self._restart([self._members[fault.victim]] if fault.victim else [*self._members.values()], hold)
            case Kind.CLOCK:
                await self._wrong_clock(self._members[fault.victim], fault.strength, hold)
            case Kind.STOP_CORE | Kind.STOP_CORE_LONG | Kind.STOP_EDGE:
                async with self._members[fault.victim].stopped(fault.kind.split()[1]):
                    await hold()
            case Kind.HALF_OPEN:
                while not self._each(self._proxy.leave_half_open, fault.victim):
                    await asyncio.sleep(LOOK_S)
            case Kind.REORDER:
                await self._reorder(fault.victim, hold)
            case Kind.FULL_DISK:
                await self._fill_disk(self._members[fault.victim], fault.strength, hold)
            case _:
                await self._disturb(fault, hold)

    async def _fill_disk(self, member: Member, left_bytes: int, hold: Hold) -> None:
        """At least until the core itself says that it has no room."""
        if member.disk is None:
            raise ValueError(f"the disk of {member.company} cannot be filled")
        try:
            await asyncio.to_thread(member.disk.fill, left_bytes)
            while not (status := await member.status()) or not status["disk_full"]:
                await asyncio.sleep(LOOK_S)
            await hold()
        finally:
            member.disk.make_room()

    async def _restart(self, members: Sequence[Member], hold: Hold) -> None:
        for member in members:
            await member.restarting.acquire()
        try:
            for member in members:
                member.kill()
            await hold()
            for member in members:
                member.start()
        finally:
            for member in members:
                member.restarting.release()

    async def _wrong_clock(self, member: Member, offset_ms: int, hold: Hold) -> None:
        async with member.restarting:
            for clock_offset_ms in (offset_ms, 0):
                member.is_down = True
                member.stop()
                if status := await member.ended():
                    self._wrong.append(f"{member.company}: its supervisor ended with status {status}")
                member.start(clock_offset_ms)
                if clock_offset_ms:
                    await member.pid("core")
                    async with asyncio.timeout(APPEAR_S_MAX):
                        while await member.status() is None:
                            await asyncio.sleep(LOOK_S)
                    await hold()

    async def _reorder(self, victim: str, hold: Hold) -> None:
        condition, ways = Condition(jitter_ms=REORDER_JITTER_MS), self._ways(victim)
        self._proxy.impose(condition, ways)
        held = asyncio.ensure_future(hold())
        replaced = 0
        try:
            while not held.done() or not replaced:
                await asyncio.sleep(REORDER_S)
                replaced += self._each(self._proxy.replace, victim)
        finally:
            held.cancel()
            self._proxy.lift(condition, ways)

    async def _disturb(self, fault: Fault, hold: Hold) -> None:
        ways = self._ways(fault.victim)
        match fault.kind:
            case Kind.CUT:
                condition = Condition(refused=True)
            case Kind.BLACK_HOLE:
                condition = Condition(held=True)
            case Kind.ONE_WAY:
                condition = Condition(held=True)
                ways = [way for way in ways if way[fault.strength] == fault.victim]
            case Kind.DELAY:
                condition = Condition(delay_ms=fault.strength, jitter_ms=fault.strength)
            case Kind.SLOW_LINE:
                condition = Condition(bytes_per_s=fault.strength)
            case _:
                raise ValueError(fault.kind)
        touched = self._proxy.touched(ways)
        self._proxy.impose(condition, ways)
        try:
            await hold()
            while self._proxy.touched(ways) == touched:
                await asyncio.sleep(LOOK_S)
        finally:
            self._proxy.lift(condition, ways)

    def _each(self, act: Callable[[str, str], int], victim: str) -> int:
        """Do something to a member's connections with each other one; how many there were."""
        return sum([act(victim, other) for other in self._others(victim)])

    def _others(self, victim: str) -> list[str]:
        return [name for name in self._members if name != victim]

    def _ways(self, victim: str) -> list[tuple[str, str]]:
        return [way for other in self._others(victim) for way in ((victim, other), (other, victim))]
