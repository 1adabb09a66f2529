"""Memory of processes as the kernel accounts it."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class PrivateMemory(NamedTuple):
    """What one process alone has in memory."""

    private_bytes: int
    """All of it. Pages of the ledger's file count, if no other process reads the same ones."""
    anonymous_bytes: int
    """What no file stands behind. The rest the kernel takes back when it needs room."""


def pss_bytes(pids: Iterable[int]) -> int:
    """Proportional set size of these processes together: private memory, and each shared page divided by its sharers.
    Dead ones count 0.
    """
    return sum(_rollup_bytes(pid).get("Pss", 0) for pid in pids)


def private_memory(pid: int) -> PrivateMemory:
    """Private memory of a process; of a dead one, zero."""
    found = _rollup_bytes(pid)
    private = found.get("Private_Clean", 0) + found.get("Private_Dirty", 0)
    return PrivateMemory(private, found.get("Anonymous", 0))


def _rollup_bytes(pid: int) -> dict[str, int]:
    """The kernel's sums over a process's mappings by name; nothing for a dead one."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: int(amount.split()[0]) * 1024 for name, _, amount in (line.partition(":") for line in lines)}
