"""Frames on a byte stream: a 4-byte big-endian length, then so many bytes of payload. Pure.

Used between nodes (inside TLS) and on the unix socket of the core process.
"""

from collections.abc import Iterator

from ledger.errors import PeerError

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 4 * 1024 * 1024 + 1024
"""Longest payload: the longest consensus message (a proposal with bodies, a batch of sealed blocks) and its envelope.
"""


def frame(payload: bytes) -> bytes:
    """The payload with its length before it. Raises PeerError `frame-too-large`: the receiver would cut the
    connection.
    """
    if len(payload) > FRAME_BYTES_MAX:
        raise PeerError("frame-too-large", f"{len(payload)} bytes, at most {FRAME_BYTES_MAX}")
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Cuts a stream into payloads. Holds at most one unfinished frame, so its memory is bounded by
    `payload_bytes_max`.
    """

    def __init__(self, payload_bytes_max: int) -> None:
        """`payload_bytes_max` may be raised between two payloads: strangers get a small one until they have said who
        they are.
        """
        self.payload_bytes_max = payload_bytes_max
        self._rest = bytearray()
        self._needed = LENGTH_BYTES  # nothing can be cut off before so many bytes are there

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the payloads that are complete now, in order. The iterator must be exhausted, unless the stream is
        given up.

        Raises PeerError `frame-too-large` on a length beyond the bound, before any of that frame is kept (a length of 4
        GiB must not reserve memory), and `frame-empty` on a length of 0, which no sender has reason to send.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._needed = LENGTH_BYTES
        at, end = 0, len(data)
        while end - at >= LENGTH_BYTES:
            start = at + LENGTH_BYTES
            length = int.from_bytes(data[at:start], "big")
            if not 0 < length <= self.payload_bytes_max:
                raise _bad_length(length, self.payload_bytes_max)
            if end - start < length:
                self._needed = LENGTH_BYTES + length
                break
            at = start + length
            yield data[start:at]
        self._rest += data[at:]


def _bad_length(length: int, payload_bytes_max: int) -> PeerError:
    if length == 0:
        return PeerError("frame-empty", "a frame of 0 bytes")
    return PeerError(
        "frame-too-large", f"a frame of {length} bytes is announced, at most {payload_bytes_max} are taken"
    )
