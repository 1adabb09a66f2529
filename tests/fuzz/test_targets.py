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
OWN_BYTES = {
    "ledger.codec.decode_trusted": "what every target reads with",
    "ledger.libcrypto": "texts of OpenSSL's own errors",
    "ledger.sm2": "numbers of keys and signatures of a fixed length: tests/unit/test_sm2.py",
    "ledger.ed25519": "the same: tests/unit/test_keys.py",
    "ledger.keys.SoftSigner.from_seed": "a digest of our own",
    "ledger.state_proof": "fixed lengths; bent in tests/fuzz/test_forged_proofs.py",
    "contracts": "arguments and records that execution has checked; bent in tests/fuzz/test_contract_calls.py",
    "devices.pile_session": "receipts that are proven already",
    "node.gateway.pile_prices": "values that are proven already",
    "node.gateway.gateway.Gateway._time_of": "heads: `sealed_headers`",
    "node.join": "answers of donors, whole: tests/fuzz/test_join_messages.py; pieces on the joiner's own disk",
    "node.storage": "the node's own store and log: `write_ahead_logs`, `pilechain verify`",
    "node.cli": "the user's own words and files, read once: `command_line_calls`",
    "node.demo": "answers of our own nodes; tables: `station_tables`, `session_tables`",
    "node.edge": "the node's own store; parameters whose form is checked: `http_requests`",
    "node.ipc.socket.CoreClient": "JSON of our own core",
    "node.broker": "the node's own settings",
    "node.ipc.status": "JSON of our own core",
    "node.config._toml_value": "nothing: it writes",
    "node.home.genesis_json": "nothing: it writes",
    "node.testnet.make.Testnet": "a seed that `load` has taken",
    "node.network.tls.node_key": "the operator's own certificate, once, at set-up",
    "node.network.tls._subject": "the same",
    "node.network.tls.make_revocation_list": "the same",
}
"""Parsers without a target, by module or function: why."""


def parsers() -> Iterator[str]:
    """Dotted names of all functions that read bytes."""
    for package in ("ledger", "consensus", "contracts", "devices", "node"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
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


def excused(parser: str) -> set[str]:
    """What excuses a parser from having a target."""
    return {own for own in OWN_BYTES if parser == own or parser.startswith(own + ".")}


def test_no_parser_of_outside_bytes_is_without_a_target():
    reached = {parser for entry in TARGETS.values() for parser in entry.parsers}
    alone = [parser for parser in parsers() if parser not in reached and not excused(parser)]
    assert alone == [], "give each a target in tests/fuzz/targets_*.py, or say here why it reads no outside bytes"
    assert set().union(*map(excused, parsers())) == OWN_BYTES.keys(), "an excuse for what is no longer there"
