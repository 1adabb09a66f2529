"""Execution alone: µs per payment and per session through the executor, on a state in memory.

Run as `python -m bench.contracts`. No signatures, tree or disk: those have their own stages.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from contracts.abi import GAS_LIMIT
from contracts.contract import Role
from contracts.executor import BlockInput, BlockOutcome, run
from contracts.genesis import AccountSetup, CompanySetup, Consortium, FeeSetup, PileSetup, genesis_state
from contracts.memory import MemoryState
from contracts.records.registry import MeterState, Pile, PileKind
from contracts.records.tariff import ServiceFee
from ledger.block import Receipt
from ledger.charging import BorderReading
from ledger.codec import decode, encode
from ledger.errors import require
from ledger.genesis import Genesis, Parameters, Profile
from ledger.tariff import Period, Tariff
from ledger.transaction import Body, Signed, Transaction, transaction_id, transaction_leaf
from ledger.validators import Validator, ValidatorSet
from node.library import library, library_abi

T0_MS = 1_800_000_000_000
OPERATORS = ("Potevio", "SGCC", "StarCharge", "Teld")
ACCOUNTS = 10_000
PILES = 1_000
BLOCK = 1_000
ROUNDS = 5


def key(kind: int, number: int) -> bytes:
    """A stand-in for a public key: execution never looks inside."""
    return bytes([1, kind]) + number.to_bytes(31, "big")


def make_genesis() -> Genesis:
    """Four operators, a grid company, accounts and piles in turn."""
    members = tuple(Validator(name, key(1, i), key(2, i), key(3, i)[1:]) for i, name in enumerate(OPERATORS))
    companies = tuple(
        CompanySetup(name, name, (Role.OPERATOR,), key(1, i), 10**11, 10**6) for i, name in enumerate(OPERATORS)
    )
    grid = CompanySetup("Grid", "Grid", (Role.GRID,), key(1, 99))
    piles = tuple(
        PileSetup(
            Pile(
                f"pile-{i}", OPERATORS[i % 4], PileKind.OPERATOR, b"", 0, key(5, i), 0, 0, 60_000, 1, "City",
                MeterState.VERIFIED,
            ),
            (0,),
        )
        for i in range(PILES)
    )  # fmt: skip
    consortium = Consortium(
        (*companies, grid),
        tuple(AccountSetup(key(4, i), OPERATORS[i % 4], 10**7) for i in range(ACCOUNTS)),
        piles,
        (Tariff("City", "Grid", T0_MS - 1, 480, (Period(0, 8_500, 6_000),)),),
        tuple(FeeSetup(name, ServiceFee(6_000, 50, 900_000)) for name in OPERATORS),
        library(),
    )
    return Genesis(1, "bench", Profile.MIXED, T0_MS, Parameters(), ValidatorSet(0, members), encode(consortium))


def transaction(sender: bytes, contract: str, method: str, salt: int, **fields: Any) -> Transaction:
    """A transaction with an empty signature."""
    call = library_abi().encode_call(contract, method, **fields)
    body = Body(
        bytes(32), sender, call.branch, call.expiry_class, call.contract, call.method, call.args,
        GAS_LIMIT, T0_MS + 10**9, salt.to_bytes(8, "big"),
    )  # fmt: skip
    encoded = encode(body)
    raw = encode(Signed(encoded, bytes(64)))
    return Transaction(raw, body, bytes(64), transaction_id(encoded), transaction_leaf(raw))


class Bench:
    """A chain in memory with a stop watch on execution."""

    def __init__(self) -> None:
        self.genesis = make_genesis()
        self.state = MemoryState(genesis_state(self.genesis))
        self.height = 0
        self.now_ms = T0_MS

    def block(self, transactions: list[Transaction], after_ms: int = 1_000) -> tuple[int, BlockOutcome]:
        """Execute a block that must succeed whole; returns nanoseconds and the outcome."""
        self.height += 1
        self.now_ms += after_ms
        block = BlockInput(bytes(32), self.height, self.now_ms, "SGCC", tuple(transactions))
        begin = time.perf_counter_ns()
        outcome = run(self.state, block)
        spent = time.perf_counter_ns() - begin
        self.state.apply(outcome.changes)
        codes = {decode(Receipt, raw).code for raw in outcome.receipts}
        require(codes <= {0}, "bench-failed", f"receipts with codes {codes}")
        return spent, outcome


def measure(make: Callable[[int], list[Transaction]], bench: Bench, after_ms: int = 1_000) -> dict[str, float]:
    """Best of some blocks: µs per call, changed keys per call, gas per call, receipt bytes."""
    best = None
    for number in range(ROUNDS):
        batch = make(number)
        spent, outcome = bench.block(batch, after_ms)
        receipts = [decode(Receipt, raw) for raw in outcome.receipts]
        figures = {
            "us": round(spent / len(batch) / 1_000, 2),
            "keys": round(len(outcome.changes) / len(batch), 2),
            "gas": round(sum(receipt.gas_used for receipt in receipts) / len(batch)),
            "receipt_bytes": round(sum(map(len, outcome.receipts)) / len(batch)),
        }
        best = figures if best is None or figures["us"] < best["us"] else best
    return best or {}


def payments(*, same_home: bool) -> Callable[[int], list[Transaction]]:
    """Batches of payments between wallets of one operator, or of two."""

    def make(number: int) -> list[Transaction]:
        step = 4 if same_home else 1
        first = number * BLOCK
        return [
            transaction(key(4, i), "money", "pay", number, to=key(4, (i + step) % ACCOUNTS), amount_fen=100, memo=0)
            for i in range(first, first + BLOCK)
        ]

    return make


def main() -> None:
    """Print the figures as JSON."""
    bench = Bench()
    figures: dict[str, dict[str, float]] = {
        "pay_same_operator": measure(payments(same_home=True), bench),
        "pay_other_operator": measure(payments(same_home=False), bench),
    }
    opened: list[Transaction] = []
    meter_wh = 0
    best: dict[str, dict[str, float]] = {}
    for number in range(ROUNDS):
        opened = [
            transaction(
                key(4, i), "session", "open", 10 + number,
                pile=f"pile-{(i + 1) % PILES}", connector=1, deposit_fen=5_000, accept_unverified=False,
            )
            for i in range(PILES)
        ]  # fmt: skip
        spent = {"session_open": bench.block(opened)}
        begin_ms, counter = bench.now_ms, number * 2
        starts = [
            transaction(
                key(5, (i + 1) % PILES), "session", "start", 0,
                session=tx.id, counter=counter + 1, time_ms=begin_ms, meter_wh=meter_wh,
            )
            for i, tx in enumerate(opened)
        ]  # fmt: skip
        spent["session_start"] = bench.block(starts)
        meter_wh += 10_000
        end = BorderReading(begin_ms + 1_800_000, meter_wh)
        stops = [
            transaction(
                key(5, (i + 1) % PILES), "session", "stop", 0,
                session=tx.id, counter=counter + 2, borders=(end,), charging_ended_ms=end.time_ms,
                readings_count=31, readings_root=bytes(32),
            )
            for i, tx in enumerate(opened)
        ]  # fmt: skip
        spent["session_stop"] = bench.block(stops, 1_800_000)
        for name, (nanoseconds, outcome) in spent.items():
            us = round(nanoseconds / PILES / 1_000, 2)
            if name not in best or us < best[name]["us"]:
                receipts = [decode(Receipt, raw) for raw in outcome.receipts]
                best[name] = {
                    "us": us,
                    "keys": round(len(outcome.changes) / PILES, 2),
                    "gas": round(sum(receipt.gas_used for receipt in receipts) / PILES),
                    "receipt_bytes": round(sum(map(len, outcome.receipts)) / PILES),
                }
    figures |= best
    json.dump(figures, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
