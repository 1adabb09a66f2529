"""What is done to members takes hold, and ends when it should."""

import asyncio
import signal
import subprocess
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.chaos import members
from tests.chaos.members import Injector, Member
from tests.chaos.plan import Fault, Kind, Wave
from tests.chaos.run import Town
from tests.chaos.test_proxy import A, B, talking

WITHIN_S = 10


class Lone(Member):
    """A member whose core does nothing."""

    def __init__(self):
        self.peak_mib, self._stops = Counter(), Counter()
        self.begin()

    def begin(self):
        self.core = subprocess.Popen(["sleep", "600"])

    def pids(self):
        return {"core": self.core.pid}

    def is_stopped(self):
        return Path(f"/proc/{self.core.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    async def until_stopped(self, stopped):
        async with asyncio.timeout(WITHIN_S):
            while self.is_stopped() is not stopped:  # noqa: ASYNC110 - the kernel has no event
                await asyncio.sleep(0.01)


@pytest.fixture
def lone():
    member = Lone()
    yield member
    member.core.kill()
    member.core.wait()


async def test_a_process_that_two_faults_stop_goes_on_when_both_are_over(lone):
    async with lone.stopped("core"):
        async with lone.stopped("core"):
            await lone.until_stopped(True)
        await asyncio.sleep(0.05)
        assert lone.is_stopped()
    await lone.until_stopped(False)


async def test_the_process_that_follows_a_killed_one_is_not_the_one_that_was_stopped(lone):
    async with lone.stopped("core"):
        await lone.kill_part("core")
        assert lone.core.wait(WITHIN_S) == -signal.SIGKILL
        lone.begin()
        async with lone.stopped("core"):
            await lone.until_stopped(True)
        await lone.until_stopped(False)


def strike(proxy: Any, kind: Kind, strength: int = 0) -> "asyncio.Task[None]":
    """A fault that befalls A, of no duration."""

    async def hold() -> None:
        pass

    both: Any = {A: None, B: None}
    return asyncio.create_task(Injector(both, proxy, []).strike(Fault(kind, A, 0.0, 0.0, strength), hold))


@pytest.mark.parametrize(
    ("kind", "strength"), [(Kind.BLACK_HOLE, 0), (Kind.ONE_WAY, 0), (Kind.DELAY, 50), (Kind.SLOW_LINE, 20_000)]
)
async def test_a_fault_of_a_line_lasts_until_something_was_on_the_line(kind, strength):
    async with talking() as (proxy, _, reader, writer, _):
        struck = strike(proxy, kind, strength)
        await asyncio.sleep(0.1)
        assert not struck.done()
        writer.write(b"x")
        await asyncio.wait_for(struck, WITHIN_S)
        assert await asyncio.wait_for(reader.readexactly(1), WITHIN_S) == b"x"


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.HALF_OPEN, Kind.REORDER])
async def test_a_fault_of_connections_lasts_until_there_was_one(kind, monkeypatch):
    monkeypatch.setattr(members, "REORDER_S", 0.01)
    async with talking() as (proxy, _, _, writer, dial):
        proxy.leave_half_open(B, A)  # the echo hears no more
        writer.close()
        async with asyncio.timeout(WITHIN_S):
            while proxy.leave_half_open(A, B):  # noqa: ASYNC110 - until the proxy has seen the end
                await asyncio.sleep(0.01)
        struck = strike(proxy, kind)
        await asyncio.sleep(0.1)
        assert not struck.done()
        _, writer = await dial()
        await asyncio.wait_for(struck, WITHIN_S)
        writer.close()


async def test_a_brief_stop_waits_for_no_block_and_a_long_one_for_two_without_asking_its_victim():
    asked: list[Any] = []

    async def until_above(height):
        asked.append(height)

    class Core:
        def __init__(self, name, sealed):
            self.name, self.sealed = name, sealed

        async def status(self):
            asked.append(self.name)
            return {"sealed": self.sealed}

    cores: Any = {A: Core(A, 9), B: Core(B, 7)}
    clients: Any = SimpleNamespace(height=3, history=SimpleNamespace(wrong=[]), until_above=until_above)
    town = Town(cores, clients, proxy=cores)
    for kind in (Kind.STOP_CORE, Kind.STOP_CORE_LONG):
        fault = Fault(kind, A, 0.0, 0.0, 0)
        await town._hold("", Wave(True, (fault,)), fault)
    assert asked == [B, 7 + 1]
