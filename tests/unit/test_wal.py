"""The write-ahead log: a torn tail is cut, damage halts, a failed fsync stops, segments go when they are sealed."""

import errno
import os

import pytest

from ledger.errors import OurError
from node.storage.wal import WriteAheadLog, check_log

RECORDS = [b"a vote", b"x" * 40, b"\0" * 40, b"the last vote"]


def written(folder, records=RECORDS):
    """Write a log of one segment and return that segment's path."""
    log = WriteAheadLog(folder)
    log.append([(1, record) for record in records[:2]])
    log.append([(2, record) for record in records[2:]])
    log.close()
    return folder / "00000001.wal"


def last_batch(segment: bytes) -> int:
    """Where the last batch of a segment begins: each begins with the segment's mark."""
    return segment.rindex(segment[:8])


def recovered(folder):
    """Open the log, close it, return its records."""
    log = WriteAheadLog(folder)
    log.close()
    return log.recovered


def test_F04_records_come_back_in_order(tmp_path):
    written(tmp_path)
    assert recovered(tmp_path) == RECORDS


def test_F04_a_tail_torn_at_any_byte_is_cut_at_the_last_good_batch(tmp_path):
    whole = written(tmp_path / "whole").read_bytes()
    ends = {whole.index(RECORDS[count - 1]) + len(RECORDS[count - 1]): count for count in (2, 4)}
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


def test_F04_a_power_cut_that_lost_any_page_of_the_last_batch_is_a_torn_tail(tmp_path):
    """The pages of one write reach the disk in any order: what stands behind a lost one is no sign of damage."""
    log = WriteAheadLog(tmp_path)
    log.append([(1, b"a" * 50)])
    log.append([(2, bytes([65 + n]) * 3_000) for n in range(8)])
    log.close()
    segment = tmp_path / "00000001.wal"
    whole = segment.read_bytes()[:-8]  # it was not acknowledged
    first = last_batch(whole)
    for page in range(0, len(whole), 4096):
        begin, end = max(page, first), min(page + 4096, len(whole))
        segment.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
        assert recovered(tmp_path) == [b"a" * 50]
        (tmp_path / "00000002.wal").unlink()


def test_F04_a_power_cut_while_a_segment_was_made_is_a_torn_tail(tmp_path):
    written(tmp_path)
    for opening in (b"", bytes(5), bytes(12)):
        (tmp_path / "00000002.wal").write_bytes(opening)
        assert recovered(tmp_path) == RECORDS
        assert recovered(tmp_path) == RECORDS, "nor is it damage once other segments stand behind it"
        for number in (2, 3):
            (tmp_path / f"0000000{number}.wal").unlink()


def test_F13_starts_that_find_no_room_for_an_opening_leave_one_segment(tmp_path, monkeypatch):
    """A node is started every few seconds until there is room."""
    written(tmp_path)

    def full(file, data, offset):
        raise OSError(errno.ENOSPC, "no space left")

    opened: list[int] = []
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        for _ in range(5):
            with pytest.raises(OSError, match="no space left"):
                WriteAheadLog(tmp_path, opened.append)
    assert sorted(path.name for path in tmp_path.glob("*.wal")) == ["00000001.wal", "00000002.wal"]
    log = WriteAheadLog(tmp_path, opened.append)
    log.append([(3, b"voted again")])
    log.truncate(2)
    log.close()
    assert opened == [2], "a mark names a segment that has an opening"
    assert recovered(tmp_path) == [b"voted again"]
    check_log(tmp_path)


def test_F04_the_opening_of_a_segment_is_durable_before_any_batch(tmp_path, monkeypatch):
    synced = []
    real = os.fdatasync

    def noted(file):
        synced.append(os.fstat(file).st_size)
        real(file)

    monkeypatch.setattr(os, "fdatasync", noted)
    log = WriteAheadLog(tmp_path)
    assert synced == [12]
    log.close()


def test_F04_a_bit_flipped_in_the_middle_halts_with_place_and_repair(tmp_path):
    segment = written(tmp_path)
    whole = segment.read_bytes()
    for at in range(last_batch(whole) - 8):  # behind is the first batch's acknowledgement
        segment.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(OurError, match="pilechain repair") as caught:
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


def test_F13_segments_that_a_full_disk_has_no_room_to_drop_go_the_next_time(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path, segment_bytes=1)
    for height in range(1, 5):
        log.append([(height, b"vote")])
    for error, code in ((errno.ENOSPC, "kept"), (errno.EIO, "raised")):

        def fail(path, new, error=error):
            raise OSError(error, os.strerror(error))

        with monkeypatch.context() as disk:
            disk.setattr(os, "replace", fail)
            if code == "kept":
                log.truncate(2)
            else:
                with pytest.raises(OSError, match="Input/output"):
                    log.truncate(2)
        assert min(tmp_path.glob("*.wal")).name == "00000001.wal"
    log.truncate(2)
    log.close()
    assert recovered(tmp_path) == [b"vote"] * 2


