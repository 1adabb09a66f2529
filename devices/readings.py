"""A session's readings: a gap-free chain, each one signed by the pile and pointing to the one before.

At most 200 bytes each on the link. Whoever holds the chain (the archive, a driver, a lab) verifies it alone; a single
reading proves against the root that the pile put on the chain with its stop.
"""

from collections.abc import Sequence

from msgspec import Struct

from ledger.charging import Reading, ReadingReason, SignedReading, reading_digest
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.hashing import ZERO_HASH
from ledger.keys import Signer, verify

READING_BYTES_MAX = 200
"""Budget of one signed reading on a 4G link."""
READINGS_MAX = 1600
"""Of a session: one a minute for 24 hours, tariff borders, begin and end."""


class ChainEnd(Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Where a chain of readings stands: all that is needed to append to it, and to verify what is appended."""

    count: int = 0
    digest: bytes = ZERO_HASH
    time_ms: int = 0
    meter_wh: int = 0


def sign_reading(
    session: bytes, end: ChainEnd, time_ms: int, meter_wh: int, reason: ReadingReason, signer: Signer
) -> tuple[SignedReading, ChainEnd]:
    """The next reading of a chain, signed, and where the chain then stands."""
    raw = encode(Reading(session, end.count, time_ms, meter_wh, reason, end.digest))
    digest = reading_digest(raw)
    return SignedReading(raw, signer.sign(digest)), ChainEnd(end.count + 1, digest, time_ms, meter_wh)


def verify_chain(
    session: bytes, public_key: bytes, readings: Sequence[SignedReading], end: ChainEnd | None = None
) -> ChainEnd:
    """Where the chain stands after these consecutive readings, which begin at `end` (None: at the session's first).

    Raises PeerError: `reading-malformed`, `reading-session` (of another session), `reading-gap` (one is missing,
    swapped or slipped in), `reading-backwards` (time or register runs back), `reading-forged` (signature),
    `reading-too-many`.
    """
    at = end or ChainEnd()
    for signed in readings:
        reading = read(signed)
        number = reading.number
        if reading.session != session:
            raise PeerError("reading-session", f"reading {number} belongs to another session")
        if (
            number != at.count
            or reading.previous != at.digest
            or (number == 0) != (reading.reason is ReadingReason.BEGIN)
        ):
            raise PeerError("reading-gap", f"reading {number} does not follow reading {at.count - 1}")
        if number >= READINGS_MAX:
            raise PeerError("reading-too-many", f"a session has at most {READINGS_MAX} readings")
        if number and (reading.time_ms < at.time_ms or reading.meter_wh < at.meter_wh):
            raise PeerError("reading-backwards", f"reading {number} is before reading {number - 1} in time or energy")
        digest = reading_digest(signed.reading)
        if not verify(public_key, digest, signed.signature):
            raise PeerError("reading-forged", f"the signature of reading {number} is not the pile's")
        at = ChainEnd(number + 1, digest, reading.time_ms, reading.meter_wh)
    return at


def read(signed: SignedReading) -> Reading:
    """What a signed reading says. Raises PeerError `reading-malformed`."""
    try:
        return decode(Reading, signed.reading)
    except PeerError as error:
        raise PeerError("reading-malformed", error.message) from error
