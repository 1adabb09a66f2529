"""What goes wrong on the demo day: nodes are killed with kill -9, once whichever, once the present primary, and come
back by themselves.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Mapping

from msgspec import Struct

from ledger.errors import ClientError
from node.core_status import core_status
from node.demo.chronicle import Chronicle
from node.demo.drivers import Outcome
from node.home import Home
from node.supervisor import Supervisor

KILLS = ((0.35, False), (0.6, True))
"""(part of the day's cars that have come, whether it must be the present primary)."""
BACK_S_MAX = 60.0
"""A node that has not caught up by then counts as lost."""
LOOK_S = 0.25


class Fault(Struct):
    """One fault and what came of it."""

    what: str
    height: int
    """Sealed when it happened."""
    acknowledged: int
    """Sealed receipts that clients held then: none of them may be lost."""
    back_s: float | None = None
    """Until the node had sealed a later block itself; None if it did not."""
    company: str = ""


class Faults:
    """Kills nodes as the day goes on."""

    def __init__(
        self, homes: Mapping[str, Home], supervisors: Mapping[str, Supervisor], chronicle: Chronicle, seed: int
    ) -> None:
        self._homes = homes
        self._supervisors = supervisors
        self._chronicle = chronicle
        self._rng = random.Random(f"faults {seed}")
        self.done: list[Fault] = []

    async def run(self, outcome: Outcome, total: int) -> None:
        """Kill a core when part of the day's cars have come, and the present primary's when more have."""
        for part, primary in KILLS:
            while outcome.offered < part * total:  # noqa: ASYNC110 - the day has no event for it
                await asyncio.sleep(LOOK_S)
            await self._kill_core(primary, len(outcome.acknowledged))

    def lines(self) -> Iterator[str]:
        """What to show of them."""
        for fault in self.done:
            back = "not back yet" if fault.back_s is None else f"back and level after {fault.back_s} s"
            yield f"{fault.what} at block {fault.height}: {back}"

    async def _kill_core(self, primary: bool, acknowledged: int) -> None:
        """Kill a core process and wait until it is back and has caught up."""
        company = await self._primary() if primary else self._rng.choice(sorted(self._supervisors))
        pid = self._supervisors[company].pid("core")
        if pid is None:
            return
        role = "the present primary" if primary else "a validator"
        fault = Fault(f"kill -9 of {company}'s core, {role}", self._chronicle.height, acknowledged, company=company)
        self.done.append(fault)
        loop = asyncio.get_running_loop()
        began = loop.time()
        os.kill(pid, signal.SIGKILL)
        while loop.time() - began < BACK_S_MAX:
            await asyncio.sleep(LOOK_S)
            if await self._sealed(company) > fault.height:
                fault.back_s = round(loop.time() - began, 1)
                return

    async def _primary(self) -> str:
        """Who leads the next block, as the first node that answers says."""
        for company in sorted(self._homes):
            try:
                return str((await core_status(self._homes[company]))["primary"])
            except ClientError:
                continue
        return sorted(self._homes)[0]

    async def _sealed(self, company: str) -> int:
        try:
            return int((await core_status(self._homes[company]))["sealed"])
        except ClientError:
            return -1
