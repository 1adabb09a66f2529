"""Backups: a folder with a node's ledger, settings and encrypted keys, and a manifest with the hash of each file.

The folder is laid out as a home is, without what must not come back: the write-ahead log (an old one would have the
node forget votes that it sent), passphrases, and what the node makes anew by itself.
"""

import hashlib
import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

import node
from ledger.errors import ClientError
from node.config import Config
from node.core.vote_keys import RENEW, forget_votes
from node.home import Home
from node.storage import files
from node.storage.copy import copy_ledger
from node.storage.layout import DATA_FILE
from node.storage.reader import LedgerReader
from node.storage.shield import shielded
from node.storage.store import StoreFullError, demand_room

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 128 * 1024
FILES_MAX = 256
"""A backup has a dozen; each takes about 150 bytes of the manifest."""
LEDGER = f"data/ledger/{DATA_FILE}"
COPIED = ("config.toml", "genesis.json", "*.pem")
"""Of `config/`, beside the files that the settings name. Keys are encrypted; a passphrase beside them would make a
backup as dangerous as the node.
"""
DRAFT = "restore.partial"
"""In the home, what a restore has not finished."""
NEXT = (
    "set the addresses in config/config.toml and the passphrase, start the node: it fetches what came since and only "
    f"observes; {RENEW}"
)
MAKES_NO_HOME = {DRAFT, "lost+found"}
"""What may be in a home that is new: ext4 makes the other in every mount point."""


class FileEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """A file of a backup."""

    bytes: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Of SHA-256, so that `sha256sum` can check it as well."""


class Manifest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup holds."""

    format: Annotated[int, Meta(ge=1, le=1)]
    pilechain: str
    company: str
    chain: str
    """Hash of the genesis document."""
    height: Annotated[int, Meta(ge=0)]
    made: str
    """Time in UTC."""
    files: Annotated[dict[str, FileEntry], Meta(min_length=1, max_length=FILES_MAX)]
    """By path in the folder."""

    def describe(self, folder: Path) -> dict[str, Any]:
        """For people and programs."""
        size = sum(entry.bytes for entry in self.files.values())
        shown = {name: getattr(self, name) for name in ("company", "chain", "height", "made")}
        return {"backup": str(folder), **shown, "files": len(self.files), "bytes": size}


def make_backup(home: Home, folder: Path, rate_bytes: int) -> Manifest:
    """Make a backup in a new folder, which gets its name when all of it is durable. The node may run; the ledger is
    read in short snapshots, `rate_bytes` per second at most.

    Raises ClientError `backup-exists`, `backup-elsewhere`, `store-missing`, `disk-full`, OurError `store-damaged`,
    OSError.
    """
    if folder.exists():
        raise ClientError("backup-exists", f"{folder} exists already; name a new folder")
    config = home.config()
    _demand_near(config)
    folder = folder.absolute()
    draft = folder.with_name(f"{folder.name}.partial")
    files.make_folder(draft.parent)
    try:
        draft.mkdir(0o700)
    except FileExistsError as error:
        raise ClientError(
            "backup-exists", f"{draft} exists: a backup that is being made, or was cut off; if none runs, remove it"
        ) from error
    try:
        manifest = shielded(home.ledger, lambda: _make(home, config, draft, rate_bytes))
        files.rename(draft, folder)
    except StoreFullError as error:
        raise error.for_operator(draft) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # what fills a disk of the node must not stay
    return manifest


def _named(config: Config) -> dict[str, str]:
    """The files that make this node who it is, by the setting that names each."""
    names = {"keys": ("vote", "company", "archive"), "p2p": ("ca", "certificate", "key")}
    return {
        f"{section}.{name}": getattr(getattr(config, section), name) for section in names for name in names[section]
    }


def _demand_near(config: Config) -> None:
    """A backup without one of these files would be a node that somebody completes by hand, with a key that may have
    voted since. Raises ClientError `backup-elsewhere`.
    """
    for setting, name in _named(config).items():
        if Path(name).parent != Path("config"):
            raise ClientError(
                "backup-elsewhere",
                f"{setting} = {name!r}: a backup holds files of the home's config/ alone; put the file there, and name "
                f"it 'config/{Path(name).name}'",
            )


