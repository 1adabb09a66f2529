"""A small fuzzer: mutates valid samples, by byte and by structure, and watches what a parser makes of the result.

A parser of outside bytes returns, or refuses with one of the declared error classes, takes memory in proportion to its
input and ends soon; anything else is a finding, told with the seed and the input in hexadecimal. Seeded, with a fixed
number of inputs, so a red run is the commit's fault. `python -m tests.fuzz --seconds 600` runs every target for that
long instead, and `PILECHAIN_FUZZ_SEED` begins elsewhere.
"""

import os
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

import msgspec
from msgspec import Struct

from ledger.errors import ClientError, PeerError

REFUSALS = (PeerError, ClientError)
"""What a parser of outside bytes may raise: the input's fault, with a code."""
ITERATIONS = 3_000
"""Per target: seconds, not minutes, in CI."""
MEMORY_PER_BYTE = 200
"""Peak bytes of Python memory per byte of input: a one-byte element of an array costs a pointer, an object and the
decoder's own lists; a length field that reserved what it announces would cost millions.
"""
MEMORY_FIXED = 256 * 1024
"""What may be used beside it: error texts, caches."""
CPU_S_MAX = 5.0
"""Of this process's own time for one input: thousands of times what any takes, so that a busy machine finds nothing,
and a loop without end is found.
"""
MEMORY_FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Files of the targets: on a disk, writing them would take most of the time."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)
"""Where lengths, counts and integer types end."""
MESSAGEPACK = (
    b"\xc0",
    b"\xc1",
    b"\xc4\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xcf" + bytes(8),
    b"\xd9\x00",
    b"\xdb\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xdd\x00\x98\x96\x80",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\x81" * 2_000,
    b"\x91" * 2_000,
)
"""Bytes that mean something to a MessagePack decoder: nothing at all, lengths of up to 4 GiB, deep nesting."""


class Target(Struct):
    """A parser of outside bytes, and what it is fed."""

    parse: Callable[[bytes], object]
    samples: Sequence[bytes]
    """Each must pass, or the mutations would all fail at the first byte."""
    tokens: Sequence[bytes] = MESSAGEPACK
    """Slipped in here and there."""
    refusals: tuple[type[Exception], ...] = REFUSALS
    """What whoever calls the parser is ready for; what follows behind it belongs under `unguarded`."""
    iterations: int = ITERATIONS
    memory_fixed: int = MEMORY_FIXED
    cpu_s_max: float = CPU_S_MAX


def inputs(
    samples: Sequence[bytes],
    tokens: Sequence[bytes] = MESSAGEPACK,
    iterations: int = ITERATIONS,
    seconds: float = 0,
) -> Iterator[bytes]:
    """Mutations of the samples; every tenth is pure noise. As many as told, or for so many seconds."""
    random = _random()
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end if seconds else count < iterations:
        count += 1
        yield random.randbytes(random.randrange(200)) if count % 10 == 0 else mutate(random, samples, tokens)


@contextmanager
def told(data: bytes) -> Iterator[None]:
    """Add the seed and the input to whatever error comes out of the block."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"PILECHAIN_FUZZ_SEED={_seed()}, input {data.hex() or 'of no bytes'}")
        raise


@contextmanager
def unguarded() -> Iterator[None]:
    """Around what nobody guards in the running program: an error in here, a refusal like any other, would end it."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} where nobody catches it: {error}") from error


def fuzz(target: Target, seconds: float = 0, parsers: Iterable[CodeType] = ()) -> int:
    """Feed a parser; how many inputs it got. `parsers` are functions that one of them must have reached."""
    for sample in target.samples:
        target.parse(sample)
    count = 0
    tracemalloc.start(1)
    try:
        with _reaching(parsers), _stopwatch():
            for data in inputs(target.samples, target.tokens, target.iterations, seconds):
                count += 1
                allowed = target.memory_fixed + MEMORY_PER_BYTE * len(data)
                with told(data):
                    # What is too much is measured again: the first time may have filled a cache, or loaded a module.
                    used = _memory_used(target, data)
                    used = used if used <= allowed else _memory_used(target, data)
                    assert used <= allowed, f"{used} bytes of memory"
    finally:
        tracemalloc.stop()
    return count


def _memory_used(target: Target, data: bytes) -> int:
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    begin_s = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, target.cpu_s_max)
    with suppress(*target.refusals):
        target.parse(data)
    signal.setitimer(signal.ITIMER_PROF, 0)
    used_s = time.process_time() - begin_s
    assert used_s <= target.cpu_s_max, f"{used_s:.1f} s of work"  # whoever caught the alarm has not stopped us here
    return tracemalloc.get_traced_memory()[1] - before


