"""Entry point of the `pilechain` command: the typer application that the command modules join.

Exit codes: 0 done, 1 refused or wrong input, 2 wrong usage, 3 node unreachable, 4 the chain does not verify, or its
store or a pile's flash is damaged, 70 our bug, 130 interrupted. Errors go to standard error as `code: sentence`; a
traceback always means a bug of ours.
"""

import platform
import sys
import traceback
from typing import NoReturn

import msgspec
import typer

from ledger.errors import ClientError, OurError, PeerError, PileChainError
from node import __version__
from node.cli import bench, chain, contract, demo, keeping, keys, run, setup, snapshot
from node.cli.options import Format, OutputOption, emit

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
EXIT_CHAIN_BAD = 4
EXIT_BUG = 70
"""EX_SOFTWARE of sysexits.h."""

EXIT_BY_CODE = {
    "node-unreachable": EXIT_UNREACHABLE,
    "core-unreachable": EXIT_UNREACHABLE,
    "chain-invalid": EXIT_CHAIN_BAD,
    "store-damaged": EXIT_CHAIN_BAD,
    "flash-damaged": EXIT_CHAIN_BAD,
    "child-died": EXIT_REFUSED,
}
"""Errors whose exit code scripts may want to tell apart; all others of clients and peers are EXIT_REFUSED, and of ours
EXIT_BUG.
"""

app = typer.Typer(name="pilechain", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def pilechain() -> None:
    """PileChain (桩链): the shared ledger of an EV-charging consortium."""


@app.command()
def version(output: OutputOption = Format.TEXT) -> None:
    """Print the version of PileChain and of the Python that runs it."""
    if output is Format.TEXT:
        typer.echo(f"pilechain {__version__} (Python {platform.python_version()})")
    else:
        emit({"pilechain": __version__, "python": platform.python_version()}, output)


for module in (setup, keys, run, chain, contract, keeping, snapshot, demo, bench):
    module.join(app)


def main() -> NoReturn:
    """Run the `pilechain` command and leave with its exit code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Exit code of the command with these arguments; prints what it has to say."""
    try:
        try:
            app(arguments, prog_name="pilechain")
        except BaseExceptionGroup as group:
            raise _first_of(group) from None
    except SystemExit as end:  # typer's way out, wrong usage and Ctrl-C included
        return end.code if isinstance(end.code, int) else EXIT_REFUSED
    except (ClientError, PeerError) as error:
        _report(error, arguments)
        return EXIT_BY_CODE.get(error.code, EXIT_REFUSED)
    except OSError as error:  # a disk or network of the caller's: full, read-only, out of reach
        _report(ClientError("system", str(error)), arguments)
        return EXIT_REFUSED
    except Exception as error:  # noqa: BLE001 - a bug of ours, shown whole
        if isinstance(error, OurError) and error.code in EXIT_BY_CODE:  # damage is no bug, nor is want of memory
            _report(error, arguments)
            return EXIT_BY_CODE[error.code]
        traceback.print_exception(error)
        return EXIT_BUG
    return 0


def _first_of(error: BaseException) -> BaseException:
    """What one of several tasks failed of first; the others were cancelled for it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _report(error: PileChainError, arguments: list[str]) -> None:
    if "json" in arguments or "--output=json" in arguments:
        print(msgspec.json.encode({"error": {"code": error.code, "message": error.message}}).decode(), file=sys.stderr)
    else:
        print(f"{error.code}: {error.message}", file=sys.stderr)
