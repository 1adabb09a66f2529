"""Files, settings and texts that people, tools and power cuts leave behind."""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ledger.errors import ClientError, OurError
from ledger.keys import Scheme
from ledger.readable import readable
from node.cli.backup import LEDGER, FileEntry, Manifest, read_manifest
from node.cli.call_text import parse_call
from node.clock import ChainClock
from node.config import load_config
from node.core.vote_mark import VoteMark
from node.demo.city import read_cars, read_stations
from node.home import genesis_json, read_genesis
from node.keystore import LIGHT, cost_of, load_key, public_key_of, save_key
from node.library import library_abi
from node.storage.wal import WriteAheadLog
from node.testnet.make import MANIFEST, NodeAddresses, Testnet
from tests import chain, consortium
from tests.fuzz.engine import Target
from tests.fuzz.targets import target

TEXT = (
    *(b"\0", b"\xff", b"\xed\xa0\x80", "١".encode(), "文".encode()),
    *(b'"', b"\\", b"\n", b",", b"=", b"[", b"]", b"{", b"}"),
    *(b"NaN", b"-1", b"1e1000000", b"1e-1000000", b"9" * 5_000, b"0x_", b"9999-99-99"),
    *(b"[" * 5_000, b'{"a":' * 5_000),
)
"""What text formats trip over: half a character, foreign digits, numbers without end, nesting without end."""


def on_disk(path: Path) -> Callable[[bytes], Path]:
    """Gives a file its content."""

    def written(data: bytes) -> Path:
        path.write_bytes(data)
        path.chmod(0o600)
        return path

    return written


@target("node.home.read_genesis")
def genesis_files(folder: Path) -> Iterator[Target]:
    """The hash in the file binds its document."""
    document, file = consortium.genesis(), on_disk(folder / "genesis.json")

    def parse(data: bytes) -> None:
        assert read_genesis(file(data)).hash() == document.hash()

    yield Target(parse, [genesis_json(document, readable(consortium.consortium())).encode()], tokens=TEXT)


@target("node.keystore.load_key", "node.keystore._content", "node.keystore.public_key_of")
def key_files(folder: Path) -> Iterator[Target]:
    """Key files: the key that was saved, or none."""
    signers, samples, file = [chain.signer("holder", scheme) for scheme in Scheme], [], on_disk(folder / "key.json")
    for number, signer in enumerate(signers):
        save_key(folder / f"{number}.json", signer, b"passphrase", LIGHT)
        samples.append((folder / f"{number}.json").read_bytes())

    def parse(data: bytes) -> None:
        cost_of(file(data))
        public_key_of(file(data))
        assert load_key(file(data), b"passphrase").secret in [signer.secret for signer in signers]

    # Fewer: a bent cost may make argon2id take a second.
    yield Target(parse, samples, tokens=TEXT, iterations=600)


@target("node.cli.backup.read_manifest")
def backup_manifests(folder: Path) -> Iterator[Target]:
    """The list of a backup's files: nothing is ever written outside of the home."""
    entry, file = FileEntry(4096, "ab" * 32), on_disk(folder / "manifest.json")
    listed = {LEDGER: entry, "config/config.toml": entry, "config/vote_key.json": entry}
    sample = msgspec.json.encode(Manifest(1, "0.3.0", "Teld", "cd" * 32, 7, "2026-01-01T00:00:00Z", listed))

    def parse(data: bytes) -> None:
        home = folder / "home"
        for name in read_manifest(file(data)).files:
            inside = Path(os.path.normpath(home / name)).relative_to(home)
            assert str(inside) == name or name == LEDGER

    yield Target(parse, [sample], tokens=(*TEXT, b"../", b"/etc/", b"config/..", b"\\u0000"), refusals=(ClientError,))


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


@target("node.config.load_config", "node.config._read")
def settings_files(folder: Path) -> Iterator[Target]:
    """config.toml."""
    file = on_disk(folder / "config.toml")
    yield Target(lambda data: load_config(file(data), {}), [CONFIG], tokens=TEXT)


@target("node.config._typed")
def settings_of_the_environment(folder: Path) -> Iterator[Target]:
    """PILECHAIN_… variables."""
    names = ("PILECHAIN_P2P__LISTEN", "PILECHAIN_CLOCK__SPEED", "PILECHAIN_P2P__PEERS", "PILECHAIN_LOG__LEVEL")

    def parse(data: bytes) -> None:
        name = names[len(data) % len(names)]
        load_config(folder / "absent.toml", {name: os.fsdecode(data.replace(b"\0", b""))})

    samples = [b'{"Teld":"127.0.0.1:1"}', b"10000", b"warning", b"127.0.0.12:26657"]  # each its own variable's
    yield Target(parse, samples, tokens=TEXT, refusals=(ClientError,))


