"""The fuzzer finds what it is there for: parsers that are broken on purpose."""

from contextlib import suppress

import pytest

from ledger.codec import decode
from ledger.errors import PeerError
from ledger.transaction import Signed
from tests import chain
from tests.fuzz.engine import MESSAGEPACK, Target, fuzz, inputs, unguarded

RAW = chain.transaction("sample").raw


def test_another_exception_is_a_finding_told_with_seed_and_input():
    def trusts_the_length(data: bytes) -> None:
        if decode(Signed, data).body[0] != 0x9A:
            raise ValueError("no body")

    with pytest.raises((ValueError, IndexError)) as found:
        fuzz(Target(trusts_the_length, [RAW]))
    assert found.value.__notes__[0].startswith("PILECHAIN_FUZZ_SEED=1, input 9")


def test_memory_beyond_the_input_is_a_finding():
    def reserves_what_is_announced(data: bytes) -> None:
        if data[:1] == b"\x92" and data[1:2] == b"\xc4":
            return
        bytearray(int.from_bytes(data[1:5], "big") % (1 << 26))
        raise PeerError("encoding-malformed", "no")

    with pytest.raises(AssertionError, match="bytes of memory"):
        fuzz(Target(reserves_what_is_announced, [RAW]))


def test_a_sample_that_is_refused_is_a_finding():
    with pytest.raises(PeerError):
        fuzz(Target(lambda data: decode(Signed, data), [b"nonsense"]))


def test_a_loop_without_end_is_a_finding_even_if_somebody_catches_the_alarm():
    def takes_ages(data: bytes) -> None:
        decode(Signed, data)
        while len(data) != len(RAW):
            pass

    def hides_it(data: bytes) -> None:
        with suppress(AssertionError):
            takes_ages(data)

    for parse in (takes_ages, hides_it):
        with pytest.raises(AssertionError, match="of work") as found:
            fuzz(Target(parse, [RAW], cpu_s_max=0.05))
        assert found.value.__notes__


def test_a_refusal_where_nobody_catches_it_is_a_finding():
    def hears(data: bytes) -> None:
        transaction = decode(Signed, data)
        with unguarded():
            if transaction.signature[0] == 0:
                raise PeerError("signature-malformed", "no")

    with pytest.raises(AssertionError, match="PeerError where nobody catches it"):
        fuzz(Target(hears, [RAW]))


def test_a_parser_that_no_input_reaches_is_a_finding():
    def never(data: bytes) -> None: ...

    def parse(data: bytes) -> None:
        decode(Signed, data)

    with pytest.raises(AssertionError, match=r"no input reached .*never"):
        fuzz(Target(parse, [RAW], iterations=200), parsers=[parse.__code__, never.__code__])
    assert fuzz(Target(parse, [RAW], iterations=200), parsers=[parse.__code__]) == 200


def test_the_same_inputs_come_every_time():
    runs = [list(inputs([RAW], MESSAGEPACK, 200)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len({*runs[0]}) > 150
