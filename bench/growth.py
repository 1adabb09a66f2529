"""W4: what a payment, a node and its disk cost as the consortium, the state and the chain grow.

Each point is a consortium of its own under the load of W1: n validators, a state of so many keys, payments from a few
thousand wallets to any of the others. Costs are shown in t_verify as well, measured beside each point, because the
machine is shared and its speed drifts. Then one chain grows by blocks of one payment, and a core is started again at
several lengths.

Start-up is the time from the start of a core's process until it answers at its socket, sees a quorum of the others and
votes; the others are idle meanwhile.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import linear_regression
from typing import Any

from msgspec import Struct

from bench.big_state import OPERATORS, give_state
from bench.consortium import Member, about, report, running
from bench.crypto import VerifyMeter, verify_meter
from bench.load import sign_payment
from bench.payments import under_load
from ledger.codec import encode
from ledger.keys import Scheme, SoftSigner
from node.memory import private_memory
from node.storage.layout import DATA_FILE
from node.testnet.consortium import Driver
from node.testnet.make import Testnet

MIB = 1 << 20
SCHEME = Scheme.ED25519
SEAL_S_MAX = 30.0
"""For the seal of one payment."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is measured."""

    points: tuple[tuple[int, int], ...]
    """(validators, keys of the state), the first being what the others are compared with."""
    lengths: tuple[int, ...]
    """Of the chain, in blocks, at which a core is started again."""
    seconds: float
    """Of load per point."""
    payers: int
    """Wallets that pay; all others are paid."""
    chain_s_max: float
    """For the growth of the chain: a slow machine ends with a shorter one."""


FULL = Plan(
    points=((4, 10_000), (4, 100_000), (4, 1_000_000), (7, 10_000), (13, 10_000)),
    lengths=(100, 1_000, 3_000),
    seconds=10.0,
    payers=2_500,
    chain_s_max=200.0,
)
QUICK = Plan(
    points=((4, 10_000), (4, 100_000), (7, 10_000)),
    lengths=(50, 200),
    seconds=3.0,
    payers=2_500,
    chain_s_max=30.0,
)


def run(plan: Plan, file: Path | None) -> None:
    """Measure, print the figures, and write the JSON file."""
    report(asyncio.run(growth(plan)), file)


async def growth(plan: Plan) -> dict[str, Any]:
    """Run the benchmark and return its figures."""
    with verify_meter(SCHEME) as meter:
        points = [await _point(plan, meter, nodes, keys) for nodes, keys in plan.points]
        chain = await _chain(plan, meter)
    nodes = sorted({nodes for nodes, _ in plan.points})
    return about(nodes, SCHEME) | {"points": points, "chain": chain, "laws": laws(points, chain)}


# ── one point ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _point(plan: Plan, meter: VerifyMeter, nodes: int, keys: int) -> dict[str, Any]:
    payees: list[bytes] = []

    def prepare(testnet: Testnet) -> None:
        payees.extend(give_state(testnet, keys))

    drivers = _payers(plan.payers)
    async with running(nodes, SCHEME, drivers, prepare) as (testnet, members):
        signers = [testnet.signer("driver", driver.name) for driver in drivers]
        first, second = members[0], members[1]
        start_s = await second.restart()
        memory = {"start": _memory_mib(first)}
        ledger_bytes, used, written = _file_bytes(first), _bytes_used(first), _written_bytes(first)
        loaded = await under_load(members, meter, signers, payees, plan.seconds)
        written = _written_bytes(first) - written
        memory["loaded"] = _memory_mib(first)
        growth_bytes = {name: size - used[name] for name, size in _bytes_used(first).items()}
        disk = {
            "state_mib": _mib(ledger_bytes),
            "loaded_mib": _mib(_file_bytes(first)),
            "log_mib": _mib(_log_bytes(first)),
            "bytes_per_payment": _shares(growth_bytes, loaded["sealed"]),
            "written_bytes_per_payment": round(written / max(loaded["sealed"], 1)),
        }
        sealed_bytes, signatures = _mean_header(first)
        return {
            "nodes": nodes,
            "keys": keys,
            **loaded,
            "blocks": first.height(),
            "payments_per_block": round(loaded["sealed"] / max(first.height(), 1)),
            "start_s": round(start_s, 2),
            "start_loaded_s": round(await second.restart(), 2),
            "private_memory": memory,
            "disk": disk,
            "sealed_header_bytes": round(sealed_bytes),
            "seal_signatures": signatures,
        }


def _payers(count: int) -> list[Driver]:
    return [Driver(f"payer {number}", OPERATORS[number % len(OPERATORS)], 1_000_000) for number in range(count)]


def _memory_mib(member: Member) -> dict[str, float]:
    found = private_memory(member.process.pid)
    return {"private_mib": _mib(found.private_bytes), "anonymous_mib": _mib(found.anonymous_bytes)}


def _bytes_used(member: Member) -> dict[str, int]:
    with member.reader.snapshot() as snapshot:
        return snapshot.bytes_used()


