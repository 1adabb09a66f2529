"""Whatever was written, and wherever a power cut tears the last segment: what comes back is whole batches, in order,
and never fewer than were acknowledged.
"""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import OurError
from node.storage.wal import WriteAheadLog, check_log

RECORD = st.binary(max_size=300) | st.sampled_from([b"", bytes(600), b"\xff" * 600])
BATCH = st.lists(st.tuples(st.integers(0, 2**63 - 1), RECORD), min_size=1, max_size=4)
BATCHES = st.lists(BATCH, min_size=1, max_size=8)


def write(folder: Path, batches: list, segment_bytes: int) -> list[tuple[Path, int, int]]:
    """Write batches; per batch its segment, and where it begins and ends there."""
    log = WriteAheadLog(folder, segment_bytes=segment_bytes)
    places: list[tuple[Path, int, int]] = []
    for batch in batches:
        log.append(batch)
        path = max(folder.glob("*.wal"))
        begin = max((end for at, _, end in places if at == path), default=4)  # with its opening or acknowledgement
        places.append((path, begin + 8, path.stat().st_size - 8))
    log.close()
    return places


def read(folder: Path) -> list[bytes]:
    """Records of a log, by a start."""
    log = WriteAheadLog(folder)
    log.close()
    return log.recovered


def flat(batches: list) -> list[bytes]:
    """Records of batches."""
    return [record for batch in batches for _, record in batch]


@settings(max_examples=150)
@given(BATCHES, st.sampled_from([1, 200, 1 << 20]), st.data())
def test_F13_any_cut_of_the_last_segment_leaves_exactly_the_whole_batches(batches, segment_bytes, data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = write(folder, batches, segment_bytes)
        last = max(folder.glob("*.wal"))
        whole = last.read_bytes()
        length = data.draw(st.integers(0, len(whole)), "length")
        last.write_bytes(whole[:length])
        kept = [batch for batch, (path, _, end) in zip(batches, places, strict=True) if path != last or end <= length]
        check_log(folder)
        assert read(folder) == flat(kept)
        assert read(folder) == flat(kept), "and the cut is sound at the next start"


@settings(max_examples=150)
@given(BATCHES, BATCH, st.data())
def test_F13_a_batch_of_which_any_sectors_are_lost_was_never_acknowledged(batches, torn, data):
    """All but the last batch come back; it comes back whole or not at all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, begin, end = write(folder, [*batches, torn], 1 << 20)[-1]
        [segment] = folder.glob("*.wal")
        left = bytearray(segment.read_bytes()[:end])
        # Sectors of 64 bytes, so that a batch has many.
        for start in range(begin, end, 64):
            if data.draw(st.booleans()):
                stop = min(start + 64, end)
                left[start:stop] = bytes(stop - start)
        segment.write_bytes(left)
        assert read(folder) in (flat(batches), flat([*batches, torn]))


@settings(max_examples=150)
@given(BATCHES, st.sampled_from([1, 200, 1 << 20]), st.data())
def test_F13_any_bytes_changed_in_what_was_acknowledged_are_found_or_harmless(batches, segment_bytes, data):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, batches, segment_bytes)
        path = data.draw(st.sampled_from(sorted(folder.glob("*.wal"))), "segment")
        bytes_ = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(bytes_) - 1), "at")
        junk = data.draw(st.binary(min_size=1, max_size=min(40, len(bytes_) - at)), "junk")
        # Not the newest acknowledgement itself with what stands before it: that is as a torn tail looks.
        if at + len(junk) > len(bytes_) - 8 and path == max(folder.glob("*.wal")):
            return
        bytes_[at : at + len(junk)] = junk
        path.write_bytes(bytes_)
        error = None
        try:
            found = read(folder)
        except OurError as raised:
            error = raised
        if error:
            assert error.code == "wal-damaged"
            assert str(folder) in error.message
        else:
            assert found == flat(batches)
