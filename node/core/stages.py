"""CPU time by stage of a transaction's way: where the work goes, for the benchmark's split and for the operator's
metrics.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """CPU microseconds of this process by stage, since its start.

    Measured as the CPU time of the thread that does the work, so waiting for a lock, a disk or a core does not count.
    Each stage is measured by one thread, or on batches so large that an addition lost between two threads does not
    matter.
    """

    def __init__(self) -> None:
        self._cpu_ns: Counter[str] = Counter()

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the CPU time of the block to a stage. Costs about 2 µs: for batches, not for single transactions."""
        begun = time.thread_time_ns()
        try:
            yield
        finally:
            self._cpu_ns[stage] += time.thread_time_ns() - begun

    def cpu_us(self) -> dict[str, int]:
        """Stage -> CPU µs so far, sorted by name."""
        return {stage: self._cpu_ns[stage] // 1_000 for stage in sorted(self._cpu_ns)}
