"""Every parser of outside bytes is fuzzed: each target for a fixed number of inputs, and no parser without a target."""

import ast
import importlib
import inspect
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from tests.fuzz.engine import MEMORY_FOLDER, fuzz
from tests.fuzz.targets import load

ROOT = Path(__file__).resolve().parents[2]
TARGETS = load()


def code_of(parser: str) -> CodeType:
    """A function of a module or a class, by its dotted name."""
    module, _, name = parser.rpartition(".")
    try:
        holder: object = importlib.import_module(module)
    except ModuleNotFoundError:
        module, _, owner = module.rpartition(".")
        holder = getattr(importlib.import_module(module), owner)
    found: Any = inspect.getattr_static(holder, name)
    found = getattr(found, "fget", None) or getattr(found, "__func__", found)
    code = inspect.unwrap(found).__code__
    assert isinstance(code, CodeType)
    return code


@pytest.mark.parametrize("name", TARGETS)
def test_what_cannot_be_read_is_refused_by_the_parsers_that_the_target_names(name: str):
    entry = TARGETS[name]
    with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER) as folder, entry.make(Path(folder)) as target:
        assert fuzz(target, parsers=map(code_of, entry.parsers)) == target.iterations


CERTIFICATES = ("load_der_x509_certificate", "load_pem_x509_certificate")
READERS = frozenset(("decode", "loads", "b64decode", "unpack_from", "from_bytes", "fromhex", *CERTIFICATES))
"""Functions that make something of bytes; whoever calls one is a parser."""
CONTRACTS = (
    *(f"contracts.executor.{name}" for name in ("_arguments", "_due_calls", "_run_scheduled")),
    *(f"contracts.host.{name}" for name in ("Table.read", "Table.scan", "Host.get", "Host.iterate")),
    *(f"contracts.views.{name}" for name in ("companies", "balances", "rewards_fen", "claims", "piles")),
    *(f"contracts.abi.Abi.{name}" for name in ("encode_call", "decode_event")),
)
EDGE = (
    *(f"node.edge.api.business.{name}" for name in ("account", "sessions", "session")),
    *(f"node.edge.api.{name}" for name in ("chain.state", "transactions.transaction", "transactions.transactions")),
)
STORE = (
    *(f"node.storage.reader.Snapshot.{name}" for name in ("__init__", "locate", "hand_overs")),
    *(f"node.storage.reader.Snapshot.{name}" for name in ("first_whole", "first_block")),
    *(f"node.storage.rebuild.{name}" for name in ("_put_sets", "_put_blocks")),
    *(f"node.storage.snapshot_maker.{name}" for name in ("_Spool._add", "_records")),
    *("node.storage.layout.Databases._check_format", "node.cli.verify._is_failed_copy"),
)
OWN_BYTES: dict[str, tuple[str, ...]] = {
    "what every target reads with": ("ledger.codec.decode_trusted",),
    "of a chain in memory that an author's tests make": (
        *(f"node.authoring.world.World.{name}" for name in ("_block", "_named", "asked", "record")),
    ),
    "texts of OpenSSL's own errors": ("ledger.libcrypto._failure",),
    "numbers of a fixed length, of keys and signatures: tests/unit/test_sm2.py, test_keys.py": (
        *(f"ledger.sm2.{name}" for name in ("is_secret", "check_point", "_to_der", "_from_der", "in_range")),
        *("ledger.ed25519._is_strict", "ledger.ed25519.require_rule"),
    ),
    "a digest of our own, or a seed that `load` has taken": (
        *("ledger.keys.SoftSigner.from_seed", "node.testnet.make.Testnet.broker_secret"),
        "node.testnet.make.Testnet.signer",
    ),
    "fixed lengths; bent in tests/fuzz/test_forged_proofs.py": (
        *("ledger.state_proof.verify_state", "ledger.state_proof._bottom"),
    ),
    "arguments and records that execution has checked; bent in tests/fuzz/test_contract_calls.py": CONTRACTS,
    "values that contracts hold or hand on: bent by `contract_codes`": (
        *("contracts.host._as", "contracts.vm.operations.Operations.decoded"),
        *("contracts.vm.operations._given", "contracts.vm.operations._wire"),
        *(f"contracts.vm.layout.{name}" for name in ("_Part.__init__", "_until_end", "_whole_text")),
    ),
    "receipts and values that are proven already": (
        *("devices.pile_session.PileSession._on_open", "devices.pile_session.PileSession._on_receipt"),
        *("node.gateway.pile_prices._session", "node.gateway.pile_prices._tariff"),
    ),
    "heads: `sealed_headers`": ("node.gateway.gateway.Gateway._time_of",),
    "the node's own store": STORE,
    "the node's own log: `write_ahead_logs`": ("node.storage.wal._read", "node.storage.wal._batch_end"),
    "the node's own snapshot: `snapshot_manifests`": ("node.cli.snapshot._verify",),
    "parameters whose form is checked: `http_requests`": EDGE,
    "a user's own word, read once": ("node.cli.chain._hex", "node.cli.contract.read"),
    "a receipt that it has just written": ("contracts.executor.simulate",),
    "answers of our own nodes to the demo and to the command line": (
        *("node.demo.api_client.ApiClient._try", "node.demo.drivers.Drivers._charge"),
        *("node.demo.summary._archived", "node.demo.traffic.SessionFeed._follow"),
        *("node.ipc.socket.CoreClient.status", "node.ipc.status.readiness"),
    ),
    "the node's own settings, or the operator's own certificate, once, at set-up": (
        *("node.broker.embedded.main", "node.join.process.Joining.__init__", "node.network.tls.node_key"),
        *("node.network.tls._subject", "node.network.tls.make_revocation_list"),
    ),
    "nothing: it writes": (
        *("node.broker.broker._mosquitto_password", "node.cli.main._report", "node.cli.options._cell"),
        *("node.config._toml_value", "node.home.genesis_json"),
    ),
}
"""Why functions that read bytes have no target."""


def parsers() -> Iterator[str]:
    """Dotted names of all functions that read bytes."""
    for package in ("ledger", "consensus", "contracts", "devices", "node"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if module.startswith("contracts.library."):
                continue  # contracts' texts, which are not Python
            yield from _parsers_in(ast.parse(path.read_text(encoding="utf-8")), module)


def _parsers_in(tree: ast.AST, place: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _parsers_in(node, f"{place}.{node.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = (call.func for call in ast.walk(node) if isinstance(call, ast.Call))
            names = {func.id if isinstance(func, ast.Name) else getattr(func, "attr", "") for func in calls}
            if names & READERS:
                yield f"{place}.{node.name}"


def test_no_parser_of_outside_bytes_is_without_a_target():
    found = set(parsers())
    reached = {parser for entry in TARGETS.values() for parser in entry.parsers}
    excused = [parser for reason in OWN_BYTES.values() for parser in reason]
    alone = sorted(found - reached - {*excused})
    assert alone == [], "give each a target in tests/fuzz/targets_*.py, or say here why it reads no outside bytes"
    assert set(excused) <= found - reached, "an excuse for what is no longer there, or has a target"
    assert len(excused) == len(set(excused))
