"""Keeps the processes of one node running: starts core and edge, restarts what dies, stops them in order.

Core and edge are programs of their own (`python -m node.core`, `python -m node.edge`), so a dead, stopped or flooded
edge never slows consensus. Children die with it (`node.child`): when the supervisor dies, even by kill -9, the kernel
kills them, and no port stays taken.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import structlog
from msgspec import Struct

from ledger.errors import ClientError
from node.child import DEATHS_BY_DAMAGE, die_with
from node.home import Home
from node.logs import configure_logs

QUICK_DEATH_S = 5.0
"""A process that lives shorter has not come up: starting takes about a second."""
QUICK_DEATHS_MAX = 5
"""So many quick deaths in a row, none of which asked to be started again, are no accident: the supervisor gives up,
loudly.
"""
EXIT_SETTINGS = 2
"""Exit code of a process whose settings or files somebody must mend first: trying again would not help."""
EXIT_HALTED = 70
"""Exit code (EX_SOFTWARE of sysexits.h) of a process that stopped itself: a bug, or damage to its disk. It must not be
tried again: after a failed fsync the kernel calls pages clean that never reached the disk, and a core that read them
would trust votes that a power cut takes away.
"""
EXIT_AGAIN = 75
"""Exit code (EX_TEMPFAIL of sysexits.h) of a core that wants to be started again, however often: to join by snapshot,
or once the disk has room.
"""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Pause before the n-th restart in a row; the last goes on."""
STOP_GRACE_S = 10.0
"""From SIGTERM to SIGKILL: core finishes the block that it is storing, edge its requests."""
READER_CHECK_S = 1.0

log = structlog.get_logger()


class Part(Struct, frozen=True):
    """A process of a node."""

    name: str
    arguments: tuple[str, ...]
    """After `python -m`."""


def parts_of(home: Home, only: str | None = None) -> tuple[Part, ...]:
    """The processes of the node in start order: core and edge, or the one that `only` names (core, edge, gateway, api,
    indexer).
    """
    where = ("--home", str(home.root))
    core = Part("core", ("node.core", *where))
    if only == "core":
        return (core,)
    if only in (None, "edge"):
        edge = Part("edge", ("node.edge", *where))
        return (edge,) if only else (core, edge)
    return (Part(only, ("node.edge", *where, "--only", only)),)


