"""What goes wrong on the demo day: nodes are killed with kill -9, once whichever, once the present primary, and come
back by themselves.
"""

import asyncio
import os
import random
import signal
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from ledger.errors import ClientError
from node.demo.chronicle import Chronicle
from node.demo.drivers import Outcome
from node.home import Home
from node.ipc.status import core_status
from node.storage.reader import LedgerReader, Place
from node.supervisor import Supervisor

KILLS = ((0.35, False), (0.6, True))
"""(part of the day's cars that have come, whether it must be the present primary)."""
BACK_S_MAX = 60.0
"""A node that is not level with the others by then does not count as back."""
LOOK_S = 0.25


class Fault(Struct):
    """One fault and what came of it."""

    what: str
    height: int
    """Sealed when it happened."""
    back_s: float | None = None
    """Until the new process had sealed all that the other nodes had by then; None if it did not."""
    back_height: int | None = None
    """Sealed by the others then."""
    lost: int = 0
    """Transactions acknowledged before it that the node does not have at their place afterwards."""


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
            await self._kill_core(primary, tuple(outcome.acknowledged))

    def lines(self) -> Iterator[str]:
        """What to show of them."""
        for fault in self.done:
            back = "not back yet" if fault.back_s is None else f"back and level after {fault.back_s} s"
            yield f"{fault.what} at block {fault.height}: {back}"

    async def _kill_core(self, primary: bool, acknowledged: tuple[tuple[bytes, Place], ...]) -> None:
        """Kill a core process, wait until it is back and level, and look for what clients hold receipts of."""
        company = await self._primary() if primary else self._rng.choice(sorted(self._supervisors))
        role = "the present primary" if primary else "a validator"
        fault = Fault(f"kill -9 of {company}'s core, {role}", self._chronicle.height)
        self.done.append(fault)
        pid = self._supervisors[company].pid("core")
        if pid is None:
            fault.what += ", which was not running"
            return
        loop = asyncio.get_running_loop()
        began = loop.time()
        os.kill(pid, signal.SIGKILL)
        while loop.time() - began < BACK_S_MAX:
            await asyncio.sleep(LOOK_S)
            peers = max(height for name, height in self._chronicle.heights().items() if name != company)
            restarted = self._supervisors[company].pid("core") not in (None, pid)
            if restarted and (await core_height(self._homes[company]) or 0) >= peers:
                fault.back_s, fault.back_height = round(loop.time() - began, 1), peers
                break
        fault.lost = count_lost(self._chronicle.reader(company), acknowledged)

    async def _primary(self) -> str:
        """Who leads the next block, as the first node that answers says."""
        for company in sorted(self._homes):
            try:
                return str((await core_status(self._homes[company]))["primary"])
            except ClientError:
                continue
        return sorted(self._homes)[0]


async def core_height(home: Home) -> int | None:
    """What a node's core has sealed; None while it does not answer."""
    try:
        return int((await core_status(home))["sealed"])
    except ClientError:
        return None


def count_lost(reader: LedgerReader, acknowledged: Iterable[tuple[bytes, Place]]) -> int:
    """Transactions that a node's store does not have, or has elsewhere than their receipts say."""
    with reader.snapshot() as snapshot:
        return sum(snapshot.locate(tx_id) != place for tx_id, place in acknowledged)
