"""Small parts of the core: clock, complaints, certificates, stages."""

import asyncio
import ssl
import time
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from contracts.genesis import Consortium
from ledger.codec import decode, encode
from ledger.errors import ClientError, PeerError
from node.clock import ChainClock
from node.core import process
from node.core.complaints import REMEMBERED_MAX, Complaints
from node.core.stages import Stages
from node.network.tls import (
    client_context,
    make_authority,
    make_node_certificate,
    node_key,
    peer_key,
    peer_name,
    server_context,
)
from node.network.transport import PeerNetwork, _cost_the_connection
from node.testnet.make import TestnetPlan, make_testnet


def test_F50_the_chain_clock_is_the_wall_clock_or_runs_faster_from_another_moment():
    assert ChainClock().at(1_700_000_000_123) == 1_700_000_000_123
    fast = ChainClock(base_chain_ms=1_000_000, base_wall_ms=500, speed=60)
    assert (fast.at(500), fast.at(1_500)) == (1_000_000, 1_060_000)


class Log:
    """A logger that remembers."""

    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append(fields)


def test_F02_the_same_complaint_is_logged_once_a_minute_and_counted(monkeypatch):
    log = Log()
    complaints = Complaints(log)
    now = [1_000.0]
    monkeypatch.setattr("node.core.complaints.time.monotonic", lambda: now[0])
    for _ in range(100):
        complaints.about("Teld", "frame-too-large", "too large")
    complaints.about("Teld", "peer-chain", "other chain")
    assert [line["code"] for line in log.lines] == ["frame-too-large", "peer-chain"]
    now[0] += 61
    complaints.about("Teld", "frame-too-large", "too large")
    assert log.lines[-1]["repeated"] == 99
    assert complaints.total == 102
    for number in range(2 * REMEMBERED_MAX):
        complaints.about(str(number), "tls-refused", "no certificate")
    assert len(complaints._latest) == REMEMBERED_MAX


def test_F02_both_members_keep_the_same_one_of_two_connections():
    """Whichever they see first: the one that the smaller name dialled."""
    kept = set()
    for me, peer in (("a", "b"), ("b", "a")):
        contexts: Any = (None, None)
        events: Any = None
        network = PeerNetwork(me, bytes(32), lambda key: None, contexts, events, Complaints(Log()))
        links: dict[str, Any] = {
            dialler: SimpleNamespace(
                dialled=peer if dialler == me else None, company=peer, instance=b"one start", is_closing=False
            )
            for dialler in ("a", "b")
        }
        for first, second in (("a", "b"), ("b", "a")):
            kept.add(second if network._replaces(links[second], links[first]) else first)
        again: Any = SimpleNamespace(dialled=None, company=peer, instance=b"next start", is_closing=False)
        assert network._replaces(again, links["a"]), "a peer that was started again is let in at once"
    assert kept == {"a"}


def test_F33_a_node_certificate_names_its_key_and_contexts_take_nothing_less_than_tls_1_3(tmp_path):
    authority, authority_key = make_authority("test")
    certificate, key = make_node_certificate("Teld", authority, authority_key, b"secret")
    assert len(node_key(certificate)) == 32
    files = (tmp_path / "ca.pem", tmp_path / "node.pem", tmp_path / "node.key")
    for path, content in zip(files, (authority, certificate, key), strict=True):
        path.write_bytes(content)
    files[2].chmod(0o600)
    for context in (server_context(*files, b"secret"), client_context(*files, b"secret")):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert len(context.get_ca_certs()) == 1
    files[2].write_bytes(make_node_certificate("Teld", authority, authority_key, b"secret")[1])
    with pytest.raises(ClientError, match="tls-files"):
        server_context(*files, b"secret")


