"""A node's settings: typed, checked key by key, from flags, environment, file and defaults, in that order of strength.

`config.toml` has one table per section below. `PILECHAIN_P2P__LISTEN=…` overrides `p2p.listen`; a setting whose name
ends in `_file` holds the path of a secret, so that no secret stands in the file or the environment itself.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct, field

from ledger.errors import ClientError
from node.clock import ChainClock

Address = Annotated[str, Meta(pattern=r"^[^\s:]+:\d{1,5}$", description="an address host:port")]
"""host:port; port 0 lets the system choose."""


class NodeSection(Struct, frozen=True):
    """Who runs this node."""

    company: str = ""
    """English name as in the genesis document."""
    observer: bool = False
    """Follows the chain without voting."""


class P2pSection(Struct, frozen=True):
    """Connections to the other members."""

    listen: Address = "0.0.0.0:26656"
    peers: dict[str, Address] = {}
    """Company name -> address."""
    ca: str = "config/ca.pem"
    certificate: str = "config/node.pem"
    key: str = "config/node_key.pem"


class ApiSection(Struct, frozen=True):
    """The public HTTP interface of the edge process."""

    listen: Address = "127.0.0.1:26657"
    requests_per_second_max: Annotated[int, Meta(ge=1, description="a number of requests of at least 1")] = 200
    """Per client address; a flood is answered 429 before it costs anything else."""


class OpsSection(Struct, frozen=True):
    """Health and metrics; keep it inside your own network."""

    listen: Address = "127.0.0.1:26660"


class MqttSection(Struct, frozen=True):
    """The broker through which this node's devices speak. Without a broker address the gateway stays off."""

    broker: str = ""
    """host:port, or empty."""
    username: str = ""
    password_file: str = ""
    """Path of a file that holds the password."""
    ca: str = ""
    """CA bundle for TLS to the broker; empty for plain TCP on this machine."""
    certificate: str = ""
    """The gateway's client certificate, where the broker asks for one; its common name is the user name."""
    key: str = ""
    """Its key, perhaps encrypted under the node's passphrase."""


class KeysSection(Struct, frozen=True):
    """Encrypted key files."""

    vote: str = "config/vote_key.json"
    company: str = "config/company_key.json"
    archive: str = "config/archive_key.json"
    """Signs what the readings archive confirms to piles; only a node with a gateway needs it."""
    passphrase_file: str = ""
    """Path of a file with the passphrase; otherwise PILECHAIN_PASSPHRASE or PILECHAIN_PASSPHRASE_FILE."""


class StoreSection(Struct, frozen=True):
    """The ledger store."""

    map_bytes: Annotated[int, Meta(ge=1 << 20, description="a number of bytes of at least 1 MiB")] = 64 << 30
    """Size of the sparse LMDB map: the most that the store can ever hold."""
    snapshot_every: Annotated[int, Meta(ge=0, description="a number of blocks, 0 for none")] = 1_000
    """A snapshot for nodes that join is made at each multiple of so many blocks; the newest two are kept. The same at
    all members, so that one may be fetched from several of them.
    """
    keep_blocks: Annotated[int, Meta(ge=0, description="a number of blocks, 0 for all")] = 0
    """Transactions, receipts and changes of older blocks are dropped, if they are also older than a device's record may
    be and no snapshot needs them. Headers, seals, results and validator sets stay for ever: light clients need them.
    """
    join: Literal["replay", "snapshot"] = "replay"
    """How a node without a ledger gets it: by executing all blocks, or by the newest snapshot of its peers."""
    trust_height: Annotated[int, Meta(ge=0, description="a height, 0 for none")] = 0
    """A block that is known to be true, from a partner or a page of the explorer: keys of members that left long ago
    could seal a false history, and a node that joins by snapshot cannot tell the two apart. Together with its hash.
    """
    trust_hash: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$", description="a header hash of 64 hex digits")] = ""
    """That block's header hash."""


