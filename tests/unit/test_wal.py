"""The write-ahead log: a torn tail is cut, damage halts, a failed fsync stops, segments go when they are sealed."""

import errno
import os

import pytest

from ledger.errors import OurError
from node.wal import WriteAheadLog

RECORDS = [b"a vote", b"x" * 40, b"\0" * 40, b"the last vote"]


def written(folder, records=RECORDS):
    """Write a log of one segment and return that segment's path."""
    log = WriteAheadLog(folder)
    log.append([(1, record) for record in records[:2]])
    log.append([(2, record) for record in records[2:]])
    log.close()
    return folder / "00000001.wal"


def recovered(folder):
    """Open the log, close it, return its records."""
    log = WriteAheadLog(folder)
    log.close()
    return log.recovered


def test_F04_records_come_back_in_order(tmp_path):
    written(tmp_path)
    assert recovered(tmp_path) == RECORDS


def test_F04_a_tail_torn_at_any_byte_is_cut_at_the_last_good_record(tmp_path):
    whole = written(tmp_path / "whole").read_bytes()
    ends = {whole.index(record) + len(record): count for count, record in enumerate(RECORDS, 1)}
    for length in range(len(whole)):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "00000001.wal").write_bytes(whole[:length])
        good = max((count for end, count in ends.items() if end <= length), default=0)
        log = WriteAheadLog(folder)
        assert log.recovered == RECORDS[:good]
        log.append([(3, b"after the crash")])
        log.close()
        assert recovered(folder) == [*RECORDS[:good], b"after the crash"]


def test_F04_a_tail_of_zeros_is_torn(tmp_path):
    segment = written(tmp_path)
    segment.write_bytes(segment.read_bytes() + bytes(4096))
    assert recovered(tmp_path) == RECORDS


def test_F04_a_bit_flipped_in_the_middle_halts_with_place_and_repair(tmp_path):
    segment = written(tmp_path)
    whole = segment.read_bytes()
    last = whole.index(RECORDS[-1]) - 24
    for at in range(last):
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(OurError, match="unsafe-reset-data") as caught:
            WriteAheadLog(tmp_path)
        assert caught.value.code == "wal-damaged"
        assert str(segment) in caught.value.message


def test_F04_damage_in_an_older_segment_halts(tmp_path):
    first = written(tmp_path)
    assert recovered(tmp_path) == RECORDS  # opening made a second segment
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(OurError, match="wal-damaged"):
        WriteAheadLog(tmp_path)


def test_F04_a_missing_segment_halts(tmp_path):
    written(tmp_path)
    recovered(tmp_path)
    recovered(tmp_path)
    (tmp_path / "00000002.wal").unlink()
    with pytest.raises(OurError, match="segment is missing"):
        WriteAheadLog(tmp_path)


def test_F04_sealed_segments_are_dropped_whole(tmp_path):
    log = WriteAheadLog(tmp_path, segment_bytes=100)
    for height in range(1, 31):
        log.append([(height, height.to_bytes(8, "big") * 20), (height, b"vote")])
    log.truncate(20)
    log.close()
    assert [int.from_bytes(record[:8], "big") for record in recovered(tmp_path)[::2]] == list(range(21, 31))
    log = WriteAheadLog(tmp_path)  # the heights of older segments are known again
    log.truncate(30)
    log.close()
    assert recovered(tmp_path) == []


def test_F04_a_full_disk_leaves_no_half_record_and_can_be_retried(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path)
    log.append([(3, b"first")])
    real = os.pwrite

    def full(file, data, offset):
        real(file, bytes(data)[:7], offset)
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="no space left"):
        log.append([(3, b"second")])
    monkeypatch.undo()
    assert (tmp_path / "00000001.wal").read_bytes().endswith(b"first")
    log.append([(3, b"second")])
    log.close()
    assert recovered(tmp_path) == [b"first", b"second"]


def test_F04_a_failed_fsync_is_never_tried_again(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path)

    def broken(file):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OurError, match="wal-fsync"):
        log.append([(3, b"vote")])
