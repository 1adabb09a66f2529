"""The command line without a node: exit codes, errors, JSON, keys, homes, calls as people type them."""

import json

import pytest
from msgspec import inspect, structs

from contracts.compiler.compiler import compile_source
from contracts.contract import Role
from contracts.digests import own_key_digest
from contracts.genesis import ContractSetup
from ledger.codec import Wire, decode, encode
from ledger.errors import ClientError
from ledger.keys import verify
from ledger.readable import from_readable
from node.cli.call_text import describe_methods, parse_call
from node.cli.main import run_command
from node.cli.submit import home_abi
from node.config import load_config
from node.core.lock import home_locked
from node.home import Home, genesis_json, read_genesis
from node.library import library_abi, text_of
from tests.consortium import consortium, genesis
from tests.oracles.identity import PermitArgs
from tests.oracles.tariff import FeeArgs

KEY = "01" + "ab" * 32


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("PILECHAIN_PASSPHRASE", "a passphrase for tests")


def run_json(capsys, *arguments: str):
    """What a command prints as JSON."""
    assert run_command([*arguments, "--output", "json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_F55_exit_codes_tell_whose_fault_it_is(tmp_path, capsys):
    """Documented in docs/operators.md."""
    assert run_command(["version"]) == 0
    assert run_command(["frobnicate"]) == 2
    assert run_command(["testnet", str(tmp_path / "net"), "--nodes", "3"]) == 2
    assert run_command(["query", "block", "--home", str(tmp_path)]) == 1
    assert run_command(["status", "--home", str(tmp_path)]) == 3
    assert run_command(["start", "--home", str(tmp_path)]) == 1
    capsys.readouterr()


def test_F55_errors_are_code_and_sentence_never_a_traceback(tmp_path, capsys):
    """In JSON when JSON was asked for."""
    run_command(["status", "--home", str(tmp_path)])
    error = capsys.readouterr().err
    assert error.startswith("core-unreachable: ")
    assert "Traceback" not in error
    run_command(["query", "tx", "zz", "--home", str(tmp_path), "--output", "json"])
    assert json.loads(capsys.readouterr().err)["error"]["code"] in ("store-missing", "not-hex")


def test_F55_keys_are_made_shown_and_never_written_over(tmp_path, capsys):
    """The secret is not printed; the passphrase is tried with --check."""
    file = str(tmp_path / "key.json")
    made = run_json(capsys, "keys", "new", file, "--scheme", "sm2")
    shown = run_json(capsys, "keys", "show", file, "--check")
    assert made["public_key"] == shown["public_key"]
    assert shown["scheme"] == "sm2"
    assert run_command(["keys", "new", file]) == 1
    assert capsys.readouterr().err.startswith("keystore-exists: ")
    assert run_command(["keys", "show", str(tmp_path / "none.json")]) == 1
    assert capsys.readouterr().err.startswith("keystore-missing: ")


def test_F55_the_holder_of_a_key_lets_a_company_register_it(tmp_path, capsys):
    """On the chain of a genesis document, or of the home's where there is one."""
    file, net = str(tmp_path / "pile.json"), tmp_path / "net"
    made = run_json(capsys, "keys", "new", file)
    run_json(capsys, "testnet", str(net))
    genesis = net / "genesis.json"
    public_key = bytes.fromhex(made["public_key"])
    digest = own_key_digest(read_genesis(genesis).hash(), "Teld", public_key)
    for where in (("--genesis", str(genesis)), ("--home", str(net / "SGCC"))):
        shown = run_json(capsys, "keys", "prove", file, "--company", "Teld", *where)
        assert shown["public_key"] == made["public_key"]
        assert verify(public_key, digest, bytes.fromhex(shown["proof"]))
    assert run_command(["keys", "prove", file, "--company", "Teld", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("genesis-missing: ")


def test_F55_init_makes_a_home_once(tmp_path, capsys):
    """Settings that load, and two keys of the company's own."""
    home = str(tmp_path / "home")
    made = run_json(capsys, "init", "--company", "Teld", "--home", home)
    assert load_config(tmp_path / "home" / "config" / "config.toml", {}).node.company == "Teld"
    shown = run_json(capsys, "keys", "show", f"{home}/config/vote_key.json")
    assert shown["public_key"] == made["vote_key"] != made["company_key"]
    assert run_command(["init", "--company", "Teld", "--home", home]) == 1
    assert capsys.readouterr().err.startswith("home-exists: ")


def test_F55_reset_asks_and_needs_a_stopped_node(tmp_path, capsys):
    """Only what peers can give back goes; the archive of readings stays unless it is named."""
    (tmp_path / "data" / "ledger").mkdir(parents=True)
    (tmp_path / "core.sock").touch()  # of a crash; a core that joins has none
    with home_locked(Home(tmp_path)):
        assert run_command(["unsafe-reset-data", "--home", str(tmp_path), "--yes"]) == 1
    assert capsys.readouterr().err.startswith("home-in-use: ")
    assert (tmp_path / "data" / "ledger").exists()
    assert run_command(["unsafe-reset-data", "--home", str(tmp_path), "--yes"]) == 0
    lock = tmp_path / "data" / "lock"
    assert list((tmp_path / "data").iterdir()) == [lock], "a core that starts meanwhile must find it"
    for name in ("index.sqlite", "readings.sqlite", "readings.sqlite-wal"):
        (tmp_path / "data" / name).touch()
    (tmp_path / "data" / "wal").mkdir()
    assert run_command(["unsafe-reset-data", "--home", str(tmp_path), "--yes"]) == 0
    kept = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert kept == ["lock", "readings.sqlite", "readings.sqlite-wal"]
    assert run_command(["unsafe-reset-data", "--home", str(tmp_path), "--yes", "--archive"]) == 0
    assert list((tmp_path / "data").iterdir()) == [lock]
    capsys.readouterr()


def test_F55_calls_are_typed_by_name_and_encoded_canonically():
    """Texts as they are, bytes in hex, the rest as JSON."""
    typed = ["--pile", "7", "--connector", "1", "--deposit-fen=500", "--accept-unverified", "false"]
    assert parse_call(library_abi(), "session", "open", typed) == library_abi().encode_call(
        "session", "open", pile="7", connector=1, deposit_fen=500, accept_unverified=False
    )
    fee = '{"service_price_e4": 5000, "occupancy_fen_per_minute": 5, "grace_ms": 60000}'
    call = parse_call(library_abi(), "tariff", "set_fee", ["--fee", fee])
    assert decode(FeeArgs, call.args).fee.service_price_e4 == 5000
    permit = ["--contract", "2", "--method", "pay", "--business", "2", "--roles", "[]"]
    with pytest.raises(ClientError, match="--business"):
        parse_call(library_abi(), "identity", "permit", permit)
    permit[5] = "payment"
    permit[7] = '["driver", "owner"]'
    call = parse_call(library_abi(), "identity", "permit", permit)
    assert decode(PermitArgs, call.args).roles == (Role.DRIVER, Role.OWNER)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", KEY], "needs --amount-fen, --memo"),
        (["--to", "zz", "--amount-fen", "1", "--memo", "0"], "--to 'zz'"),
        (["--to", KEY, "--amount-fen", "-1", "--memo", "0"], ">= 0"),
        (["--to", KEY, "--amount-fen", "much", "--memo", "0"], "--amount-fen 'much'"),
        (["--amount", "1"], "money pay has no argument --amount; it takes --to --amount-fen --memo"),
        (["--to"], "--to has no value"),
        (["--to", KEY, "--amount-fen", "9" * 24, "--memo", "0"], "serialize ints"),
        (["--to", KEY, "--amount-fen", "[" * 2_000, "--memo", "0"], "--amount-fen '[["),
    ],
)
def test_F55_a_wrong_argument_is_named(arguments, reason):
    """With what would be right."""
    with pytest.raises(ClientError, match="args-malformed") as caught:
        parse_call(library_abi(), "money", "pay", arguments)
    assert reason in caught.value.message


def test_F55_an_argument_called_like_an_option_of_tx_is_reached():
    typed = ["--arg-key", KEY, "--businesses", '["payment"]', "--proof", "00" * 64]
    call = parse_call(library_abi(), "identity", "add_key", typed)
    assert bytes.fromhex(KEY) in call.args
    with pytest.raises(ClientError, match="identity add_key needs --arg-key"):
        parse_call(library_abi(), "identity", "add_key", typed[2:])


def test_F55_a_text_that_is_none_and_a_field_that_there_is_not_are_refused():
    fee = '{"service_price_e4": 1, "occupancy_fen_per_minute": 1, "grace_ms": 1, "grace": 1}'
    with pytest.raises(ClientError, match="there is no field grace"):
        parse_call(library_abi(), "tariff", "set_fee", ["--fee", fee])
    with pytest.raises(ClientError, match="args-malformed"):
        parse_call(library_abi(), "registry", "share", ["--pile", "\udc80", "--shared", "true"])


def test_F55_a_home_without_a_ledger_knows_the_contracts_of_its_genesis(tmp_path):
    home = Home(tmp_path)
    assert home_abi(home).method("money", "pay").args.__struct_fields__ == ("to", "amount_fen", "memo")
    text = text_of("money").replace("memo: U32) -> None:", "note: U32) -> None:")
    other = ContractSetup(2, encode(compile_source(text)), text)
    setup = consortium()
    contracts = tuple(other if each.number == 2 else each for each in setup.contracts)
    home.genesis_file.parent.mkdir(parents=True)
    home.genesis_file.write_text(genesis_json(genesis(structs.replace(setup, contracts=contracts)), {}))
    assert home_abi(home).method("money", "pay").args.__struct_fields__ == ("to", "amount_fen", "note")


def test_F55_unknown_calls_name_the_known_ones():
    """`tx --list` shows them all."""
    with pytest.raises(ClientError, match="contract-unknown"):
        parse_call(library_abi(), "monye", "pay", [])
    with pytest.raises(ClientError, match="method-unknown"):
        parse_call(library_abi(), "money", "steal", [])
    assert {"money pay", "session open"} <= {method["call"] for method in describe_methods(library_abi())}


def test_F55_a_struct_that_may_be_absent_is_given_or_not():
    class Inner(Wire):
        """A part."""

        n: int

    kind = inspect.type_info(Inner | None)
    assert from_readable({"n": 3}, kind) == Inner(3)
    assert from_readable(None, kind) is None
