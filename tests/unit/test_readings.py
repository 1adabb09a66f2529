"""F43: signed, gap-free readings, and the archive that keeps them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.readings import READING_BYTES_MAX, ChainEnd, read, sign_reading, verify_chain
from ledger.charging import ReadingReason, SignedReading, reading_digest, readings_root
from ledger.codec import encode
from ledger.errors import ClientError, PeerError
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme, SoftSigner
from ledger.merkle import verify_merkle
from node.gateway.archive import Archive, Batch
from tests.consortium import key, signer

SESSION = bytes(range(32))
START_MS = 1_800_000_000_000


def counts(answers: list[ChainEnd | PeerError]) -> list[int]:
    """How many readings are held, where they were taken."""
    return [end.count for end in answers if isinstance(end, ChainEnd)]


def chain(
    count: int, session: bytes = SESSION, by: str = "pile", scheme: Scheme = Scheme.ED25519
) -> list[SignedReading]:
    """So many readings, one a minute, 100 Wh each."""
    pile = signer(by) if scheme is Scheme.ED25519 else SoftSigner.from_seed(scheme, bytes(32))
    end, out = ChainEnd(), []
    for n in range(count):
        reason = ReadingReason.BEGIN if n == 0 else ReadingReason.END if n == count - 1 else ReadingReason.PERIODIC
        signed, end = sign_reading(session, end, START_MS + n * 60_000, 1_000 + n * 100, reason, pile)
        out.append(signed)
    return out


def test_F43_a_whole_chain_verifies_at_once_or_in_parts():
    readings = chain(30)
    whole = verify_chain(SESSION, key("pile"), readings)
    part = verify_chain(SESSION, key("pile"), readings[:11])
    assert verify_chain(SESSION, key("pile"), readings[11:], part) == whole
    assert (whole.count, whole.meter_wh) == (30, 3_900)


@pytest.mark.parametrize("scheme", list(Scheme))
def test_F43_a_reading_is_at_most_200_bytes(scheme: Scheme):
    signed = chain(1, scheme=scheme)[0]
    assert len(encode(signed)) <= READING_BYTES_MAX
    end = ChainEnd(1_500, bytes(32), START_MS, 2**40)
    widest, _ = sign_reading(SESSION, end, 2**62, 2**62, ReadingReason.TARIFF_BORDER, signer("pile"))
    assert len(encode(widest)) <= READING_BYTES_MAX


def resigned(at: int, **changes: int) -> Callable[[list[SignedReading]], list[SignedReading]]:
    """A reading replaced by another that the pile itself has signed."""

    def change(readings: list[SignedReading]) -> list[SignedReading]:
        before = verify_chain(SESSION, key("pile"), readings[:at])
        of = read(readings[at])
        fields = {"time_ms": of.time_ms, "meter_wh": of.meter_wh} | changes
        other, _ = sign_reading(SESSION, before, fields["time_ms"], fields["meter_wh"], of.reason, signer("pile"))
        return [*readings[:at], other, *readings[at + 1 :]]

    return change


FRAUDS: dict[str, tuple[str, Callable[[list[SignedReading]], list[SignedReading]]]] = {
    "one left out": ("reading-gap", lambda r: r[:5] + r[6:]),
    "two swapped": ("reading-gap", lambda r: [*r[:5], r[6], r[5], *r[7:]]),
    "one twice": ("reading-gap", lambda r: r[:6] + r[5:]),
    "beginning missing": ("reading-gap", lambda r: r[1:]),
    "one of another session": ("reading-session", lambda r: [*r[:5], chain(10, bytes(32))[5], *r[6:]]),
    "signature of another": ("reading-forged", lambda r: [*r[:5], SignedReading(r[5].reading, bytes(64)), *r[6:]]),
    "one rewritten": ("reading-gap", resigned(5, meter_wh=1_450)),
    "register runs back": ("reading-backwards", lambda r: resigned(9, meter_wh=1)(r)),
    "time runs back": ("reading-backwards", lambda r: resigned(9, time_ms=1)(r)),
    "garbage": ("reading-malformed", lambda r: [*r[:5], SignedReading(b"x", bytes(64)), *r[6:]]),
}


@pytest.mark.parametrize(("code", "fraud"), FRAUDS.values(), ids=FRAUDS)
def test_F43_no_chain_with_a_fraud_verifies(code: str, fraud: Callable[[list[SignedReading]], list[SignedReading]]):
    with pytest.raises(PeerError) as caught:
        verify_chain(SESSION, key("pile"), fraud(chain(10)))
    assert caught.value.code == code


@given(st.integers(0, 9), st.integers(0, 10_000), st.integers(1, 255))
def test_F43_no_changed_byte_verifies(at: int, where: int, flip: int):
    readings = chain(10)
    raw = bytearray(readings[at].reading)
    raw[where % len(raw)] ^= flip
    readings[at] = SignedReading(bytes(raw), readings[at].signature)
    with pytest.raises(PeerError):
        verify_chain(SESSION, key("pile"), readings)


def batch(readings: list[SignedReading], by: str = "pile") -> Batch:
    """As the gateway hands it on."""
    return Batch(SESSION, by, key(by), tuple(readings))


def test_F43_the_archive_keeps_and_proves(tmp_path: Path):
    readings = chain(20)
    archive = Archive(tmp_path / "r.sqlite")
    assert [
        end.count for end in archive.append([batch(readings[:7]), batch(readings[7:])]) if isinstance(end, ChainEnd)
    ] == [7, 20]
    archive.close()
    again = Archive(tmp_path / "r.sqlite")
    assert again.readings(SESSION) == readings
    root = readings_root([reading_digest(signed.reading) for signed in readings])
    for number in range(20):
        signed, proof = again.prove(SESSION, number)
        leaf = sm3(Tag.METER_CHAIN, reading_digest(signed.reading))
        assert proof.count == 20
        assert verify_merkle(root, leaf, proof)
    with pytest.raises(ClientError, match="reading-unknown"):
        again.prove(SESSION, 20)


def test_F43_the_archive_takes_readings_once_and_never_with_a_gap(tmp_path: Path):
    readings = chain(20)
    archive = Archive(tmp_path / "r.sqlite")
    assert counts(archive.append([batch(readings[:10])])) == [10]
    assert counts(archive.append([batch(readings[5:12])])) == [12], "sent twice in part"
    assert counts(archive.append([batch(readings[15:])])) == [12], (
        "a gap: nothing is stored, and the pile sends from 12"
    )
    assert counts(archive.append([batch(readings[2:4])])) == [12]
    (refused,) = archive.append([batch(resigned(5, meter_wh=1_450)(readings)[5:6])])
    assert isinstance(refused, PeerError)
    assert refused.code == "reading-conflict"
    (stranger,) = archive.append([batch(readings[12:], by="thief")])
    assert isinstance(stranger, PeerError)
    assert stranger.code == "reading-session"
    assert archive.count(SESSION) == 12
    assert counts(archive.append([batch(readings[12:])])) == [20]
