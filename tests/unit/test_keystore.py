"""Encrypted key files: what they keep, and what they refuse."""

import json
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import ClientError
from ledger.keys import Scheme, SoftSigner
from node.keystore import (
    LIGHT,
    PASSPHRASE_BYTES_MAX,
    STANDARD,
    load_key,
    passphrase_from_env_or_file,
    save_key,
)

PASSPHRASE = "充电桩 passphrase".encode()
SIGNERS = {scheme: SoftSigner.from_seed(scheme, b"\x07" * 32) for scheme in Scheme}
SIGNER = SIGNERS[Scheme.ED25519]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "company.key"


def refused(code: str, action: Callable[[], object]) -> str:
    """Run what must raise ClientError with this code; return the message."""
    with pytest.raises(ClientError) as caught:
        action()
    assert caught.value.code == code
    return caught.value.message


def rewrite(path: Path, **changed: object) -> None:
    """Change fields of a key file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize("scheme", Scheme)
def test_a_key_comes_back_as_it_was_saved(scheme: Scheme, path: Path) -> None:
    save_key(path, SIGNERS[scheme], PASSPHRASE, LIGHT)
    loaded = load_key(path, PASSPHRASE)
    assert (loaded.scheme, loaded.secret, loaded.public_key) == (
        scheme,
        SIGNERS[scheme].secret,
        SIGNERS[scheme].public_key,
    )


def test_the_standard_cost_is_the_default(path: Path) -> None:
    save_key(path, SIGNER, PASSPHRASE)
    cost = json.loads(path.read_text())["cost"]
    assert cost == {"passes": STANDARD.passes, "memory_bytes": STANDARD.memory_bytes}
    assert STANDARD.memory_bytes == 64 * 1024 * 1024
    assert load_key(path, PASSPHRASE).secret == SIGNER.secret


def test_the_file_is_its_owners_and_shows_no_secret(path: Path) -> None:
    previous = os.umask(0)
    try:
        save_key(path, SIGNER, PASSPHRASE, LIGHT)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SIGNER.secret.hex() not in path.read_text()
    assert json.loads(path.read_text())["public_key"] == SIGNER.public_key.hex()
    assert os.listdir(path.parent) == [path.name]


def test_two_files_of_one_key_share_neither_salt_nor_nonce(tmp_path: Path) -> None:
    files = []
    for name in ("a.key", "b.key"):
        save_key(tmp_path / name, SIGNER, PASSPHRASE, LIGHT)
        files.append(json.loads((tmp_path / name).read_text()))
    assert all(files[0][field] != files[1][field] for field in ("salt", "nonce", "sealed_secret"))


def test_a_wrong_passphrase_is_refused(path: Path) -> None:
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    for wrong in (b"", PASSPHRASE + b" ", b"other"):
        refused("keystore-passphrase", partial(load_key, path, wrong))


def test_a_key_is_never_overwritten(path: Path) -> None:
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    before = path.read_bytes()
    refused("keystore-exists", lambda: save_key(path, SIGNERS[Scheme.SM2], PASSPHRASE, LIGHT))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_draft_left_by_a_crash_is_named(path: Path) -> None:
    draft = path.with_name("company.key.new")
    draft.touch()
    assert str(draft) in refused("keystore-exists", lambda: save_key(path, SIGNER, PASSPHRASE, LIGHT))
    assert not path.exists()


def test_a_failed_write_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_key(path, SIGNER, PASSPHRASE, LIGHT)
    assert os.listdir(path.parent) == []


def test_the_file_and_its_name_are_on_disk_when_saving_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        kind = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        synced.append((kind, path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    assert synced == [("file", False), ("directory", True)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o610])
def test_a_file_that_others_may_use_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    path.chmod(mode)
    assert f"chmod 600 {path}" in refused("keystore-permissions", lambda: load_key(path, PASSPHRASE))


def test_a_missing_file_is_named(path: Path) -> None:
    assert str(path) in refused("keystore-missing", lambda: load_key(path, PASSPHRASE))


@pytest.mark.parametrize(
    "changed",
    [
        {"cost": {"passes": 1, "memory_bytes": 2**40}},
        {"cost": {"passes": 10**9, "memory_bytes": 65536}},
        {"cost": {"passes": 0, "memory_bytes": 65536}},
        {"cost": {"passes": 1, "memory_bytes": 1}},
        {"version": 2},
        {"kdf": "scrypt"},
        {"cipher": "none"},
        {"public_key": "zz"},
        {"public_key": "00" * 33},
        {"salt": "00"},
        {"nonce": "00"},
        {"sealed_secret": ""},
        {"sealed_secret": "00" * 47},
        {"comment": "an unknown field"},
        {"comment": "x" * 5000},
    ],
)
def test_absurd_or_unknown_content_is_refused_before_any_work(
    path: Path, changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    rewrite(path, **changed)
    monkeypatch.setattr("node.keystore._derive", lambda *arguments: pytest.fail("the passphrase was stretched"))
    refused("keystore-malformed", lambda: load_key(path, PASSPHRASE))


@pytest.mark.parametrize(
    "changed",
    [
        {"public_key": SoftSigner.from_seed(Scheme.ED25519, bytes(32)).public_key.hex()},
        {"public_key": SIGNERS[Scheme.SM2].public_key.hex()},
        {"cost": {"passes": 2, "memory_bytes": LIGHT.memory_bytes}},
        {"salt": "00" * 16},
        {"nonce": "00" * 24},
        {"sealed_secret": "00" * 48},
    ],
)
def test_an_altered_file_does_not_open(path: Path, changed: dict[str, Any]) -> None:
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    rewrite(path, **changed)
    refused("keystore-passphrase", lambda: load_key(path, PASSPHRASE))


def test_a_secret_of_another_key_is_refused(path: Path) -> None:
    signer = SoftSigner.from_seed(Scheme.ED25519, bytes(32))
    signer.public_key = SIGNER.public_key
    save_key(path, signer, PASSPHRASE, LIGHT)
    refused("keystore-malformed", lambda: load_key(path, PASSPHRASE))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_a_file_opens_it_or_escapes_as_another_error(path: Path, data: st.DataObject) -> None:
    path.unlink(missing_ok=True)
    save_key(path, SIGNER, PASSPHRASE, LIGHT)
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at:] = data.draw(st.binary(max_size=20)) + raw[at + data.draw(st.integers(0, 20)) :]
    path.write_bytes(raw)
    try:
        secret = load_key(path, PASSPHRASE).secret
    except ClientError as error:
        secret, code = None, error.code
    if secret is None:
        assert code in {"keystore-malformed", "keystore-passphrase"}
    else:
        assert secret == SIGNER.secret  # the damage was white space, or the case of a digit


# ---------------------------------------------------------------- passphrase


def test_the_passphrase_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    from_file = {"PILECHAIN_PASSPHRASE_FILE": str(file)}
    for content in ("geheim", "geheim\n", "geheim\r\n"):
        file.write_bytes(content.encode())
        assert passphrase_from_env_or_file(from_file) == b"geheim"
    file.write_bytes(b" two lines\n\n")
    assert passphrase_from_env_or_file(from_file) == b" two lines\n"
    assert passphrase_from_env_or_file({"PILECHAIN_PASSPHRASE": "充电"}) == "充电".encode()
    assert passphrase_from_env_or_file(from_file | {"PILECHAIN_PASSPHRASE": "first"}) == b"first"


def test_no_or_an_unreadable_passphrase_is_an_error(tmp_path: Path) -> None:
    empty, long = tmp_path / "empty", tmp_path / "long"
    empty.write_bytes(b"\n")
    long.write_bytes(b"x" * (PASSPHRASE_BYTES_MAX + 1))
    for name in (empty, long, tmp_path / "missing", tmp_path):
        environ = {"PILECHAIN_PASSPHRASE_FILE": str(name)}
        refused("keystore-no-passphrase", partial(passphrase_from_env_or_file, environ))
    refused("keystore-no-passphrase", lambda: passphrase_from_env_or_file({}))
