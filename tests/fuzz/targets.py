"""All parsers of outside bytes, each with what it is fed: `python -m tests.fuzz` runs them by the clock, pytest runs
each for a fixed number of inputs, and `test_targets.py` finds the parser that has no target.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from msgspec import Struct

from tests.fuzz.engine import Target

Make = Callable[[Path], AbstractContextManager[Target]]
"""Sets a target up in a folder of its own, and clears away behind it."""


class Entry(Struct):
    """A target and the parsers that it reaches."""

    make: Make
    parsers: tuple[str, ...]
    """As `module.function` or `module.Class.method`."""


TARGETS: dict[str, Entry] = {}


def target(*parsers: str) -> Callable[[Callable[[Path], Iterator[Target]]], Callable[[Path], Iterator[Target]]]:
    """Register a generator that yields one target; its name is the function's."""

    def register(make: Callable[[Path], Iterator[Target]]) -> Callable[[Path], Iterator[Target]]:
        TARGETS[make.__name__] = Entry(contextmanager(make), parsers)
        return make

    return register


def load() -> dict[str, Entry]:
    """All targets."""
    # They register themselves.
    from tests.fuzz import (  # noqa: F401
        targets_chain,
        targets_contracts,
        targets_devices,
        targets_files,
        targets_join,
        targets_wire,
    )

    return TARGETS
