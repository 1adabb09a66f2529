"""Frames from anybody: any bytes in any pieces give whole frames or one error, and never more memory than one frame."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import PeerError
from node.network.framing import FRAME_BYTES_MAX, FrameReader, frame

LIMIT = 64


def pieces(data, cuts):
    """Cut data at these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


@given(st.lists(st.binary(min_size=1, max_size=LIMIT)), st.lists(st.integers(min_value=0)))
def test_frames_come_back_however_the_stream_is_cut(payloads, cuts):
    reader = FrameReader(LIMIT)
    got = [payload for piece in pieces(b"".join(map(frame, payloads)), cuts) for payload in reader.feed(piece)]
    assert got == payloads


@given(st.binary(max_size=500), st.lists(st.integers(min_value=0)))
def test_any_bytes_give_frames_or_one_error(data, cuts):
    whole, cut = FrameReader(LIMIT), FrameReader(LIMIT)
    results = []
    for reader, parts in ((whole, [data]), (cut, pieces(data, cuts))):
        got: list[object] = []
        try:
            for piece in parts:
                for payload in reader.feed(piece):
                    got.append(payload)  # noqa: PERF402 - what came before the error counts
        except PeerError as error:
            got.append(error.code)
        results.append(got)
        assert len(reader._rest) <= LIMIT + 4
    assert results[0] == results[1]


def test_an_oversized_frame_is_refused_before_it_is_kept():
    reader = FrameReader(LIMIT)
    with pytest.raises(PeerError, match="frame-too-large"):
        list(reader.feed((LIMIT + 1).to_bytes(4, "big")))
    with pytest.raises(PeerError, match="frame-too-large"):
        list(FrameReader(FRAME_BYTES_MAX).feed(b"GET / HTTP/1.1\r\n\r\n"))
    with pytest.raises(PeerError, match="frame-too-large"):
        frame(bytes(FRAME_BYTES_MAX + 1))


def test_an_empty_frame_is_refused():
    with pytest.raises(PeerError, match="frame-empty"):
        list(FrameReader(LIMIT).feed(bytes(4)))


def test_the_limit_may_rise_between_two_frames_of_one_read():
    reader = FrameReader(8)
    stream = reader.feed(frame(b"hello") + frame(bytes(LIMIT)))
    assert next(stream) == b"hello"
    reader.payload_bytes_max = LIMIT
    assert list(stream) == [bytes(LIMIT)]