def _make(home: Home, config: Config, draft: Path, rate_bytes: int) -> Manifest:
    genesis = home.genesis()
    for part in ("config", "data"):
        files.make_folder(draft / part)
    with closing(LedgerReader(home.ledger, config.store.map_bytes)) as reader:
        head = copy_ledger(reader, (draft / LEDGER).parent, config.store.map_bytes, _Pace(rate_bytes, draft))
    paths = {path for pattern in COPIED for path in home.config_file.parent.glob(pattern)}
    paths |= {path for path in map(home.path, _named(config).values()) if path.exists()}
    for path in sorted(paths):
        _copy(path, draft / "config" / path.name)
    entries = {
        str(path.relative_to(draft)): FileEntry(path.stat().st_size, _sha256(path))
        for path in sorted(draft.rglob("*"))
        if path.is_file()
    }
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    chain = genesis.hash().hex()
    manifest = Manifest(1, node.__version__, config.node.company, chain, head.tip.height, made, entries)
    files.replace(draft / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    for part in ("data/ledger", "data", "config"):
        files.sync_folder(draft / part)
    return manifest


def read_manifest(path: Path) -> Manifest:
    """A backup's manifest. Raises ClientError `backup-missing`, `backup-invalid`."""
    try:
        with path.open("rb") as file:
            data = file.read(MANIFEST_BYTES_MAX + 1)
        manifest = msgspec.json.decode(data, type=Manifest)
    except FileNotFoundError as error:
        raise ClientError(
            "backup-missing", f"there is no {path}; name the folder that `pilechain backup` made"
        ) from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ClientError("backup-invalid", f"{path} is no manifest: {error}") from error
    for name in manifest.files:
        # A manifest from elsewhere must not have files written outside of the home.
        part, _, rest = name.partition("/")
        is_setting = part == "config" and rest not in ("", ".", "..") and not {"/", "\0"} & set(rest)
        if name != LEDGER and not is_setting:
            raise ClientError("backup-invalid", f"{path}: {name!r} is no file of a backup")
    for name in (LEDGER, "config/config.toml"):
        if name not in manifest.files:
            raise ClientError("backup-invalid", f"{path} lists no {name}")
    return manifest


def check_backup(folder: Path) -> Manifest:
    """The manifest of a backup whose files are all as it says.

    Raises ClientError `backup-missing`, `backup-invalid`, naming the file that is another.
    """
    manifest = read_manifest(folder / MANIFEST)
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.is_symlink():
            raise ClientError("backup-invalid", f"{path} is missing")
        if path.stat().st_size != entry.bytes or _sha256(path) != entry.sha256:
            raise ClientError("backup-invalid", f"{path} is not the file that was backed up")
    return manifest


def restore_backup(folder: Path, home: Home) -> dict[str, Any]:
    """Make a home from a backup, marked so that no vote key that is in it or put into it votes, but a fresh one. The
    home's folder may be there and empty, a mount point too, so the draft is inside of it. `config/` gets its name last,
    when all is durable: no node starts without.

    Raises ClientError `home-exists`, and as `check_backup` does; OSError.
    """
    draft = Home(home.root / DRAFT)
    if home.root.exists() and (not home.root.is_dir() or {path.name for path in home.root.iterdir()} - MAKES_NO_HOME):
        raise ClientError("home-exists", f"{home.root} is not empty; empty it, or choose another --home")
    manifest = check_backup(folder)
    vote_key = draft.path(Home(folder).config().keys.vote)
    if not vote_key.resolve().is_relative_to(draft.root.resolve()):
        # Whoever restores beside the node that runs must not silence that one.
        raise ClientError("backup-invalid", "keys.vote in config.toml names a file outside of the home")
    files.make_folder(home.root)
    if home.root.stat().st_uid == os.geteuid():  # a mount point may be somebody else's
        home.root.chmod(0o700)
    shutil.rmtree(draft.root, ignore_errors=True)
    for name in manifest.files:
        path = draft.root / name
        files.make_folder(path.parent)
        _copy(folder / name, path)
    forget_votes(vote_key)
    for part in ("data/ledger", "data", "config"):
        files.sync_folder(draft.root / part)
    for part in ("data", "config"):
        files.rename(draft.root / part, home.root / part)
    draft.root.rmdir()
    return manifest.describe(folder) | {"home": str(home.root), "next": NEXT}


class _Pace:
    """Keeps reading at a rate, so that a backup slows no vote, and ends it before the disk is full, so that it stops
    none.
    """

    def __init__(self, rate_bytes: int, folder: Path) -> None:
        self._rate_bytes = rate_bytes
        self._folder = folder
        self._due = time.monotonic()

    def __call__(self, size: int) -> None:
        """Sleep as long as so many bytes should take. Raises ClientError `disk-full`."""
        demand_room(self._folder)
        now = time.monotonic()
        self._due = max(self._due, now) + size / self._rate_bytes
        time.sleep(max(self._due - now, 0))


def _copy(path: Path, target: Path) -> None:
    """Copy a file and its mode, durably."""
    shutil.copyfile(path, target)
    shutil.copymode(path, target)
    with target.open("rb") as file:
        files.sync(file.fileno(), target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
