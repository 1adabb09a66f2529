"""A whole consortium on one machine: homes with keys, certificates, genesis document and settings, for trying out and
for tests.

Its passphrases lie beside its keys, and the keys of drivers and piles follow from one seed in its folder: nothing of it
is fit for real money.
"""

import os
import random
import secrets
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from contracts.vm.program import code_hash
from ledger.codec import encode
from ledger.errors import ClientError
from ledger.genesis import Genesis, Parameters, Profile
from ledger.hashing import Tag, sm3
from ledger.keys import Scheme, SoftSigner
from ledger.readable import readable
from ledger.validators import Validator, ValidatorSet
from node.broker.broker import gateway_user, password_of
from node.clock import ChainClock
from node.config import to_toml
from node.home import Home, genesis_json, read_genesis
from node.keystore import LIGHT, save_key
from node.network.tls import make_authority, make_node_certificate, node_key
from node.storage import files
from node.testnet.consortium import COMPANIES, Company, Driver, Pile, consortium_of
from node.testnet.containers import BROKER, LISTEN, addresses_of, gateway_settings, write_certificates, write_secret

MANIFEST = "testnet.json"
GENESIS = "genesis.json"
AUTHORITY = "authority"
"""Folder of the certificate authorities: whoever joins later gets its certificate from them."""
MQTT_BELOW_BASE = 26656 - 21883
"""The broker listens so far below the first node."""
PORTS_PER_NODE = 10
"""Node i listens at base + 10 i: p2p +0, api +1, ops +4."""
FREE_PORTS = range(20_000, 32_768)
"""Where free ports are looked for: below those that the system gives to outgoing connections, of which one could take
a port between its choice and its use.
"""
ACCOUNT_FILES_MAX = 16
"""Drivers whose keys are written as key files too, for `pilechain tx --key`; those of all follow from the seed."""


class TestnetPlan(Struct, frozen=True, kw_only=True):
    """What to make."""

    __test__ = False  # no test class, whatever pytest thinks of its name

    nodes: int = 4
    profile: Profile = Profile.MIXED
    speed: int = 1
    chain_start_ms: int | None = None
    """Chain time of this moment; None for the wall clock's."""
    base_port: int = 26656
    """0 takes free ports, the broker's too."""
    piles: tuple[Pile, ...] = ()
    drivers: tuple[Driver, ...] = ()
    log_format: str = "console"
    containers: bool = False
    """Each node in a container of its own, known by its name; then `base_port` says nothing."""


class NodeAddresses(Struct, frozen=True):
    """Where a node listens."""

    p2p: str
    api: str
    ops: str


class Testnet(Struct, frozen=True):
    """A testnet that exists."""

    __test__ = False

    root: Path
    clock: ChainClock
    seed: str
    """Hexadecimal; keys of drivers and piles follow from it."""
    scheme: Scheme
    """Of all accounts, devices and votes."""
    broker: str
    """Address at which the nodes expect the MQTT broker."""
    nodes: dict[str, NodeAddresses]
    """Company name -> addresses, sorted by name."""
    certificates: bool = False
    """The broker asks for certificates, which lie in `devices/`, and not for passwords."""

    @classmethod
    def load(cls, root: Path) -> "Testnet":
        """The testnet of a folder. Raises ClientError `testnet-missing`."""
        try:
            return msgspec.json.decode((root / MANIFEST).read_bytes(), type=cls, dec_hook=_path)
        # The last two escape msgspec unwrapped.
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ClientError("testnet-missing", f"{root} holds no testnet: {error}") from error

    def save(self) -> None:
        """Write the manifest. Raises OSError."""
        files.replace(
            self.root / MANIFEST, msgspec.json.format(msgspec.json.encode(self, enc_hook=str), indent=2) + b"\n"
        )

    @staticmethod
    def exists(root: Path) -> bool:
        """Whether a testnet was made in a folder."""
        return (root / MANIFEST).exists()

    @property
    def logs(self) -> Path:
        """What the processes say, a file for each."""
        return self.root / "logs"

    def home(self, company: str) -> Home:
        """Folder of a company's node."""
        return Home(self.root / company)

    def genesis(self) -> Genesis:
        """The genesis document. Raises ClientError `genesis-missing` or `genesis-invalid`."""
        return read_genesis(self.root / GENESIS)

    @property
    def broker_secret(self) -> bytes:
        """What the passwords at the broker follow from (`node.broker.broker.password_of`)."""
        return sm3(Tag.KEY_SEED, bytes.fromhex(self.seed), b"broker")

    def signer(self, kind: str, name: str) -> SoftSigner:
        """Key of a `driver`, `pile` or `company` by name, or of the readings `archive` of a company."""
        return _signer(self.scheme, bytes.fromhex(self.seed), kind, name)

    def describe(self) -> dict[str, Any]:
        """What `pilechain testnet` prints."""
        return {
            "folder": str(self.root),
            "chain": self.genesis().hash().hex(),
            "broker": self.broker,
            "nodes": [
                {"company": name, "p2p": at.p2p, "api": f"http://{at.api}", "ops": f"http://{at.ops}"}
                for name, at in self.nodes.items()
            ],
            "start one": f"pilechain start --home {self.root / next(iter(self.nodes))}",
        }


