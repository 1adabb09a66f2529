"""Core processes for benchmarks: real ones, with TLS, files and fsync, each its own process; no edge, no broker."""

import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

import node
from ledger.genesis import Profile
from ledger.keys import Scheme
from node.child import die_with
from node.home import Home
from node.ipc.socket import CoreClient
from node.storage.reader import LedgerReader
from node.testnet.consortium import Driver
from node.testnet.make import Testnet, TestnetPlan, make_testnet

READY_S_MAX = 120.0
LOOK_S = 0.02
STOP_S_MAX = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Member:
    """One running core with a client on its socket and a reader of its store."""

    def __init__(self, home: Home, log: Path) -> None:
        """Start it; it writes its log to a file."""
        self.home = home
        self._log = log
        self._quorum = home.genesis().validators.quorum
        self.client: CoreClient
        self.reader: LedgerReader
        self.process = self._spawn()

    def cpu_us(self) -> int:
        """CPU time of the process since its start, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS_PER_S

    async def connect(self) -> None:
        """Wait until the core answers, sees a quorum of the others, and votes. Raises TimeoutError, or RuntimeError
        when it has died.
        """
        async with asyncio.timeout(READY_S_MAX):
            while True:  # a process that is starting has no event to wait for
                if self.process.poll() is not None:
                    raise RuntimeError(
                        f"core of {self.home.root.name} ended with {self.process.returncode}; see its log"
                    )
                try:
                    self.client = await CoreClient.connect(self.home.socket)
                    break
                except OSError:
                    await asyncio.sleep(LOOK_S)
            while not await self._votes():  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        self.reader = LedgerReader(self.home.ledger)

    async def restart(self) -> float:
        """Stop it in order and start it again; returns the seconds from the start until it votes. Whoever follows its
        socket is cut off. Raises as `connect`.
        """
        await self.client.close()
        self.reader.close()
        self.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self.wait_for_end)
        begun = time.perf_counter()
        self.process = self._spawn()
        await self.connect()
        return time.perf_counter() - begun

    def wait_for_end(self) -> None:
        """Of a process that was told to end; one that does not is killed."""
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def height(self) -> int:
        """Newest sealed height in the store."""
        with self.reader.snapshot() as snapshot:
            return int(snapshot.height)

    async def _votes(self) -> bool:
        return sees_quorum(await self.client.status(), self._quorum)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "node.core", "--home", str(self.home.root)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with(os.getpid()),
            )


def sees_quorum(status: dict[str, Any], quorum: int) -> bool:
    """Whether a core votes and is, with those that it is connected to, a quorum."""
    return status["voting"] and len(status["connected"]) + 1 >= quorum


@asynccontextmanager
async def running(
    nodes: int,
    scheme: Scheme,
    drivers: Sequence[Driver],
    prepare: Callable[[Testnet], None] = lambda testnet: None,
) -> AsyncIterator[tuple[Testnet, list[Member]]]:
    """A testnet of core processes in a temporary folder, gone afterwards. `prepare` is called before they start."""
    profile = Profile.GM if scheme is Scheme.SM2 else Profile.INTL
    with tempfile.TemporaryDirectory(prefix="pilechain-bench-") as folder:
        plan = TestnetPlan(nodes=nodes, profile=profile, base_port=0, drivers=tuple(drivers))
        testnet = make_testnet(Path(folder) / "net", plan)
        prepare(testnet)
        members = [Member(testnet.home(name), testnet.logs / f"{name}.log") for name in testnet.nodes]
        try:
            for member in members:
                await member.connect()
            yield testnet, members
        finally:
            for member in members:
                member.process.send_signal(signal.SIGTERM)
            for member in members:
                member.wait_for_end()


def machine() -> dict[str, Any]:
    """What every benchmark says of where it ran."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pilechain": node.__version__,
    }


def about(nodes: int | Sequence[int], scheme: Scheme) -> dict[str, Any]:
    """What a benchmark of whole nodes says besides."""
    return machine() | {"nodes": nodes, "scheme": scheme.name.lower()}


def report(figures: dict[str, Any], file: Path | None) -> None:
    """Print the figures as JSON, and write them to a file."""
    text = msgspec.json.format(msgspec.json.encode(figures), indent=2).decode()
    sys.stdout.write(text + "\n")
    if file:
        file.write_text(text + "\n", encoding="utf-8")


def percentiles_ms(latencies_ms: Sequence[float]) -> dict[str, float]:
    """p50 and p99; of nothing, zero."""
    ordered = sorted(latencies_ms) or [0.0]
    return {name: round(ordered[int(len(ordered) * share)], 1) for name, share in (("p50", 0.5), ("p99", 0.99))}
