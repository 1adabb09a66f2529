"""`pilechain start` and `status`: a node's processes."""

import asyncio
from enum import StrEnum
from typing import Annotated

import typer

from node.cli.options import Format, HomeOption, OutputOption, emit, home_of


class Only(StrEnum):
    """The parts of a node that can run as a process of their own."""

    CORE = "core"
    EDGE = "edge"
    GATEWAY = "gateway"
    API = "api"
    INDEXER = "indexer"


def start(
    home: HomeOption = None,
    only: Annotated[Only | None, typer.Option(help="Run this part alone.")] = None,
) -> None:
    """Run a node until Ctrl-C or SIGTERM: starts core and edge, restarts what dies, stops them in order."""
    from node.supervisor import supervise

    place = home_of(home)
    place.genesis()  # what is missing or wrong is said here, once, and not by a child that dies again and again
    asyncio.run(supervise(place, only.value if only else None))


def status(
    ready: Annotated[
        bool, typer.Option("--ready", help="Ask whether it should get traffic: exit code 1 and the reasons if not.")
    ] = False,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Print what the node says of itself: height, view, primary, peers, waiting transactions."""
    from node.ipc.status import core_status, readiness

    if not ready:
        emit(asyncio.run(core_status(home_of(home))), output)
        return
    answer = readiness(home_of(home))
    emit(answer, output)
    if not answer["ready"]:
        raise typer.Exit(1)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(start)
    app.command()(status)