def test_F33_only_ed25519_certificates_are_nodes(tmp_path):
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.load_pem_x509_certificate(make_authority("x")[0]).subject
    builder = x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=1)
    first = x509.load_pem_x509_certificate(make_authority("x")[0])
    builder = builder.not_valid_before(first.not_valid_before_utc).not_valid_after(first.not_valid_after_utc)
    der = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    of_no_known_curve = der.replace(bytes.fromhex("06082a8648ce3d030107"), bytes.fromhex("06082a8648ce3d03017f"))
    of_version_7 = der.replace(bytes.fromhex("a003020102"), bytes.fromhex("a003020106"))
    for bent in (der, of_no_known_curve, of_version_7, der[:-1], b""):
        with pytest.raises(PeerError, match="certificate-key"):
            peer_key(bent)
    assert len({der, of_no_known_curve, of_version_7}) == 3


def test_a_name_as_a_string_of_bits_is_the_peer_s_fault():
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    authority, key = make_authority("Consortium")
    pem, _ = make_node_certificate("Teld", authority, key, b"passphrase")
    der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    assert peer_name(der) == "Teld"
    of_bits = der.replace(b"\x0c\x04Teld", b"\x03\x04\0eld")
    with pytest.raises(PeerError, match="certificate-key"):
        peer_name(of_bits)


def test_F55_stages_count_cpu_time_and_not_waiting():
    stages = Stages()
    with stages.measure("work"):
        sum(range(300_000))
    with stages.measure("wait"):
        time.sleep(0.02)
    spent = stages.cpu_us()
    assert spent["work"] > 500
    assert spent["wait"] < 5_000


def test_F33_a_node_key_is_encrypted_and_its_owners_alone(tmp_path):
    authority, authority_key = make_authority("test")
    certificate, key = make_node_certificate("Teld", authority, authority_key, b"secret")
    assert key.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    files = (tmp_path / "ca.pem", tmp_path / "node.pem", tmp_path / "node.key")
    for path, content in zip(files, (authority, certificate, key), strict=True):
        path.write_bytes(content)
    files[2].chmod(0o640)
    with pytest.raises(ClientError, match="chmod 600"):
        client_context(*files, b"secret")
    files[2].chmod(0o600)
    client_context(*files, b"secret")
    for wrong in (b"wrong", b""):
        with pytest.raises(ClientError, match="tls-files"):
            client_context(*files, wrong)


async def test_F02_an_error_that_a_stranger_provokes_is_named_with_its_connection():
    """So that core logs it and goes on; any other error of a task stops the process."""
    errors: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))

    async def welcome() -> None:
        raise ValueError("bytes that nobody thought of")

    task = loop.create_task(welcome())
    task.add_done_callback(_cost_the_connection)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [set(context) for context in errors] == [{"message", "exception", "transport"}]


def test_F13_a_ledger_that_exists_is_opened_without_the_state_of_its_genesis(tmp_path, monkeypatch):
    """Of a hundred thousand accounts it takes half a second and 40 MB at each start."""
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=4, base_port=0))
    home = testnet.home("SGCC")
    made = process._open_store(home, home.genesis(), 1 << 28)
    with made.snapshot() as snapshot:
        root = snapshot.state_root
    made.close()
    monkeypatch.delattr(process, "genesis_state")
    opened = process._open_store(home, home.genesis(), 1 << 28)
    with opened.snapshot() as snapshot:
        assert snapshot.state_root == root
        assert snapshot.bytes_used()["state"] > 0
    opened.close()


def test_a_genesis_that_holds_no_sound_contracts_is_named_not_called_a_bug(tmp_path):
    testnet = make_testnet(tmp_path / "net", TestnetPlan(nodes=4, base_port=0))
    home = testnet.home("SGCC")
    genesis = home.genesis()
    setup = decode(Consortium, genesis.consortium)
    first, *others = setup.contracts
    for broken in (
        encode(structs.replace(setup, contracts=(structs.replace(first, code=first.code[:-1]), *others))),
        genesis.consortium[:-1],
    ):
        with pytest.raises(ClientError, match=r"genesis-invalid: .*genesis\.json"):
            process._open_store(home, structs.replace(genesis, consortium=broken), 1 << 28)
