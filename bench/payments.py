"""W1: signed wallet payments, sealed, beside the machine's own ceiling, and W3: where the CPU time goes.

Every node verifies every transaction once, and all nodes share this machine's cores, so no implementation that verifies
one by one can seal more than L = cores / (n x t_verify). L is measured between the slices of load, on the idle nodes,
because the machine is shared and its speed drifts.

The rate is that of a chain under load: in each slice from the first seal after a second of load to the last seal while
payments are still offered, so neither filling nor emptying the pipeline counts. CPU time and stages are those of all
payments. Only payments whose receipt says done count as sealed.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from bench.consortium import Member, about, percentiles_ms, report, running
from bench.crypto import CORES, VerifyMeter, verify_meter
from bench.load import Load, sign_payments
from ledger.block import Result
from ledger.codec import decode_trusted
from ledger.keys import Scheme, SoftSigner
from node.testnet.consortium import Driver

ACCOUNTS = 10_000
"""Wallets that pay one another, spread over four operators."""
SLICE_S = 5.0
"""Of counted load between two looks at the ceiling."""
FILL_S = 1.0
"""Of load before the counting begins."""
CEILING_S = 0.5
"""Each look at the ceiling, before every slice and after the last."""


class Usage(Struct):
    """What the nodes' processes have used, all of them together."""

    cpu_us: int
    stages_us: Counter[str]


class Slice(Struct):
    """A stretch of load."""

    sealed: int
    """Payments sealed in the counted time."""
    seconds: float
    """The counted time."""
    cpu_us: int
    stages_us: Counter[str]


def run(nodes: int, seconds: float, scheme: Scheme, file: Path | None) -> None:
    """Run for so many seconds of counted load, print the figures, and write the JSON file."""
    report(asyncio.run(payments(nodes, seconds, scheme)), file)


async def payments(nodes: int, seconds: float, scheme: Scheme) -> dict[str, Any]:
    """Run the benchmark and return its figures."""
    drivers = [Driver(f"payer {number}", _home(number), 1_000_000) for number in range(ACCOUNTS)]
    with verify_meter(scheme) as meter:
        async with running(nodes, scheme, drivers) as (testnet, members):
            signers = [testnet.signer("driver", driver.name) for driver in drivers]
            payees = [signer.public_key for signer in signers]
            figures = await under_load(members, meter, signers, payees, seconds)
    return about(nodes, scheme) | figures | {"accounts": ACCOUNTS}


async def under_load(
    members: Sequence[Member],
    meter: VerifyMeter,
    signers: Sequence[SoftSigner],
    payees: Sequence[bytes],
    seconds: float,
) -> dict[str, Any]:
    """Load running nodes for so many seconds with payments of the signers; return the figures."""
    load = Load(members)
    async with asyncio.TaskGroup() as group:  # a follower that fails ends the run
        followers = [group.create_task(load.follow(number)) for number in range(len(members))]
        slices, ceilings = await _alternate(load, meter, signers, payees, seconds)
        for follower in followers:
            follower.cancel()
    are_equal = await _state_roots_equal(members)
    return _figures(len(members), load, slices, ceilings) | {"state_roots_equal": are_equal}


async def _alternate(
    load: Load, meter: VerifyMeter, signers: Sequence[SoftSigner], payees: Sequence[bytes], seconds: float
) -> tuple[list[Slice], list[float]]:
    """Slices of load, and t_verify in µs before, between and after them."""
    nodes = len(load.members)
    chain_id = load.members[0].home.genesis().hash()
    slices: list[Slice] = []
    ceilings = [meter.measure_us(CEILING_S)]
    count = max(1, round(seconds / SLICE_S))
    for part in range(count):
        offered_s = FILL_S + seconds / count
        count_max = int(offered_s * _ceiling_tps(min(ceilings), nodes))
        queue = sign_payments(signers, payees, chain_id, count_max, part)
        slices.append(await _measure(load, queue, offered_s))
        ceilings.append(meter.measure_us(CEILING_S))
    return slices, ceilings


async def _measure(load: Load, queue: deque[list[bytes]], offered_s: float) -> Slice:
    before = await _usage(load.members)
    first = len(load.seals)
    begun = time.perf_counter()
    await load.offer(queue, begun + offered_s)
    after = await _usage(load.members)
    counted = [seal for seal in load.seals[first:] if FILL_S <= seal[0] - begun <= offered_s]
    begin, end = (counted[0], counted[-1]) if counted else ((0.0, 0), (0.0, 0))
    return Slice(end[1] - begin[1], end[0] - begin[0], after.cpu_us - before.cpu_us, after.stages_us - before.stages_us)


def _figures(nodes: int, load: Load, slices: Sequence[Slice], ceilings: Sequence[float]) -> dict[str, Any]:
    tally = load.tally
    counted_s = sum(part.seconds for part in slices)
    sealed_tps = sum(part.sealed for part in slices) / counted_s if counted_s else 0.0
    t_verify_us = sum(ceilings) / len(ceilings)
    ceiling_tps = _ceiling_tps(t_verify_us, nodes)
    share = max(tally.sealed, 1) * nodes
    cpu_us = sum(part.cpu_us for part in slices) / share
    stages = sum((part.stages_us for part in slices), Counter[str]())
    stages_us = {stage: round(us / share, 1) for stage, us in sorted(stages.items())}
    return {
        "seconds": round(counted_s, 1),
        "sealed_tps": round(sealed_tps),
        "ceiling_tps": round(ceiling_tps),
        "ratio": round(sealed_tps / ceiling_tps, 3),
        "t_verify_us": round(t_verify_us, 1),
        "cpu_us_per_tx_node": round(cpu_us, 1),
        "cpu_in_t_verify": round(cpu_us / t_verify_us, 2),
        "stages_us": stages_us | {"rest": round(cpu_us - sum(stages_us.values()), 1)},
        "latency_ms": percentiles_ms(load.latencies_ms),
        "sent": tally.sent,
        "sealed": tally.sealed,
        "rejected": dict(tally.refused) | {str(code): count for code, count in sorted(tally.failed.items())},
    }


def _ceiling_tps(t_verify_us: float, nodes: int) -> float:
    return CORES * 1e6 / (nodes * t_verify_us)


def _home(number: int) -> str:
    return ("SGCC", "Teld", "Potevio", "StarCharge")[number % 4]


async def _usage(members: Sequence[Member]) -> Usage:
    stages_us: Counter[str] = Counter()
    for member in members:
        stages_us.update((await member.client.status())["stages_us"])
    return Usage(sum(member.cpu_us() for member in members), stages_us)


async def _state_roots_equal(members: Sequence[Member]) -> bool:
    """Whether all nodes sealed the same state at the newest height that they all have."""
    common = min(member.height() for member in members)
    roots = set()
    for member in members:
        with member.reader.snapshot() as snapshot:
            sealed = snapshot.sealed(common)
            roots.add(decode_trusted(Result, sealed.result).state_root if sealed else None)
    return len(roots) == 1
