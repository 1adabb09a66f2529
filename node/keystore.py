"""Secret keys on disk: one JSON file per key, encrypted under a passphrase, readable by its owner only.

The passphrase goes through argon2id (RFC 9106), whose cost the file states itself; the secret is sealed with
XChaCha20-Poly1305, with the public key as additional data, so that a file cannot be passed off as another's key.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_decrypt as unseal
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as seal
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from ledger.errors import ClientError, PeerError
from ledger.keys import SEED_BYTES, SoftSigner, scheme_of

FILE_BYTES_MAX = 4096
"""A key file has about 600 bytes; whatever is longer is something else."""
PASSPHRASE_BYTES_MAX = 1024
KEY_BYTES = 32
NONCE_BYTES = 24
SALT_BYTES = argon2id.SALTBYTES
SEALED_BYTES = SEED_BYTES + 16
"""The secret and the authentication tag."""
_AAD_PREFIX = b"pilechain key file 1:"


class KdfCost(Struct, frozen=True, forbid_unknown_fields=True):
    """What one guess of the passphrase costs."""

    passes: Annotated[int, Meta(ge=1, le=16)]
    memory_bytes: Annotated[int, Meta(ge=8 * 1024, le=256 * 1024 * 1024)]
    """Bounded: a file from elsewhere could otherwise ask for all memory of the machine."""


STANDARD = KdfCost(argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE)
"""64 MiB, about 0.1 s: libsodium's choice for interactive use."""
LIGHT = KdfCost(1, 64 * 1024)
"""Below a millisecond: for testnets, which load dozens of keys whose passphrase is public anyway."""


class KeyFile(Struct, frozen=True, forbid_unknown_fields=True):
    """The file's content; byte strings in hexadecimal."""

    version: Literal[1]
    public_key: str
    kdf: Literal["argon2id"]
    cost: KdfCost
    salt: str
    cipher: Literal["xchacha20-poly1305"]
    nonce: str
    sealed_secret: str


def _derive(passphrase: bytes, salt: bytes, cost: KdfCost) -> bytes:
    return argon2id.kdf(KEY_BYTES, passphrase, salt, opslimit=cost.passes, memlimit=cost.memory_bytes)


def save_key(path: Path, signer: SoftSigner, passphrase: bytes, cost: KdfCost = STANDARD) -> None:
    """Write a new key file, durable when this returns, and never over another.

    Raises ClientError `keystore-exists`, or OSError where the disk does.
    """
    salt, nonce = os.urandom(SALT_BYTES), os.urandom(NONCE_BYTES)
    sealed = seal(signer.secret, _AAD_PREFIX + signer.public_key, nonce, _derive(passphrase, salt, cost))
    content = KeyFile(
        version=1,
        public_key=signer.public_key.hex(),
        kdf="argon2id",
        cost=cost,
        salt=salt.hex(),
        cipher="xchacha20-poly1305",
        nonce=nonce.hex(),
        sealed_secret=sealed.hex(),
    )
    _create(path, msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


def clear_draft(path: Path) -> None:
    """Remove what a power cut left of a key file that was being written, where nobody else may be writing it."""
    _draft_of(path).unlink(missing_ok=True)


def _draft_of(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _create(path: Path, content: bytes) -> None:
    """Create a file of mode 0600, whole or not at all. The exclusive draft also keeps two creators apart."""
    draft = _draft_of(path)
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        message = f"{draft} is left from a write that was cut off; remove it and try again"
        raise ClientError("keystore-exists", message) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if path.exists():
            raise ClientError("keystore-exists", f"{path} holds a key already; move it away first")
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load_key(path: Path, passphrase: bytes) -> SoftSigner:
    """Read and decrypt a key file.

    Raises ClientError `keystore-missing`, `keystore-permissions`, `keystore-malformed` or `keystore-passphrase`.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            raw = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError as error:
        raise ClientError("keystore-missing", f"there is no key file {path}") from error
    if mode & 0o077:
        raise ClientError("keystore-permissions", f"others may read this key; run: chmod 600 {path}")
    if len(raw) > FILE_BYTES_MAX:
        raise ClientError("keystore-malformed", f"{path} is longer than any key file")
    try:
        content = msgspec.json.decode(raw, type=KeyFile)
        public_key, salt = bytes.fromhex(content.public_key), bytes.fromhex(content.salt)
        nonce, sealed = bytes.fromhex(content.nonce), bytes.fromhex(content.sealed_secret)
        scheme = scheme_of(public_key)
    except (ValueError, PeerError) as error:  # msgspec's and fromhex's errors are ValueErrors
        raise ClientError("keystore-malformed", f"{path} is no key file: {error}") from error
    if (len(salt), len(nonce), len(sealed)) != (SALT_BYTES, NONCE_BYTES, SEALED_BYTES):
        message = f"{path}: salt, nonce and secret must have {SALT_BYTES}, {NONCE_BYTES} and {SEALED_BYTES} bytes"
        raise ClientError("keystore-malformed", message)
    try:
        secret = unseal(sealed, _AAD_PREFIX + public_key, nonce, _derive(passphrase, salt, content.cost))
    except CryptoError as error:
        message = f"the passphrase does not open {path}, or the file was altered"
        raise ClientError("keystore-passphrase", message) from error
    signer = SoftSigner(scheme, secret)
    if signer.public_key != public_key:
        raise ClientError("keystore-malformed", f"{path} holds the secret of another key than it names")
    return signer


def cost_of(path: Path) -> KdfCost:
    """What a guess of a key file's passphrase costs, to make another one like it. Raises ClientError
    `keystore-missing`, `keystore-malformed`.
    """
    return _content(path).cost


def public_key_of(path: Path) -> bytes:
    """The public key that a key file names; its secret stays sealed. Raises ClientError as `cost_of` does."""
    try:
        public_key = bytes.fromhex(_content(path).public_key)
        scheme_of(public_key)
    except (ValueError, PeerError) as error:
        raise ClientError("keystore-malformed", f"{path} is no key file: {error}") from error
    return public_key


def _content(path: Path) -> KeyFile:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(FILE_BYTES_MAX + 1), type=KeyFile)
    except FileNotFoundError as error:
        raise ClientError("keystore-missing", f"there is no key file {path}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the last two escape msgspec unwrapped
        raise ClientError("keystore-malformed", f"{path} is no key file: {error}") from error


def passphrase_from_env_or_file(environ: Mapping[str, str]) -> bytes:
    """Return the passphrase of PILECHAIN_PASSPHRASE, or the content of the file that PILECHAIN_PASSPHRASE_FILE names.

    One line end after the last line of the file is no part of it. Raises ClientError `keystore-no-passphrase`.
    """
    passphrase = environ.get("PILECHAIN_PASSPHRASE", "").encode()
    name = environ.get("PILECHAIN_PASSPHRASE_FILE")
    if not passphrase and name:
        try:
            with Path(name).open("rb") as file:
                passphrase = file.read(PASSPHRASE_BYTES_MAX + 2).removesuffix(b"\n").removesuffix(b"\r")
        except OSError as error:
            raise ClientError("keystore-no-passphrase", f"PILECHAIN_PASSPHRASE_FILE: {error}") from error
    if not 0 < len(passphrase) <= PASSPHRASE_BYTES_MAX:
        message = f"set PILECHAIN_PASSPHRASE or PILECHAIN_PASSPHRASE_FILE to 1 to {PASSPHRASE_BYTES_MAX} bytes"
        raise ClientError("keystore-no-passphrase", message)
    return passphrase
