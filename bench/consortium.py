"""Core processes for benchmarks: real ones, with TLS, files and fsync, each its own process; no edge, no broker."""

import asyncio
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
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

READY_S_MAX = 60.0
LOOK_S = 0.1
STOP_S_MAX = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Member:
    """One running core with a client on its socket and a reader of its store."""

    def __init__(self, home: Home, process: "subprocess.Popen[bytes]") -> None:
        self.home = home
        self.process = process
        self.client: CoreClient
        self.reader: LedgerReader

    def cpu_us(self) -> int:
        """CPU time of the process since its start, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // _TICKS_PER_S

    async def connect(self) -> None:
        """Wait until the core answers and sees a quorum of the others. Raises TimeoutError, or RuntimeError when it has
        died.
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
            while not (await self.client.status())["connected"]:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_S)
        self.reader = LedgerReader(self.home.ledger)

    def height(self) -> int:
        """Newest sealed height in the store."""
        with self.reader.snapshot() as snapshot:
            return int(snapshot.height)


@asynccontextmanager
async def running(nodes: int, scheme: Scheme, drivers: Sequence[Driver]) -> AsyncIterator[tuple[Testnet, list[Member]]]:
    """A testnet of core processes in a temporary folder, gone afterwards."""
    profile = Profile.GM if scheme is Scheme.SM2 else Profile.INTL
    with tempfile.TemporaryDirectory(prefix="pilechain-bench-") as folder:
        plan = TestnetPlan(nodes=nodes, profile=profile, base_port=0, drivers=tuple(drivers))
        testnet = make_testnet(Path(folder) / "net", plan)
        members = [_start(testnet, company) for company in testnet.nodes]
        try:
            for member in members:
                await member.connect()
            yield testnet, members
        finally:
            for member in members:
                member.process.send_signal(signal.SIGTERM)
            for member in members:
                try:
                    member.process.wait(STOP_S_MAX)
                except subprocess.TimeoutExpired:
                    member.process.kill()
                    member.process.wait()


def about(nodes: int, scheme: Scheme) -> dict[str, Any]:
    """What every benchmark says of where it ran."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "pilechain": node.__version__,
        "nodes": nodes,
        "scheme": scheme.name.lower(),
    }


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


def _start(testnet: Testnet, company: str) -> Member:
    home = testnet.home(company)
    with (testnet.logs / f"{company}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "node.core", "--home", str(home.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with(os.getpid()),
        )
    return Member(home, process)