@contextmanager
def _stopwatch() -> Iterator[None]:
    """Lets the timer end what takes too long. It counts what this process works, not what the clock says."""

    def alarm(*_: object) -> None:
        raise AssertionError("too many seconds of work")

    before = signal.signal(signal.SIGPROF, alarm)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def _reaching(parsers: Iterable[CodeType]) -> Iterator[None]:
    """Fails if one of these is never called in the block. Watching costs time, so it stops with the last of them."""
    missing = {id(code): code for code in parsers}

    def seen(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and missing.pop(id(frame.f_code), None) is not None and not missing:
            sys.setprofile(None)

    if missing:
        sys.setprofile(seen)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert not missing, f"no input reached {', '.join(code.co_qualname for code in missing.values())}"


def mutate(random: Random, samples: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Change a sample: half of the time its structure, where it is MessagePack, else one to three times its bytes."""
    data = random.choice(samples)
    if random.random() < 0.5:
        try:
            return msgspec.msgpack.encode(_change_value(random, msgspec.msgpack.decode(data)))
        except (msgspec.DecodeError, OverflowError, UnicodeError):
            pass  # a sample of another format
    for _ in range(random.randint(1, 3)):
        data = random.choice(_CHANGES)(random, data, samples, tokens)
    return data


def _seed() -> int:
    return int(os.environ.get("PILECHAIN_FUZZ_SEED", "1"))


def _random() -> Random:
    return Random(_seed())


# ── bytes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _span(random: Random, data: bytes) -> tuple[int, int]:
    first = random.randrange(len(data) + 1)
    return first, min(len(data), first + random.choice((1, 2, 4, 8, 32, len(data))))


def _flip(random: Random, data: bytes, *_: object) -> bytes:
    changed = bytearray(data or b"\0")
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(random: Random, data: bytes, *_: object) -> bytes:
    first, end = _span(random, data)
    return data[:first] + data[end:]


def _double(random: Random, data: bytes, *_: object) -> bytes:
    first, end = _span(random, data)
    return data[:end] + data[first:]


def _number(random: Random, data: bytes, *_: object) -> bytes:
    """Overwrite what may be a length with a number at some limit."""
    first, width = random.randrange(len(data) + 1), random.choice((1, 2, 4, 8))
    number = (random.choice(NUMBERS) & (256**width - 1)).to_bytes(width, "big")
    return data[:first] + number + data[first + width :]


def _splice(random: Random, data: bytes, samples: Sequence[bytes], _: object) -> bytes:
    other = random.choice(samples)
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _slip_in(random: Random, data: bytes, _: object, tokens: Sequence[bytes]) -> bytes:
    first, end = _span(random, data)
    return data[:first] + random.choice(tokens) + data[random.choice((first, end)) :]


_CHANGES: tuple[Callable[..., bytes], ...] = (_flip, _flip, _cut, _double, _number, _splice, _slip_in)


# ── structure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _change_value(random: Random, value: Any) -> Any:
    """The same with one thing somewhere inside changed; bytes that hold MessagePack themselves are entered too."""
    if isinstance(value, list) and value and random.random() < 0.9:
        at = random.randrange(len(value))
        return [*value[:at], _change_value(random, value[at]), *value[at + 1 :]]
    if isinstance(value, list):
        return random.choice((value + value, value[::-1], value[:-1], [*value, None], [], None))
    if isinstance(value, bytes) and random.random() < 0.8:
        try:
            inner = msgspec.msgpack.decode(value)
        except (msgspec.DecodeError, UnicodeError):
            inner = None
        if isinstance(inner, list):
            return msgspec.msgpack.encode(_change_value(random, inner))
    if isinstance(value, bytes):
        return random.choice((_flip(random, value), value[:-1], value + b"\0", bytes(len(value)), b"", value[::-1]))
    if isinstance(value, bool) or value is None:
        return random.choice((not value, 0, b"", []))
    if isinstance(value, int):
        near = min(max(value + random.choice((-1, 1)), -(2**63)), 2**64 - 1)
        return random.choice((near, near, -1, -(2**63), str(value), None, *NUMBERS))
    if isinstance(value, str):
        return random.choice((value + "\0", value[:-1], value * 100, "", "\ud7ff", value.encode(), None))
    return random.choice((None, 0, [], ""))
