"""`pilechain tx`, `query` and `verify`: doing something on the chain, and looking at it."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from msgspec.structs import replace

from ledger.errors import ClientError
from node.cli.options import Format, HomeOption, OutputOption, emit, home_of
from node.home import Home

query = typer.Typer(no_args_is_help=True, help="Look at the ledger of this node, whether it runs or not.")

EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": True}


def tx(
    context: typer.Context,
    contract: Annotated[str, typer.Argument(help="Contract, such as money.")] = "",
    method: Annotated[str, typer.Argument(help="Method, such as pay.")] = "",
    key: Annotated[
        Path | None, typer.Option(help="Key file of the sender; else the company's key of this home.")
    ] = None,
    show_all: Annotated[bool, typer.Option("--list", help="Print every contract, method and argument.")] = False,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the seal.")] = 30.0,
    api: Annotated[
        str, typer.Option(help="host:port of another node's API to submit by, where this home's core is not up.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what the call would do on this node's ledger now.")
    ] = False,
    gas_limit: Annotated[int, typer.Option(min=0, help="Gas that the call may use; 0 for what is usual.")] = 0,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Submit a call and wait for its sealed receipt: `pilechain tx money pay --to KEY --amount-fen 500 --memo 7 --key
    FILE`.

    Arguments of the method are given by name; keys and hashes in hexadecimal, structs and lists as JSON. One that is
    called like an option here (`key`) is given as `--arg-key`.
    """
    from node.cli.call_text import describe_methods, parse_call
    from node.cli.submit import home_abi, load_signer, sender_of, simulate_call, submit_by_api, submit_call

    if show_all:
        emit(describe_methods(home_abi(home_of(home))), output)
        return
    if not contract or not method:
        raise typer.BadParameter("name a contract and a method; --list shows them all")
    place = home_of(home)
    call = parse_call(home_abi(place), contract, method, context.args)
    if gas_limit:
        call = replace(call, gas_limit=gas_limit)
    if dry_run:
        shown = simulate_call(place, call, sender_of(place, key))
        emit(shown, output)
        if shown["code"]:
            raise typer.Exit(1)
        return
    signer = load_signer(place, key)
    submitted = submit_by_api(place, call, signer, wait_s, api) if api else submit_call(place, call, signer, wait_s)
    shown = asyncio.run(submitted)
    emit(shown, output)
    if shown["code"]:
        raise typer.Exit(1)


@query.command()
def block(
    height: Annotated[int, typer.Argument(help="Height; 0 for the newest.")] = 0,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A sealed block."""
    from node.cli.query import block_at

    _print(home, output, lambda snapshot: block_at(snapshot, height))


@query.command("tx")
def transaction(
    transaction_id: Annotated[str, typer.Argument(metavar="ID")],
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A sealed transaction with its receipt."""
    from node.cli.query import transaction_of

    _print(home, output, lambda snapshot: transaction_of(snapshot, _hex(transaction_id)))


@query.command()
def members(home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """Who votes and who follows, what is decided, and which proposals wait for approval."""
    from node.cli.query import members_of

    _print(home, output, members_of)


@query.command()
def session(
    session_id: Annotated[str, typer.Argument(metavar="ID")],
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A charging session."""
    from contracts.views import session_record

    _print_record(home, output, f"session {session_id}", lambda snapshot: session_record(snapshot, _hex(session_id)))


@query.command()
def pile(name: str, home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """A pile and its state."""
    from node.cli.query import pile_of

    _print(home, output, lambda snapshot: pile_of(snapshot, name))


@query.command()
def account(key: str, home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """A driver's or owner's wallet, by public key."""
    from contracts.views import wallet

    _print_record(home, output, f"account {key}", lambda snapshot: wallet(snapshot, _hex(key)))


@query.command()
def contract(
    name: Annotated[str, typer.Argument(help="Name or number.")],
    text: Annotated[bool, typer.Option("--text", help="Print the text alone, as it came.")] = False,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A contract as it rules now: hash of its code, its versions, and the text that everybody can read."""
    from node.cli.query import contract_of

    shown = _read(home, lambda snapshot: contract_of(snapshot, name))
    if text:
        typer.echo(shown["text"], nl=False)
        return
    emit(shown, output)


@query.command()
def code(
    code_hash: Annotated[str, typer.Argument(metavar="HASH", help="As a proposal or a contract's version names it.")],
    text: Annotated[bool, typer.Option("--text", help="Print the text alone, as it came.")] = False,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A contract's code, ruling, former or proposed, with the text to vote on."""
    from node.cli.query import code_of

    shown = _read(home, lambda snapshot: code_of(snapshot, _hex(code_hash)))
    if text:
        typer.echo(shown["text"], nl=False)
        return
    emit(shown, output)


@query.command()
def company(name: str, home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """A company, its books and its headroom."""
    from node.cli.query import company_of

    _print(home, output, lambda snapshot: company_of(snapshot, name))


@query.command()
def state(
    key: Annotated[str, typer.Argument(help="Whole key in hexadecimal: contract number (4 bytes), then its own key.")],
    proof: Annotated[bool, typer.Option("--proof", help="With the proof against the sealed state root.")] = False,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """What the state holds under a key."""
    from node.cli.query import state_at

    _print(home, output, lambda snapshot: state_at(snapshot, _hex(key), proof))


def verify(
    home: HomeOption = None,
    backup: Annotated[
        Path | None, typer.Option("--backup", help="Check this backup instead: its manifest, then its chain.")
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Re-check the whole chain of this node from genesis: seals, links, signatures, and every block executed again.

    Exit code 4 and the first height that is wrong if it is not what it should be. Best while the node is stopped; also
    while it runs.
    """
    from node.cli.backup import check_backup
    from node.storage.shield import shielded

    place = home_of(home)
    if backup:
        check_backup(backup)
        place = Home(backup.absolute())
    verified = shielded(place.ledger, lambda: _verify(place))
    emit({name: getattr(verified, name) for name in verified.__struct_fields__} | {"valid": True}, output)


def _verify(place: Home) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    from node.cli.verify import verify_chain

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verify", total=None)
        return verify_chain(
            place.ledger,
            place.genesis(),
            lambda height, newest: bar.update(task, completed=height, total=newest),
            place.config().store.map_bytes,
        )


def _print(home: Path | None, output: Format, read: Any) -> None:
    emit(_read(home, read), output)


def _read(home: Path | None, read: Any) -> Any:
    from node.storage.reader import LedgerReader
    from node.storage.shield import shielded

    place = home_of(home)

    def found() -> Any:
        with (
            closing(LedgerReader(place.ledger, place.config().store.map_bytes)) as reader,
            reader.snapshot() as snapshot,
        ):
            return read(snapshot)

    return shielded(place.ledger, found)


def _print_record(home: Path | None, output: Format, what: str, read: Any) -> None:
    from ledger.readable import readable

    def found(snapshot: Any) -> Any:
        record = read(snapshot)
        if record is None:
            raise ClientError("not-found", f"the newest state has no {what}")
        return readable(record)

    _print(home, output, found)


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise ClientError("not-hex", f"{text!r}: expected hexadecimal digits") from error


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command(context_settings=EXTRA)(tx)
    app.add_typer(query, name="query")
    app.command()(verify)