def make_testnet(root: Path, plan: TestnetPlan) -> Testnet:
    """Make the homes of all validators under `root`, a new folder or one without a file in it (volumes may be mounted
    there). Raises ClientError `testnet-exists`.
    """
    root = root.expanduser().absolute()
    if any(path.is_file() for path in root.rglob("*")):
        raise ClientError("testnet-exists", f"{root} is not empty; choose a new folder")
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o700)
    (root / "logs").mkdir(exist_ok=True)
    companies = companies_of(plan.nodes)
    validators = sorted(company.name for company in companies if company.validator)
    addresses, broker = _addresses(plan, validators)
    scheme = Scheme.SM2 if plan.profile is Profile.GM else Scheme.ED25519
    seed = secrets.token_bytes(32)
    wall_ms = time.time_ns() // 1_000_000
    chain_ms = wall_ms if plan.chain_start_ms is None else plan.chain_start_ms
    is_real = plan.speed == 1 and plan.chain_start_ms is None
    clock = ChainClock() if is_real else ChainClock(chain_ms, wall_ms, plan.speed)
    testnet = Testnet(root, clock, seed.hex(), scheme, broker, addresses, plan.containers)

    (root / AUTHORITY).mkdir(exist_ok=True)
    authority, authority_key = make_authority("PileChain testnet")
    (root / AUTHORITY / "ca.pem").write_bytes(authority)
    write_secret(root / AUTHORITY / "ca_key.pem", authority_key)
    operators = {company.name for company in companies if "operator" in company.roles}
    members = [write_home(testnet, name, plan.log_format, gateway=name in operators) for name in validators]

    def key_of(kind: str, name: str) -> bytes:
        return testnet.signer(kind, name).public_key

    consortium = consortium_of(companies, plan.piles, plan.drivers, key_of, plan.speed)
    genesis = Genesis(
        format=1,
        name="testnet",
        profile=plan.profile,
        time_ms=chain_ms,
        parameters=scaled_parameters(plan.speed),
        validators=ValidatorSet(0, tuple(members)),
        consortium=encode(consortium),
    )
    genesis.validators.check(plan.profile.schemes)
    contracts = [{"number": each.number, "code_hash": code_hash(each.code).hex()} for each in consortium.contracts]
    document = genesis_json(genesis, readable(consortium) | {"contracts": contracts})
    for path in (root / GENESIS, *(testnet.home(name).genesis_file for name in validators)):
        path.write_text(document, encoding="utf-8")
    if plan.containers:
        gateways = {name: testnet.home(name).config_file.parent for name in validators if name in operators}
        write_certificates(root, root / AUTHORITY, genesis.hash(), gateways, (pile.name for pile in plan.piles))
    _write_account_files(testnet, plan)
    testnet.save()
    return testnet


def write_home(testnet: Testnet, name: str, log_format: str, *, gateway: bool) -> Validator:
    """Make a company's home but for the genesis document: keys, certificate, settings. Returns it as a validator. Where
    there are piles it has a gateway; elsewhere none, for each gateway hears what every pile says.
    """
    authority = testnet.root / AUTHORITY
    passphrase = secrets.token_hex(16).encode()
    ca = (authority / "ca.pem").read_bytes()
    certificate, tls_key = make_node_certificate(name, ca, (authority / "ca_key.pem").read_bytes(), passphrase)
    company_key = testnet.signer("company", name)
    vote_key = SoftSigner.from_seed(testnet.scheme, os.urandom(32))
    folder = testnet.home(name).config_file.parent
    folder.mkdir(parents=True)
    write_secret(folder / "passphrase", passphrase)
    write_secret(folder / "node_key.pem", tls_key)
    if not testnet.certificates:
        write_secret(folder / "mqtt_password", password_of(testnet.broker_secret, gateway_user(name)).encode())
    (folder / "node.pem").write_bytes(certificate)
    (folder / "ca.pem").write_bytes(ca)
    save_key(folder / "vote_key.json", vote_key, passphrase, LIGHT)
    save_key(folder / "company_key.json", company_key, passphrase, LIGHT)
    save_key(folder / "archive_key.json", testnet.signer("archive", name), passphrase, LIGHT)
    (folder / "config.toml").write_text(_settings(name, testnet, log_format, gateway), encoding="utf-8")
    return Validator(name, company_key.public_key, vote_key.public_key, node_key(certificate))


