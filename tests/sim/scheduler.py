"""Seeded time: what happens next, and when. Nothing in a simulation looks at another clock."""

import heapq
from collections.abc import Callable
from typing import Any


class Scheduler:
    """Actions in the order of their time, then of their planning."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._planned = 0

    def after(self, delay_ms: int, action: Callable[..., object], *arguments: object) -> None:
        """Plan an action."""
        self._planned += 1
        heapq.heappush(self._queue, (self.now_ms + delay_ms, self._planned, action, arguments))

    def run_until(self, time_ms: int) -> None:
        """Do everything that is planned up to `time_ms`."""
        queue = self._queue
        while queue and queue[0][0] <= time_ms:
            self.now_ms, _, action, arguments = heapq.heappop(queue)
            self.steps += 1
            action(*arguments)
        self.now_ms = time_ms
