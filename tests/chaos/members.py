"""The members of a chaos run: each node under its own supervisor process, and everything that is done to them."""
# ruff: noqa: ASYNC110 (processes have no event to wait for)

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ledger.errors import ClientError
from node.child import die_with
from node.ipc.status import core_status
from node.testnet.make import Testnet
from tests.chaos.plan import Fault, Kind
from tests.chaos.proxy import Condition, Proxy

LOOK_S = 0.05
APPEAR_S_MAX = 60.0
"""For a process to be there on a loaded machine; starting takes a second."""
STATUS_S_MAX = 2.0
STOP_S_MAX = 40.0
DISK_BYTES = 256 << 20
"""Of the memory disk: below a quarter of it the node calls it full; 200 faults write a tenth."""
PAGE_BYTES = 4096
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
        self.is_down = True
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM: an orderly stop begins."""
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

    def signal(self, part: str, pid: int, number: signal.Signals) -> None:
        """Send a signal to a part, if it still is this process."""
        if self.pids().get(part) == pid:
            os.kill(pid, number)

    async def status(self) -> dict[str, Any] | None:
        """What core says of itself; None if it does not answer."""
        try:
            async with asyncio.timeout(STATUS_S_MAX):
                return await core_status(self.home)
        except (ClientError, TimeoutError):
            return None

    def memory_mib(self) -> dict[str, int]:
        """Resident memory by part."""
        found = {}
        for part, pid in self.pids().items():
            with suppress(OSError):
                pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
                found[part] = int(pages) * os.sysconf("SC_PAGE_SIZE") >> 20
        return found


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A memory disk of its own under a folder, gone afterwards; False where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={DISK_BYTES},mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "pilechain-chaos", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast: Path, left_bytes: int) -> None:
    """Leave so much room on the disk of a file, as a log that grows does: piece by piece, until not a page fits."""
    piece = 1 << 20
    with ballast.open("wb", buffering=0) as file:
        while True:
            room = os.statvfs(file.fileno())
            wanted = min(piece, room.f_bavail * room.f_bsize - left_bytes) if left_bytes else piece
            if wanted <= 0:
                return
            try:
                file.write(bytes(wanted))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                if piece == PAGE_BYTES:
                    return
                piece = PAGE_BYTES


class Injector:
    """Makes faults happen and ends them."""

    def __init__(self, members: dict[str, Member], proxy: Proxy) -> None:
        """Strike these members, and the ways between them."""
        self._members = members
        self._proxy = proxy

    async def strike(self, fault: Fault, hold: Callable[[], Awaitable[None]]) -> None:
        """One fault, from its begin to its end. It lasts until `hold()` returns, where it can be made to last."""
        await asyncio.sleep(fault.begin_s)
        match fault.kind:
            case Kind.KILL_CORE | Kind.KILL_EDGE:
                part = fault.kind.removeprefix("kill ")
                member = self._members[fault.victim]
                member.signal(part, await member.pid(part), signal.SIGKILL)
            case Kind.KILL_NODE | Kind.POWER_CUT:
                await self._restart([self._members[fault.victim]] if fault.victim else [*self._members.values()], hold)
            case Kind.CLOCK:
                await self._wrong_clock(self._members[fault.victim], fault.strength, hold)
            case Kind.STOP_CORE | Kind.STOP_CORE_LONG | Kind.STOP_EDGE:
                await self._pause(self._members[fault.victim], fault.kind.split()[1], hold)
            case Kind.HALF_OPEN:
                for other in self._others(fault.victim):
                    self._proxy.leave_half_open(fault.victim, other)
            case Kind.REORDER:
                await self._reorder(fault.victim, hold)
            case Kind.FULL_DISK:
                ballast = self._members[fault.victim].home.ledger.parent / "ballast"
                try:
                    await asyncio.to_thread(fill, ballast, fault.strength)
                    await hold()
                finally:
                    ballast.unlink(missing_ok=True)
            case _:
                await self._disturb(fault, hold)

    async def _restart(self, members: Sequence[Member], hold: Callable[[], Awaitable[None]]) -> None:
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

    async def _wrong_clock(self, member: Member, offset_ms: int, hold: Callable[[], Awaitable[None]]) -> None:
        async with member.restarting:
            for clock_offset_ms in (offset_ms, 0):
                member.is_down = True
                member.stop()
                await member.ended()
                member.start(clock_offset_ms)
                if clock_offset_ms:
                    await member.pid("core")
                    async with asyncio.timeout(APPEAR_S_MAX):
                        while await member.status() is None:
                            await asyncio.sleep(LOOK_S)
                    await hold()

    async def _pause(self, member: Member, part: str, hold: Callable[[], Awaitable[None]]) -> None:
        pid = await member.pid(part)
        member.signal(part, pid, signal.SIGSTOP)
        try:
            await hold()
        finally:
            member.signal(part, pid, signal.SIGCONT)

    async def _reorder(self, victim: str, hold: Callable[[], Awaitable[None]]) -> None:
        condition, ways = Condition(jitter_ms=REORDER_JITTER_MS), self._ways(victim)
        self._proxy.impose(condition, ways)
        held = asyncio.ensure_future(hold())
        try:
            while not held.done():
                await asyncio.wait([held], timeout=REORDER_S)
                for other in self._others(victim):
                    self._proxy.replace(victim, other)
            await held
        finally:
            held.cancel()
            self._proxy.lift(condition, ways)

    async def _disturb(self, fault: Fault, hold: Callable[[], Awaitable[None]]) -> None:
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
        self._proxy.impose(condition, ways)
        try:
            await hold()
        finally:
            self._proxy.lift(condition, ways)

    def _others(self, victim: str) -> list[str]:
        return [name for name in self._members if name != victim]

    def _ways(self, victim: str) -> list[tuple[str, str]]:
        return [way for other in self._others(victim) for way in ((victim, other), (other, victim))]
