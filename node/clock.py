"""The chain clock: one formula that nodes, devices and the demonstration all read.

Chain time is wall time on a real chain. A demonstration may run it from another moment and N times faster; every limit
that is counted in chain time then stands in the genesis document, multiplied by N. Protocol timers do not come from
here: they run on the steady real clock.
"""

import time
from typing import Annotated

from msgspec import Meta, Struct


class ChainClock(Struct, frozen=True):
    """Chain time = base_chain_ms + (wall time - base_wall_ms) x speed. With both bases 0 and speed 1 it is the wall
    clock. The section `clock` of a node's settings is one.
    """

    base_chain_ms: int = 0
    base_wall_ms: int = 0
    speed: Annotated[int, Meta(ge=1, le=10_000, description="a whole factor from 1 to 10000")] = 1

    def now_ms(self) -> int:
        """Chain time now, in ms since 1970."""
        return self.at(time.time_ns() // 1_000_000)

    def at(self, wall_ms: int) -> int:
        """Chain time at a wall time, both in ms since 1970."""
        return self.base_chain_ms + (wall_ms - self.base_wall_ms) * self.speed


def steady_ms() -> int:
    """Monotonic real time in ms: what time-outs are counted on. Setting the wall clock does not move it."""
    return time.monotonic_ns() // 1_000_000