@target("node.core.vote_mark.VoteMark.__init__")
def vote_marks(folder: Path) -> Iterator[Target]:
    """The mark beside the vote key."""
    key, file = chain.signer("vote").public_key, on_disk(folder / "vote.key.voted")
    yield Target(
        lambda data: VoteMark(file(data).with_name("vote.key"), key), [key.hex().encode() + b" 7\n"], tokens=TEXT
    )


@target("node.testnet.make.Testnet.load")
def testnet_manifests(folder: Path) -> Iterator[Target]:
    """testnet.json."""
    file = on_disk(folder / MANIFEST)
    names = NodeAddresses.__struct_fields__
    nodes = {"Teld": NodeAddresses(*(f"127.0.0.1:{port}" for port in range(len(names))))}
    sample = Testnet(folder, ChainClock(speed=60), "00" * 32, Scheme.SM2, "127.0.0.1:1", nodes)
    yield Target(lambda data: Testnet.load(file(data).parent), [msgspec.json.encode(sample, enc_hook=str)], tokens=TEXT)


STATIONS = b"""station_id,latitude,longitude,fast,slow,count
A1,22.51,113.95,3,2,5
A2,-22.5,1.0,0,1,1
"""
SESSIONS = b"""session_id,station_id,arrival,departure,energy_kwh,max_power_kw
s1,A1,2019-03-01T06:20:00,2019-03-01T09:20:00,6.5,6.6
s2,A1,2019-03-02T23:20:00,2019-03-09T09:20:00,0.001,0.5
"""


def _table(read: Callable[[Path], list], sample: bytes, folder: Path) -> Target:
    file = on_disk(folder / "table.csv")

    def parse(data: bytes) -> None:
        for row in read(file(data)):
            numbers = [value for name in row.__struct_fields__ if isinstance(value := getattr(row, name), int)]
            assert all(abs(number) < 2**63 for number in numbers), row
            assert getattr(row, "power_w", 1) > 0, "a car without power never ends charging"

    return Target(parse, [sample], tokens=TEXT, refusals=(ClientError,))


@target("node.demo.city.read_stations")
def station_tables(folder: Path) -> Iterator[Target]:
    """Stations of a city."""
    yield _table(read_stations, STATIONS, folder)


@target("node.demo.city.read_cars")
def session_tables(folder: Path) -> Iterator[Target]:
    """Sessions of a real site."""
    yield _table(read_cars, SESSIONS, folder)


@target("node.cli.call_text.parse_call", "ledger.readable.from_readable", "node.cli.call_text._from_text")
def command_line_calls(_: Path) -> Iterator[Target]:
    """Arguments of `pilechain submit`."""

    def parse(data: bytes) -> None:
        try:
            contract, method, *words = shlex.split(os.fsdecode(data))
        except ValueError:  # an open quote, or less than two words: a shell would not come to us
            contract, method, words = "money", "pay", [os.fsdecode(data)]
        parse_call(library_abi(), contract, method, words)

    key = consortium.key("d1").hex()
    samples = [
        f"money pay --to {key} --amount-fen 5 --memo=0".encode(),
        b"""tariff set_fee --fee '{"service_price_e4": 1, "occupancy_fen_per_minute": 1, "grace_ms": 1}'""",
        f"""identity add_key --arg-key {key} --businesses '["payment"]' --proof {"00" * 64}""".encode(),
        b"registry inspect --pile P --meter-state verified --registers-wh [1,2]",
    ]
    yield Target(parse, samples, tokens=TEXT, refusals=(ClientError,), iterations=300)


RECORDS = [(height, b"record %d of the log" % height * height) for height in range(1, 6)]


@target()
def write_ahead_logs(folder: Path) -> Iterator[Target]:
    """What was written up to a torn tail, or a halt that says what is damaged."""
    log = WriteAheadLog(folder / "original")
    for record in RECORDS:
        log.append([record])
    log.close()
    sample = next((folder / "original").glob("*.wal")).read_bytes()
    bent, records = folder / "bent", [record for _, record in RECORDS]
    bent.mkdir()
    last = sample.rindex(sample[:8])  # the last batch's head begins with the segment's mark

    def parse(data: bytes) -> None:
        for path in bent.iterdir():
            path.unlink()
        (bent / "00000001.wal").write_bytes(data)
        try:
            read = WriteAheadLog(bent)
        except OurError as error:
            if error.code != "wal-damaged":
                raise AssertionError("another fault than damage") from error
            raise
        read.close()
        assert all(record in records for record in read.recovered), "never a record that nobody wrote"
        if len(data) == len(sample) and data[last:] == sample[last:]:
            assert read.recovered == records, "damage before a whole batch is not taken for a torn tail"

    yield Target(parse, [sample], refusals=(OurError,), iterations=1_500)
