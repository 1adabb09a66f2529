"""Seeded time: what happens next, and when. Nothing in a simulation looks at another clock."""

import heapq
from collections.abc import Callable


class Scheduler:
    """Actions in the order of their time, then of their planning."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._planned = 0

    def after(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Plan an action."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._planned, action))

    def run_until(self, time_ms: int) -> None:
        """Do everything that is planned up to `time_ms`."""
        while self._queue and self._queue[0][0] <= time_ms:
            self.now_ms, _, action = heapq.heappop(self._queue)
            self.steps += 1
            action()
        self.now_ms = time_ms