def _file_bytes(member: Member) -> int:
    return (member.home.ledger / DATA_FILE).stat().st_size


def _log_bytes(member: Member) -> int:
    return sum(path.stat().st_size for path in member.home.wal.glob("*.wal"))


def _written_bytes(member: Member) -> int:
    """What the process has sent to the disk: log and ledger, each page as often as it was written."""
    lines = Path(f"/proc/{member.process.pid}/io").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


def _mean_header(member: Member) -> tuple[float, int]:
    """Mean bytes of a stored header with its seal, and the newest seal's signatures."""
    sizes, signatures = [0], 0
    with member.reader.snapshot() as snapshot:
        for height in range(1, snapshot.height + 1):
            sealed = snapshot.sealed(height)
            if sealed:
                sizes.append(len(encode(sealed)))
                signatures = len(sealed.seal)
    return sum(sizes) / max(len(sizes) - 1, 1), signatures


def _shares(sizes: dict[str, int], count: int) -> dict[str, float]:
    """Bytes by database and in all, for each of so many."""
    each = {name: round(size / max(count, 1), 1) for name, size in sizes.items() if size}
    return each | {"all": round(sum(sizes.values()) / max(count, 1), 1)}


def _mib(size: int) -> float:
    return round(size / MIB, 1)


# ── the chain ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _chain(plan: Plan, meter: VerifyMeter) -> dict[str, Any]:
    """Let a chain of four grow by one payment a block, and start a core again at each length."""
    drivers = _payers(len(OPERATORS))
    async with running(4, SCHEME, drivers) as (testnet, members):
        payers = [testnet.signer("driver", driver.name) for driver in drivers]
        first, second = members[0], members[1]
        ceilings = [meter.measure_us(0.5)]
        used = _bytes_used(first)
        until = time.perf_counter() + plan.chain_s_max
        rows: list[dict[str, Any]] = []
        for length in plan.lengths:
            await _grow(first, payers, length, until)
            rows.append(
                {
                    "blocks": first.height(),
                    "start_s": round(await second.restart(), 2),
                    "ledger_mib": _mib(_file_bytes(first)),
                    "log_mib": _mib(_log_bytes(first)),
                    "memory": _memory_mib(first),
                }
            )
        ceilings.append(meter.measure_us(0.5))
        growth_bytes = {name: size - used[name] for name, size in _bytes_used(first).items()}
        return {
            "nodes": len(members),
            "t_verify_us": round(sum(ceilings) / len(ceilings), 1),
            "lengths": rows,
            "bytes_per_block": _shares(growth_bytes, first.height()),
        }


async def _grow(member: Member, payers: Sequence[SoftSigner], length: int, until: float) -> None:
    """Submit a payment at each seal until the chain has so many blocks, or the time is over."""
    chain_id = member.home.genesis().hash()
    payee = payers[0].public_key
    async with asyncio.timeout(max(0.0, until - time.perf_counter()) + SEAL_S_MAX):
        async for height in member.client.sealed():
            if height >= length or time.perf_counter() > until:
                return
            raw = sign_payment(payers[1], payee, 1, chain_id, height)
            ((code, message),) = await member.client.submit([raw])
            if code:
                raise RuntimeError(f"a payment was refused: {code}: {message}")


# ── laws ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def laws(points: Sequence[dict[str, Any]], chain: dict[str, Any]) -> dict[str, Any]:
    """Straight lines through the figures, where there are two to draw one through."""
    found: dict[str, Any] = {}
    nodes, keys = points[0]["nodes"], points[0]["keys"]
    by_keys = sorted((p for p in points if p["nodes"] == nodes), key=lambda p: p["keys"])
    by_nodes = sorted((p for p in points if p["keys"] == keys), key=lambda p: p["nodes"])
    lengths = chain["lengths"]
    if len(by_keys) > 1:
        decades = [math.log10(p["keys"]) for p in by_keys]
        line = linear_regression(decades, [p["cpu_us_per_tx_node"] for p in by_keys])
        found["cpu_us_per_tx_node_each_decade_of_keys"] = round(line.slope, 1)
        for name in ("cpu_us_per_tx_node", "cpu_in_t_verify"):
            found[f"{name}_most_to_fewest_keys"] = round(by_keys[-1][name] / by_keys[0][name], 3)
    if len(by_nodes) > 1:
        count = [p["nodes"] for p in by_nodes]
        for name, unit in (("sealed_header_bytes", "bytes"), ("cpu_us_per_tx_node", "us")):
            line = linear_regression(count, [p[name] for p in by_nodes])
            found[f"{name}_of_validators"] = {
                f"fixed_{unit}": round(line.intercept, 2),
                f"each_{unit}": round(line.slope, 3),
            }
    if len(lengths) > 1 and lengths[0]["blocks"] < lengths[-1]["blocks"]:
        line = linear_regression([row["blocks"] for row in lengths], [row["start_s"] for row in lengths])
        found["start_of_blocks"] = {"fixed_s": round(line.intercept, 2), "each_1000_s": round(line.slope * 1000, 3)}
    return found