class Supervisor:
    """The processes of one node. `run` until `stop`, or until a part cannot be kept up."""

    def __init__(self, home: Home, parts: Sequence[Part], log_folder: Path | None = None) -> None:
        """Children write to our standard error, or each to a file of `log_folder`."""
        self._home = home
        self._parts = parts
        self._log_folder = log_folder
        self._stopping = asyncio.Event()
        self._ended = {part.name: asyncio.Event() for part in parts}
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self.restarts = 0
        """Processes started again after a death."""

    def pid(self, name: str) -> int | None:
        """Process id of a running part."""
        process = self._processes.get(name)
        return process.pid if process and process.returncode is None else None

    def stop(self) -> None:
        """Begin to stop; `run` returns when all parts have ended."""
        self._stopping.set()

    async def run(self) -> None:
        """Keep the parts up until `stop`. Raises ClientError `part-failed` when one dies again and again."""
        try:
            async with asyncio.TaskGroup() as tasks:
                keepers = [tasks.create_task(self._keep(part)) for part in self._parts]
                watcher = tasks.create_task(self._watch_readers())
                tasks.create_task(self._stop_in_order())
                await asyncio.gather(*keepers)
                watcher.cancel()
        except* ClientError as group:
            raise group.exceptions[0] from None
        finally:
            for process in self._processes.values():
                _signal(process, signal.SIGKILL)

    async def _keep(self, part: Part) -> None:
        quick_deaths = accidents = 0
        while not self._stopping.is_set():
            born = asyncio.get_running_loop().time()
            process = await self._spawn(part)
            if self._stopping.is_set():  # came while the process was being made
                _signal(process, signal.SIGTERM)
            status = await process.wait()
            if self._stopping.is_set():
                break
            lived_s = asyncio.get_running_loop().time() - born
            quick_deaths = quick_deaths + 1 if lived_s < QUICK_DEATH_S else 0
            accidents = accidents + 1 if quick_deaths and status != EXIT_AGAIN else 0
            if status in (EXIT_SETTINGS, EXIT_HALTED) or accidents >= QUICK_DEATHS_MAX:
                message = f"{part.name} of {self._home.root} {_cause(status, accidents)}; see its log"
                if part is self._parts[0]:
                    raise ClientError("part-failed", message)
                # Core goes on without its edge: the others count on its vote.
                log.error("part.given-up", part=part.name, message=message)
                break
            pause_s = BACK_OFF_S[min(quick_deaths, len(BACK_OFF_S) - 1)]
            log.warning("part.died", part=part.name, status=status, lived_s=round(lived_s, 1), restart_in_s=pause_s)
            self.restarts += 1
            await _wait(self._stopping.wait(), pause_s)
        self._ended[part.name].set()

    async def _spawn(self, part: Part) -> asyncio.subprocess.Process:
        output: IO[Any] | None = None
        if self._log_folder:
            path = self._log_folder / f"{self._home.root.name}-{part.name}.log"
            output = path.open("ab")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *part.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own: a terminal's Ctrl-C reaches only the supervisor, which stops the parts in order.
                start_new_session=True,
                preexec_fn=die_with(os.getpid()),
            )
        finally:
            if output:
                output.close()
        self._processes[part.name] = process
        log.info("part.started", part=part.name, pid=process.pid)
        return process

    async def _stop_in_order(self) -> None:
        await self._stopping.wait()
        for part in reversed(self._parts):  # edge first: it lives from core
            process = self._processes.get(part.name)
            if process:
                _signal(process, signal.SIGTERM)
                if not await _wait(self._ended[part.name].wait(), STOP_GRACE_S):
                    log.warning("part.killed", part=part.name, after_s=STOP_GRACE_S)
                    _signal(process, signal.SIGKILL)

    async def _watch_readers(self) -> None:
        """Kill readers of the store that core calls stale: a stopped one makes the LMDB file grow without end."""
        if not any(part.name == "core" for part in self._parts):
            return
        from node.ipc.socket import CoreClient

        while True:
            await asyncio.sleep(READER_CHECK_S)
            with suppress(OSError, EOFError):  # core is starting or gone: the keeper sees to it
                client = await CoreClient.connect(self._home.socket)
                try:
                    while True:
                        for pid in (await client.status())["stale_readers"]:
                            log.warning("reader.killed", pid=pid)
                            with suppress(ProcessLookupError):
                                os.kill(pid, signal.SIGKILL)
                        await asyncio.sleep(READER_CHECK_S)
                finally:
                    await client.close()


def _cause(status: int, accidents: int) -> str:
    if status == EXIT_HALTED:
        return f"halted itself (status {status}) and is not started again: a bug, or damage to its disk"
    why = "; reading a damaged ledger does that, `pilechain repair` examines it" if -status in DEATHS_BY_DAMAGE else ""
    return f"died {accidents} times within seconds (status {status}{why})"


async def _wait(event: Awaitable[Any], timeout_s: float) -> bool:
    """Whether the event came within the time."""
    try:
        async with asyncio.timeout(timeout_s):
            await event
    except TimeoutError:
        return False
    return True


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(number)


async def supervise(home: Home, only: str | None = None) -> None:
    """Run a node until SIGINT or SIGTERM. Raises ClientError `part-failed`."""
    config = home.config()
    configure_logs(config.log, company=config.node.company, process="supervisor")
    supervisor = Supervisor(home, parts_of(home, only))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stop)
    await supervisor.run()