def test_F13_old_segments_that_somebody_deleted_are_missed(tmp_path):
    """On a full disk it is the first idea: the oldest go, and their votes with them."""
    log = WriteAheadLog(tmp_path, segment_bytes=100)
    for height in range(1, 9):
        log.append([(height, b"vote" * 30)])
    log.truncate(3)
    log.close()
    check_log(tmp_path)
    assert min(tmp_path.glob("*.wal")).name == "00000004.wal"
    for number in (4, 5):
        (tmp_path / f"0000000{number}.wal").unlink()
        for opened in (check_log, WriteAheadLog):
            with pytest.raises(OurError, match=r"wal-damaged: .*00000004\.wal, is missing.*pilechain repair"):
                opened(tmp_path)
    (tmp_path / "00000004.oldest").unlink()  # as old as they are
    with pytest.raises(OurError, match="wal-damaged"):
        check_log(tmp_path)


def test_F13_a_log_begins_anew_where_all_of_it_is_gone(tmp_path):
    log = WriteAheadLog(tmp_path, segment_bytes=1)
    for height in range(1, 5):
        log.append([(height, b"vote")])
    log.truncate(3)
    log.close()
    for path in tmp_path.glob("*.wal"):
        path.unlink()  # the vote key's mark tells
    assert recovered(tmp_path) == []
    (tmp_path / "00000001.wal").unlink()
    (tmp_path / "00000002.wal").touch()
    with pytest.raises(OurError, match="wal-damaged"):
        check_log(tmp_path)


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


def test_F04_two_quick_restarts_leave_no_gap_between_segments(tmp_path):
    """An empty segment must not go before an older one that is needed."""
    log = WriteAheadLog(tmp_path)
    log.append([(10, b"unsealed")])
    log.close()
    recovered(tmp_path)
    log = WriteAheadLog(tmp_path)
    log.truncate(9)
    log.append([(11, b"more")])
    log.close()
    assert recovered(tmp_path) == [b"unsealed", b"more"]
    log = WriteAheadLog(tmp_path)
    log.truncate(11)
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
    assert (tmp_path / "00000001.wal").read_bytes()[:-8].endswith(b"first")
    log.append([(3, b"second")])
    log.close()
    assert recovered(tmp_path) == [b"first", b"second"]


def test_F04_a_failed_fsync_is_never_tried_again(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path)

    def broken(file):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(OurError, match="fsync-failed"):
        log.append([(3, b"vote")])


def test_F13_a_bit_flipped_anywhere_in_what_was_told_halts_and_in_the_rest_is_harmless(tmp_path):
    """Even in the last batch, which a torn tail could explain: it was acknowledged."""
    whole = written(tmp_path / "whole").read_bytes()
    messages = []
    for bit in range(len(whole) * 8):
        folder = tmp_path / "flipped"
        folder.mkdir(exist_ok=True)
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        (folder / "00000001.wal").write_bytes(damaged)
        try:
            assert recovered(folder) == RECORDS
        except OurError as error:
            messages.append(error.message)
        for path in folder.iterdir():
            path.unlink()
    assert all("00000001.wal at offset" in text and "pilechain repair" in text for text in messages)
    assert len(messages) == (len(whole) - 2 * 8) * 8, "all but the two acknowledgements themselves"


def test_F13_a_power_cut_may_lose_an_acknowledgement_and_keep_the_batch_behind_it(tmp_path):
    segment = written(tmp_path)
    whole = segment.read_bytes()
    last = last_batch(whole)
    segment.write_bytes(whole[: last - 8] + bytes(8) + whole[last:-8])
    assert recovered(tmp_path) == RECORDS


def test_F13_an_acknowledgement_that_found_no_room_is_left_out(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path)
    real = os.pwrite

    def full(file, data, offset):
        if len(data) == 8:
            real(file, bytes(data)[:3], offset)
            raise OSError(errno.ENOSPC, "no space left")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    log.append([(1, b"first")])
    log.append([(2, b"second")])
    monkeypatch.undo()
    log.append([(2, b"third")])
    log.close()
    assert recovered(tmp_path) == [b"first", b"second", b"third"]


def test_F13_half_an_acknowledgement_at_the_end_of_a_segment_is_taken_back(tmp_path, monkeypatch):
    """The disk got full just there, and the next batch goes into the next segment."""
    log = WriteAheadLog(tmp_path, segment_bytes=1)
    log.append([(1, b"first")])
    real = os.pwrite

    def full(file, data, offset):
        if len(data) <= 8 and offset > 12:
            if len(data) < 8:
                raise OSError(errno.ENOSPC, "no space left")
            return real(file, bytes(data)[:3], offset)
        return real(file, data, offset)

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", full)
        log.append([(2, b"second")])
    log.append([(3, b"third")])
    log.close()
    assert recovered(tmp_path) == [b"first", b"second", b"third"]


def test_F13_an_acknowledgement_on_a_broken_disk_stops_the_process(tmp_path, monkeypatch):
    log = WriteAheadLog(tmp_path)
    real = os.pwrite

    def broken(file, data, offset):
        if len(data) == 8:
            raise OSError(errno.EIO, "input/output error")
        return real(file, data, offset)

    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(OSError, match="input/output"):
        log.append([(1, b"first")])
