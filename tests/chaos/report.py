"""What a chaos run tells: a line for each wave, a table by kind of fault, and all of it as JSON."""

from collections import defaultdict
from statistics import median

import msgspec
from msgspec import Struct

from tests.chaos.plan import Fault


class WaveOutcome(Struct, frozen=True):
    """What a wave did."""

    number: int
    tolerated: bool
    faults: tuple[Fault, ...]
    seconds: float
    """From its begin to the end of its last fault."""
    gap_s: float
    """Longest time, from its begin until the chain had gone on after it, in which no client got a receipt from a new
    height.
    """
    chain_s: float
    """From the end of the faults until a client had a receipt from a second new block."""
    members_s: dict[str, float]
    """Until each member voted, had reached the others, was connected to all, and its API told of it; the members are
    asked one after the other.
    """

    def line(self) -> str:
        """In one line."""
        kinds = ", ".join(f"{fault.kind} {fault.victim}" for fault in self.faults)
        well_s = max(self.members_s.values())
        return (
            f"{self.number:3} {'tolerated' if self.tolerated else 'storm    '} {self.seconds:5.1f} s, "
            f"gap {self.gap_s:4.1f}, next block {self.chain_s:4.1f}, all well {well_s:4.1f}: {kinds}"
        )


class Report(Struct, frozen=True):
    """The whole run."""

    seed: int
    seconds: float
    faults: dict[str, int]
    """By kind."""
    waves: list[WaveOutcome]
    payments: dict[str, int]
    """By outcome."""
    executed: int
    done: int
    """Of them, with money moved."""
    height: int
    reads: dict[str, int]
    """By node."""
    requests: dict[str, int]
    """By how they ended."""
    memory_mib: dict[str, dict[str, int]]
    """Member → part → most that a process of it held at any time."""
    log: dict[str, int]
    """Warnings and errors of the nodes by event."""
    violations: list[str]

    def json(self) -> bytes:
        """All of it."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1)

    def lines(self) -> list[str]:
        """In lines, with a table by kind."""
        rows: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
        for wave in self.waves:
            for fault in wave.faults:
                victim_s = wave.members_s[fault.victim] if fault.victim else max(wave.members_s.values())
                rows[fault.kind].append((wave.gap_s, wave.chain_s, victim_s))
        lines = [f"{'fault':16}{'times':>6}{'gap s':>14}{'next block s':>16}{'victim well s':>16}   (median, longest)"]
        for kind, figures in sorted(rows.items()):
            cells = [f"{median(column):.1f}, {max(column):.1f}" for column in zip(*figures, strict=True)]
            lines.append(f"{kind:16}{len(figures):>6}{cells[0]:>14}{cells[1]:>16}{cells[2]:>16}")
        lines += [
            f"{sum(self.faults.values())} faults in {len(self.waves)} waves, {self.seconds:.0f} s, seed {self.seed}",
            f"payments: {_told(self.payments)}; {self.executed} executed, {self.done} done",
            f"{self.height} blocks, {sum(self.reads.values())} reads",
            f"requests: {_told(self.requests)}",
            f"memory MiB: {self.memory_mib}",
            f"warnings and errors: {_told(self.log)}",
            f"violations: {len(self.violations)}",
            *self.violations[:50],
        ]
        return lines


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
