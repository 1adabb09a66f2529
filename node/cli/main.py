"""Entry point of the `pilechain` command: the typer application that the command modules join."""

import platform

import typer

from node import __version__

app = typer.Typer(name="pilechain", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def pilechain() -> None:
    """PileChain (桩链): the shared ledger of an EV-charging consortium."""


@app.command()
def version() -> None:
    """Print the version of PileChain and of the Python that runs it."""
    typer.echo(f"pilechain {__version__} (Python {platform.python_version()})")


def main() -> None:
    """Run the `pilechain` command."""
    app()