def companies_of(nodes: int) -> tuple[Company, ...]:
    """The eight companies of the demonstration, of which `nodes` vote; beyond eight, further operators join."""
    further = tuple(
        Company(f"Operator{number:02}", f"第{number}运营商", ("operator",))
        for number in range(len(COMPANIES) + 1, nodes + 1)
    )
    return tuple(
        msgspec.structs.replace(company, validator=at < nodes) for at, company in enumerate(COMPANIES + further)
    )


def scaled_parameters(speed: int) -> Parameters:
    """Genesis parameters of a chain whose clock runs `speed` times faster than the wall: times are multiplied, sizes
    stay.
    """
    normal = Parameters()
    times = {name: getattr(normal, name) * speed for name in normal.__struct_fields__ if name.endswith("_ms")}
    return msgspec.structs.replace(normal, **times)


def example_drivers(count: int, wallet_fen: int = 100_000) -> tuple[Driver, ...]:
    """Drivers driver-001 …, homes in turn."""
    operators = [company.name for company in COMPANIES if "operator" in company.roles]
    return tuple(Driver(f"driver-{n + 1:03}", operators[n % len(operators)], wallet_fen) for n in range(count))


def example_piles(count: int) -> tuple[Pile, ...]:
    """Piles pile-001 … of 7 kW on a grid of streets, owners in turn."""
    operators = [company.name for company in COMPANIES if "operator" in company.roles]
    return tuple(
        Pile(
            f"pile-{n + 1:03}",
            operators[n % len(operators)],
            latitude_e7=225_000_000 + 50_000 * (n // 20),
            longitude_e7=1_139_500_000 + 50_000 * (n % 20),
            power_w=7_000,
        )
        for n in range(count)
    )


def _signer(scheme: Scheme, seed: bytes, kind: str, name: str) -> SoftSigner:
    return SoftSigner.from_seed(scheme, sm3(Tag.KEY_SEED, seed, f"{kind}/{name}".encode()))


def _settings(name: str, testnet: Testnet, log_format: str, gateway: bool) -> str:
    at = testnet.nodes[name]
    clock = {} if testnet.clock == ChainClock() else msgspec.structs.asdict(testnet.clock)
    mqtt = {"broker": testnet.broker, "username": gateway_user(name), "password_file": "config/mqtt_password"}
    if testnet.certificates:
        at, mqtt = NodeAddresses(*LISTEN), gateway_settings(name)
    if not gateway:
        mqtt = {}
    peers = {peer: addresses.p2p for peer, addresses in testnet.nodes.items() if peer != name}
    return to_toml(
        {
            "node": {"company": name},
            "clock": clock,
            "p2p": {"listen": at.p2p, "peers": peers},
            "api": {"listen": at.api},
            "ops": {"listen": at.ops},
            "mqtt": mqtt,
            "keys": {"passphrase_file": "config/passphrase"},
            "store": {"map_bytes": 4 << 30},
            "log": {"format": log_format},
        }
    )


def _addresses(plan: TestnetPlan, names: list[str]) -> tuple[dict[str, NodeAddresses], str]:
    if plan.containers:
        return {name: NodeAddresses(*addresses_of(name)) for name in names}, BROKER
    if plan.base_port:
        last = plan.base_port + PORTS_PER_NODE * len(names)
        if plan.base_port - MQTT_BELOW_BASE < 1024 or last > 65_535:
            raise ClientError(
                "port-range", f"base port {plan.base_port}: ports must lie between 1024 and 65535; try 26656"
            )
        firsts = [plan.base_port + PORTS_PER_NODE * at for at in range(len(names))]
        ports = [port for first in firsts for port in (first, first + 1, first + 4)] + [
            plan.base_port - MQTT_BELOW_BASE
        ]
    else:
        ports = free_ports(3 * len(names) + 1)
    local = [f"127.0.0.1:{port}" for port in ports]
    return {name: NodeAddresses(*local[3 * at : 3 * at + 3]) for at, name in enumerate(names)}, local[-1]


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at. All are held until all are known, so none comes twice."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(FREE_PORTS, len(FREE_PORTS)):
            one = held.enter_context(socket.socket())
            with suppress(OSError):
                one.bind(("127.0.0.1", port))
                found.append(port)
            if len(found) == count:
                return found
    raise ClientError("port-range", f"no {count} ports from {FREE_PORTS[0]} to {FREE_PORTS[-1]} are free")


def _write_account_files(testnet: Testnet, plan: TestnetPlan) -> None:
    folder = testnet.root / "accounts"
    folder.mkdir()
    passphrase = secrets.token_hex(16).encode()
    write_secret(folder / "passphrase", passphrase)
    for driver in plan.drivers[:ACCOUNT_FILES_MAX]:
        save_key(folder / f"{driver.name}.json", testnet.signer("driver", driver.name), passphrase, LIGHT)


def _path(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value