class LogSection(Struct, frozen=True):
    """Logs go to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


class Config(Struct, frozen=True):
    """All settings of a node."""

    node: NodeSection = field(default_factory=NodeSection)
    clock: ChainClock = field(default_factory=ChainClock)
    p2p: P2pSection = field(default_factory=P2pSection)
    api: ApiSection = field(default_factory=ApiSection)
    ops: OpsSection = field(default_factory=OpsSection)
    mqtt: MqttSection = field(default_factory=MqttSection)
    keys: KeysSection = field(default_factory=KeysSection)
    store: StoreSection = field(default_factory=StoreSection)
    log: LogSection = field(default_factory=LogSection)


_PREFIX = "PILECHAIN_"
_SECTIONS: dict[str, Any] = get_type_hints(Config)


def load_config(path: Path, environment: Mapping[str, str], flags: Mapping[str, object] | None = None) -> Config:
    """Settings from `path` (may be absent), environment and flags (`{"p2p.listen": value}`).

    Raises ClientError: `config-unreadable` (not TOML), `config-unknown` (a key that does not exist; names the nearest
    that does),
    `config-invalid` (names the key, the value, and what was expected; or two keys that do not go together).
    """
    layers: list[tuple[str, str, object]] = []
    for section, table in _read(path).items():
        if section in _SECTIONS and not isinstance(table, dict):
            raise ClientError("config-invalid", f"{path}: {section} = {table!r}: expected a table [{section}]")
        for key, value in (table if isinstance(table, dict) else {"": table}).items():
            layers.append((str(path), f"{section}.{key}", value))
    layers += [
        (name, name.removeprefix(_PREFIX).lower().replace("__", ".", 1), environment[name])
        for name in sorted(environment)
        if name.startswith(_PREFIX) and "__" in name
    ]
    layers += [(f"flag for {dotted}", dotted, value) for dotted, value in (flags or {}).items()]

    values: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    for source, dotted, value in layers:
        section, key = _known(source, dotted)
        values[section][key] = _typed(
            source, dotted, value, get_type_hints(_SECTIONS[section], include_extras=True)[key]
        )
    config = Config(**{section: _SECTIONS[section](**values[section]) for section in _SECTIONS})
    if bool(config.store.trust_height) != bool(config.store.trust_hash):
        names = "store.trust_height and store.trust_hash"
        raise ClientError("config-invalid", f"{names} name one block together: expected both, or neither")
    return config


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of `host:port`. Raises ClientError `config-invalid`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ClientError("config-invalid", f"{address!r}: expected an address host:port")
    return host, int(port)


def to_toml(sections: Mapping[str, Mapping[str, object]]) -> str:
    """A `config.toml` with these settings. Values are texts, whole numbers, booleans or tables of texts."""
    lines = []
    for section, table in sections.items():
        lines.append(f"[{section}]")
        for key, value in table.items():
            lines.append(f"{key} = {_toml_value(value)}")
        lines.append("")
    return "\n".join(lines)


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml_value(key)} = {_toml_value(item)}" for key, item in value.items())
        return "{ " + ", ".join(pairs) + " }"
    return msgspec.json.encode(value).decode()  # texts, numbers and booleans are written alike in TOML and JSON


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError, OSError) as error:  # tomllib lets those of endless numbers and nesting through
        raise ClientError("config-unreadable", f"{path}: {error}") from error


def _known(source: str, dotted: str) -> tuple[str, str]:
    section, _, key = dotted.partition(".")
    fields = _SECTIONS[section].__struct_fields__ if section in _SECTIONS else ()
    if key in fields:
        return section, key
    known = [f"{name}.{field}" for name, kind in _SECTIONS.items() for field in kind.__struct_fields__]
    near = difflib.get_close_matches(dotted, known, n=1, cutoff=0.0)
    raise ClientError("config-unknown", f"{source}: there is no setting {dotted.rstrip('.')}; did you mean {near[0]}?")


def _typed(source: str, dotted: str, value: object, kind: Any) -> object:
    from_text = isinstance(value, str)
    if isinstance(value, str) and not _is_unicode(
        value
    ):  # Python smuggles other bytes of the environment as surrogates
        raise ClientError("config-invalid", f"{source}: {dotted} = {value!r}: expected text in UTF-8")
    if isinstance(value, str) and kind in (dict[str, Address],):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ClientError("config-invalid", f"{source}: {dotted} = {value!r}: expected a JSON object") from error
    try:
        return msgspec.convert(value, kind, strict=not from_text)
    except msgspec.ValidationError as error:
        raise ClientError("config-invalid", f"{source}: {dotted} = {value!r}: {_expected(error, kind)}") from error


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expected(error: msgspec.ValidationError, kind: Any) -> str:
    for meta in getattr(kind, "__metadata__", ()):
        if meta.description:
            return f"expected {meta.description}"
    return str(error)
