"""Gas against time: what each kind of node and each function of the host takes in generated code for its gas.

Run as `python -m bench.gas`. One unit of gas is about a nanosecond of the machine that the schedule was measured on;
this machine's speed beside it is measured first, by a loop of plain Python. Exit status 1 if something takes more than
three times its gas: whoever fills blocks with it would slow all members down.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

from contracts.compiler.compiler import compile_verified
from contracts.host import Host
from contracts.memory import MemoryState
from contracts.vm.generator import functions
from contracts.vm.link import Linked
from ledger.keys import Scheme, SoftSigner

REFERENCE_NS = 21.0
"""Of one round of `_plain` on the machine of the schedule."""
FACTOR_MAX = 3.0
ROUNDS = 400
REPEATS = 15
NUMBER = 77

HEAD = '''"""Measured."""

from contracts.language import *

CONTRACT = Contract("bench", Business.PAYMENT)


class Small(Struct):
    """Two fields."""

    a: I64
    b: Name


class Large(Struct):
    """A dozen fields."""

    a: I64 = 0
    b: I64 = 0
    c: I64 = 0
    d: I64 = 0
    e: I64 = 0
    f: I64 = 0
    g: U63 = 0
    h: U63 = 0
    i: U63 = 0
    j: U63 = 0
    k: U63 = 0
    l: U63 = 0


class Code(Codes):
    """None."""

    NEVER = 1, "never"


SMALLS: Table[Name, Small] = table("s")
PAIRS: Table[tuple[Name, U63], Small] = table("p")
LARGE: Cell[Large] = cell("l")
TOLD: Event[Small] = event("bench.told")


def inner(a: I64) -> I64:
    """A call."""
    return a


@scheduled(gas=100_000)
def later(a: I64) -> None:
    """A call of the schedule."""


@method(Role.DRIVER)
def run(key: PublicKey, hash: Hash, signature: Signature, name: Name, text: Annotated[str, Size(0, 64)]) -> None:
    """One case."""
    a: I64 = 7
    b: I64 = -3
    small = Small(1, "name")
    large = Large()
    none: Small | None = None
    some: Small | None = small
    wide: Wide = a
    row: Annotated[List[I64], Size(0, 100)] = [1, 2, 3, 4, 5, 6, 7, 8]
    data: Annotated[bytes, Size(0, 1000)] = b"0123456789abcdef"
    flag = a > 5
    SMALLS["there"] = small
    LARGE.write(large)
    for i in range(%d):
        %s
'''

CASES = {
    "constant, set": "a = 5",
    "add, checked": "a = b + i",
    "multiply, wide": "wide = i * a * b",
    "divide": "a = b // 7",
    "divide by a local": "a = b // (i + 1)",
    "round half up": "a = round_half_up(i, 7)",
    "modulo": "a = i % 7",
    "min": "a = min(i, a)",
    "compare numbers": "flag = i < a",
    "compare texts": "flag = name == text",
    "compare bytes": "flag = data < key",
    "and, or, not": "flag = flag and not flag or flag",
    "choose": "a = 1 if flag else 2",
    "if": "if flag:\n            a = 1",
    "length": "a = len(row)",
    "index": "a = row[3]",
    "slice": "data = data[2:10] + data[0:8]",
    "join texts": 'text = name + "!"',
    "append": "row = [*row[0:7], 3]",
    "contains": "flag = i in row",
    "sorted set": "row = sorted_set(row)",
    "another item": "row[3] = i",
    "make small": "small = Small(i, name)",
    "make large": "large = Large(a=i)",
    "field": "a = small.a",
    "change a field": "small.a = i",
    "change a field of twelve": "large.c = i",
    "absent": "flag = none is None",
    "or else": "small = some or fail(Code.NEVER)",
    "call": "a = inner(i)",
    "load": "small = SMALLS[name]",
    "load, absent": "none = SMALLS.get(text)",
    "load by two parts": "none = PAIRS.get(name, i)",
    "load large": "large = LARGE.read()",
    "store": "SMALLS[name] = small",
    "store by two parts": "PAIRS[name, i] = small",
    "delete": "del SMALLS[text]",
    "emit": "emit(TOLD, small)",
    "schedule": "schedule(2_000_000 + i, hash, later, i)",
    "cancel": "cancel(2_000_000 + i, hash)",
    "walk": "for _, each in SMALLS.items(limit=10):\n            a = each.a",
    "loop over a list": "for each in row:\n            a = each",
    "while": "while a < 0:\n            a = 0",
    "decode": "flag = decode(Small, data) is None",
    "caller": "flag = call.caller == key",
    "company": "flag = call.company == name",
    "time": "flag = block.time_ms > i",
    "digest": "hash = digest(data)",
    "own key digest": "hash = own_key_digest(name, key)",
    "utf8": "data = utf8(name)",
    "big endian": "data = big_endian_8(i)",
    "printable": "flag = is_printable(name)",
    "verify Ed25519": "flag = verify(key, hash, signature)",
    "key is sound": "flag = key_is_sound(key, [1])",
}


def _plain(rounds: int) -> float:
    """Nanoseconds of a round of plain Python."""
    best = float("inf")
    for _ in range(REPEATS):
        begin, total = time.perf_counter_ns(), 0
        for number in range(rounds):
            total += number if number < 5 else 1
        best = min(best, (time.perf_counter_ns() - begin) / rounds)
    return best


def _case(statement: str, rounds: int) -> tuple[float, int]:
    """Best nanoseconds and gas of a loop over a statement."""
    linked = Linked(compile_verified(HEAD % (rounds, statement)), NUMBER)
    body = functions(linked)[linked.program.methods[-1].function]
    signer = SoftSigner.from_seed(Scheme.ED25519, bytes(32))
    args = (signer.public_key, bytes(32), signer.sign(bytes(32)), "there", "absent")
    best, gas = float("inf"), 0
    for _ in range(REPEATS):
        host = Host(MemoryState(), {}, bytes(32), 1, 1_000)
        host.begin(bytes(32), signer.public_key, 10**12)
        host.contract = NUMBER
        begin = time.perf_counter_ns()
        _call(body, host, args)
        best = min(best, time.perf_counter_ns() - begin)
        gas = 10**12 - host.gas_left
    return best, gas


def _call(body: Callable[..., Any], host: Host, args: tuple[Any, ...]) -> None:
    body(host, *args)


def main() -> int:
    """Print the table; 1 if a price is too low."""
    machine = _plain(100_000) / REFERENCE_NS
    print(f"this machine takes {machine:.2f} of the schedule's time")
    print(f"{'per round':28}{'ns':>10}{'gas':>10}{'ns / gas':>10}")
    empty_ns, empty_gas = _case("pass", ROUNDS)
    too_cheap = []
    for name, statement in CASES.items():
        rounds = 40 if name.startswith(("verify", "key is", "walk", "schedule")) else ROUNDS
        base_ns, base_gas = (empty_ns, empty_gas) if rounds == ROUNDS else _case("pass", rounds)
        spent_ns, spent_gas = _case(statement, rounds)
        ns, gas = max(spent_ns - base_ns, 0) / rounds, (spent_gas - base_gas) / rounds
        ratio = ns / gas / machine
        mark = " too cheap" if ratio > FACTOR_MAX else ""
        print(f"{name:28}{ns:10,.0f}{gas:10,.0f}{ratio:10.2f}{mark}", flush=True)
        if mark:
            too_cheap.append(name)
    return 1 if too_cheap else 0


if __name__ == "__main__":
    sys.exit(main())
