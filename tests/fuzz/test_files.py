"""Files that people, tools and power cuts leave behind: read, or refused with a code that says what is wrong."""

import os
from contextlib import suppress
from pathlib import Path

import pytest

from ledger.errors import ClientError, OurError, PeerError
from ledger.keys import Scheme
from ledger.readable import readable
from node.config import load_config
from node.demo.city import read_cars, read_stations
from node.gateway.archive import Archive, Batch
from node.home import genesis_json, read_genesis
from node.keystore import LIGHT, load_key, save_key
from node.storage.wal import WriteAheadLog
from tests import chain, consortium
from tests.fuzz.engine import fuzz, inputs, told
from tests.fuzz.test_ledger_objects import SESSION, readings

NESTED_JSON = b"[" * 5_000
NESTED_OBJECTS = b'{"a":' * 5_000
TEXT = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", "١".encode(), "文".encode()),
    *(b'"', b"\\", b"\n", b",", b"=", b"[", b"]", b"{", b"}"),
    *(b"NaN", b"-1", b"1e1000000", b"1e-1000000", b"9" * 5_000, b"0x_", b"9999-99-99"),
    *(NESTED_JSON, NESTED_OBJECTS),
)
"""What text formats trip over: half a character, foreign digits, numbers without end, nesting without end."""


class OnDisk:
    """A parser of files as a parser of bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, data: bytes) -> Path:
        """The file with this content."""
        self.path.write_bytes(data)
        self.path.chmod(0o600)
        return self.path


@pytest.fixture
def on_disk(tmp_path):
    return OnDisk(tmp_path / "file")


def test_genesis_files(on_disk):
    document = consortium.genesis()
    sample = genesis_json(document, readable(consortium.consortium())).encode()

    def target(data: bytes) -> None:
        assert read_genesis(on_disk(data)).hash() == document.hash(), "the hash in the file binds its document"

    fuzz(target, [sample], tokens=TEXT)


def test_key_files(on_disk, tmp_path):
    signers = [chain.signer("holder", scheme) for scheme in Scheme]
    samples = []
    for number, signer in enumerate(signers):
        save_key(tmp_path / f"{number}.json", signer, b"passphrase", LIGHT)
        samples.append((tmp_path / f"{number}.json").read_bytes())

    def target(data: bytes) -> None:
        assert load_key(on_disk(data), b"passphrase").secret in [signer.secret for signer in signers]

    # Fewer: a bent cost may make argon2id take a second.
    fuzz(target, samples, tokens=TEXT, iterations=600)


CONFIG = b"""
[node]
company = "Teld"
observer = false
[clock]
speed = 60
[p2p]
listen = "127.0.0.1:26656"
peers = { SGCC = "127.0.0.1:26666", "Star Charge" = "10.0.0.1:1" }
[store]
map_bytes = 1048576
[log]
format = "json"
"""


def test_settings_files(on_disk):
    fuzz(lambda data: load_config(on_disk(data), {}), [CONFIG], tokens=TEXT)


def test_settings_of_the_environment(tmp_path):
    names = ("PILECHAIN_P2P__PEERS", "PILECHAIN_CLOCK__SPEED", "PILECHAIN_LOG__LEVEL", "PILECHAIN_API__LISTEN")
    for name in names:
        for data in inputs([b'{"Teld": "127.0.0.1:1"}', b"60", b"127.0.0.1:26657"], TEXT, 1_000):
            with told(data), suppress(ClientError):
                load_config(tmp_path / "absent.toml", {name: os.fsdecode(data.replace(b"\0", b""))})


STATIONS = b"""station_id,latitude,longitude,fast,slow,count
A1,22.51,113.95,3,2,5
A2,-22.5,1.0,0,1,1
"""
SESSIONS = b"""session_id,station_id,arrival,departure,energy_kwh,max_power_kw
s1,A1,2019-03-01T06:20:00,2019-03-01T09:20:00,6.5,6.6
s2,A1,2019-03-02T23:20:00,2019-03-09T09:20:00,0.001,0.5
"""


@pytest.mark.parametrize(
    ("read", "sample"), [(read_stations, STATIONS), (read_cars, SESSIONS)], ids=["stations", "sessions"]
)
def test_tables_of_the_city(on_disk, read, sample):
    def target(data: bytes) -> None:
        for row in read(on_disk(data)):
            numbers = [value for name in row.__struct_fields__ if isinstance(value := getattr(row, name), int)]
            assert all(abs(number) < 2**63 for number in numbers), row
            assert getattr(row, "power_w", 1) > 0, "a car without power never ends charging"

    fuzz(target, [sample], tokens=TEXT, refusals=(ClientError,))


def test_readings_for_the_archive(tmp_path):
    """Batches arrive decoded; their readings are bent here, and what is stored must be what the pile signed."""
    archive = Archive(tmp_path / "readings.sqlite")
    signed = readings()
    key = consortium.key("Pile-1")
    for data in inputs([one.reading for one in signed], iterations=500):
        with told(data):
            bent = type(signed[0])(data, signed[0].signature)
            for batch in ((bent,), (signed[0], bent)):
                [answer] = archive.append([Batch(SESSION, "Pile-1", key, batch)])
                assert isinstance(answer, PeerError) or answer.count <= 1 or data in [one.reading for one in signed]
            assert all(one in signed for one in archive.readings(SESSION))
    [end] = archive.append([Batch(SESSION, "Pile-1", key, tuple(signed))])
    assert not isinstance(end, PeerError)
    assert end.count == 3
    archive.close()


RECORDS = [(height, b"record %d of the log" % height * height) for height in range(1, 6)]


def _segment(folder: Path) -> bytes:
    log = WriteAheadLog(folder)
    for record in RECORDS:
        log.append([record])
    log.close()
    return next(folder.glob("*.wal")).read_bytes()


def test_logs_give_back_what_was_written_up_to_a_torn_tail_or_halt_the_node(tmp_path):
    sample = _segment(tmp_path / "original")
    folder = tmp_path / "bent"
    folder.mkdir()
    records = [record for _, record in RECORDS]
    last = sample.rindex(sample[:8])  # the last batch's head begins with the segment's mark
    halted = 0
    for data in inputs([sample], iterations=1_500):
        (folder / "00000001.wal").write_bytes(data)
        with told(data):
            try:
                log = WriteAheadLog(folder)
            except OurError as error:
                if error.code != "wal-damaged":
                    raise
                halted += 1
            else:
                log.close()
                assert all(record in records for record in log.recovered), "never a record that nobody wrote"
                if len(data) == len(sample) and data[last:] == sample[last:]:
                    assert log.recovered == records, "damage before a whole batch is not taken for a torn tail"
        for path in folder.iterdir():
            path.unlink()
    assert halted
