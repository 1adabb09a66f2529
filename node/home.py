"""Where a node keeps its files, and how it reads its configuration and genesis document from there."""

import base64
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from contracts.digests import node_key_digest
from ledger.codec import decode
from ledger.errors import ClientError, PeerError
from ledger.genesis import Genesis
from ledger.readable import readable
from node.config import Config, load_config
from node.keystore import passphrase_from_env_or_file
from node.network.tls import node_key, sign_with_node_key

DEFAULT_HOME = "~/.pilechain"


class Home(Struct, frozen=True):
    """The folder of one node: `config/` is written by people and tools (and by the node, which marks
    a vote key that has voted), `data/` by the node alone."""

    root: Path

    @property
    def config_file(self) -> Path:
        """Settings."""
        return self.root / "config" / "config.toml"

    @property
    def genesis_file(self) -> Path:
        """The genesis document."""
        return self.root / "config" / "genesis.json"

    @property
    def ledger(self) -> Path:
        """LMDB store of sealed blocks."""
        return self.root / "data" / "ledger"

    @property
    def snapshots(self) -> Path:
        """Snapshots of the ledger for nodes that join."""
        return self.root / "data" / "snapshots"

    @property
    def joining(self) -> Path:
        """What is here already of a snapshot that this node joins by."""
        return self.root / "data" / "joining"

    @property
    def rejoin(self) -> Path:
        """Mark that this node joins by snapshot at its next start, though it has a ledger: inside of that one, so that
        it goes with it when another takes its place, whenever the power is cut.
        """
        return self.ledger / "rejoin"

    @property
    def wal(self) -> Path:
        """Write-ahead log of votes and of committed, unsealed blocks."""
        return self.root / "data" / "wal"

    @property
    def index(self) -> Path:
        """The read model; can be dropped and rebuilt."""
        return self.root / "data" / "index.sqlite"

    @property
    def archive(self) -> Path:
        """Signed readings of this company's piles; cannot be rebuilt from the ledger."""
        return self.root / "data" / "readings.sqlite"

    @property
    def socket(self) -> Path:
        """Unix socket of the core process."""
        return self.root / "core.sock"

    def path(self, setting: str) -> Path:
        """A path from the settings: absolute, or relative to this folder."""
        return self.root / setting

    def config(self, flags: dict[str, object] | None = None) -> Config:
        """The settings in force. Raises ClientError as `load_config` does."""
        return load_config(self.config_file, os.environ, flags)

    def passphrase(self, config: Config) -> bytes:
        """What opens the node's keys: of the file that the settings name, else of the environment. Raises ClientError
        `keystore-no-passphrase`.
        """
        environment = dict(os.environ)
        if config.keys.passphrase_file:
            environment = {"PILECHAIN_PASSPHRASE_FILE": str(self.path(config.keys.passphrase_file))}
        return passphrase_from_env_or_file(environment)

    def genesis(self) -> Genesis:
        """The genesis document. Raises ClientError `genesis-missing` or `genesis-invalid`."""
        return read_genesis(self.genesis_file)


def find_home(flag: Path | None) -> Home:
    """The folder that the flag, PILECHAIN_HOME or the default names."""
    return Home((flag or Path(os.environ.get("PILECHAIN_HOME", DEFAULT_HOME))).expanduser().absolute())


def genesis_json(genesis: Genesis, consortium: object) -> str:
    """The genesis file: hash and readable form for people, the canonical bytes for programs."""
    shown = readable(genesis) | {"consortium": consortium}
    document = {
        "hash": genesis.hash().hex(),
        "document": base64.b64encode(msgspec.msgpack.encode(genesis)).decode(),
        "readable": shown,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def read_genesis(path: Path) -> Genesis:
    """Genesis document from its file.

    Raises ClientError `genesis-missing`, or `genesis-invalid` when the bytes are no genesis or are not those that the
    hash names.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError as error:
        raise ClientError(
            "genesis-missing", f"{path} does not exist; ask a member for it, or make a testnet"
        ) from error
    try:
        parts = msgspec.json.decode(text, type=dict[str, object])
        genesis = decode(Genesis, base64.b64decode(str(parts["document"]), validate=True))
        genesis.validators.check(genesis.profile.schemes)
    except (msgspec.DecodeError, RecursionError, KeyError, ValueError, PeerError) as error:
        raise ClientError("genesis-invalid", f"{path}: {error}") from error
    if genesis.hash().hex() != parts.get("hash"):
        raise ClientError(
            "genesis-invalid",
            f"{path}: the document's hash is {genesis.hash().hex()}, the file says {parts.get('hash')}",
        )
    return genesis


def set_node_args(home: Home, address: str) -> dict[str, Any]:
    """Arguments of `governance.set_node` by which a home's company names its node, with the node's own signature.

    Raises ClientError `tls-files`, `keystore-no-passphrase`, OSError.
    """
    config = home.config()
    key = node_key(home.path(config.p2p.certificate).read_bytes())
    digest = node_key_digest(home.genesis().hash(), config.node.company, key)
    proof = sign_with_node_key(home.path(config.p2p.key).read_bytes(), home.passphrase(config), digest)
    return {"node_key": key, "address": address, "proof": proof}
