"""`pilechain bench …`: hands over to the package `bench`, which stands above `node` and so is looked up by name."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from node.cli.keys import SchemeName

bench = typer.Typer(no_args_is_help=True, help="Measure this machine: what a consortium on it seals, and how fast.")

NodesOption = Annotated[int, typer.Option(min=4, max=31, help="Validators, each a process of its own.")]
SchemeOption = Annotated[SchemeName, typer.Option(help="Of accounts and votes.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write the figures here.")]


@bench.command()
def payments(
    nodes: NodesOption = 4,
    seconds: Annotated[float, typer.Option(min=1, help="How long to load it.")] = 20.0,
    scheme: SchemeOption = SchemeName.ED25519,
    json_file: JsonOption = None,
) -> None:
    """Sealed payments per second, beside the ceiling that verifying signatures sets on this machine."""
    importlib.import_module("bench.payments").run(nodes, seconds, scheme.scheme, json_file)


@bench.command()
def latency(
    nodes: NodesOption = 4,
    count: Annotated[int, typer.Option(min=1, help="Payments, one by one.")] = 200,
    scheme: SchemeOption = SchemeName.ED25519,
    json_file: JsonOption = None,
) -> None:
    """Time from submitting a payment to its sealed receipt, on an idle chain."""
    importlib.import_module("bench.latency").run(nodes, count, scheme.scheme, json_file)


@bench.command()
def growth(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller and shorter: a minute or two, not ten.")] = False,
    json_file: JsonOption = None,
) -> None:
    """What a payment, a node and its disk cost as validators, state and chain grow."""
    module = importlib.import_module("bench.growth")
    module.run(module.QUICK if quick else module.FULL, json_file)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(bench, name="bench")
