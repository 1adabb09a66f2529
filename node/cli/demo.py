"""`pilechain demo` and `fleet`: the consortium at work."""

import asyncio
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from ledger.errors import ClientError
from node.cli.options import Format, OutputOption, emit

DEFAULT_SPEED = 480
EXIT_INTERRUPTED = 130


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the day instead of staying up.")] = False,
    speed: Annotated[int, typer.Option(min=1, max=10_000, help="Chain seconds per second.")] = DEFAULT_SPEED,
    nodes: Annotated[int, typer.Option(min=4, max=8, help="Companies that run a node and vote.")] = 8,
    stations: Annotated[Path | None, typer.Option(help="Table of stations (CSV); else a synthetic city.")] = None,
    sessions: Annotated[Path | None, typer.Option(help="Table of sessions (CSV); else synthetic ones.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Only so many sessions, drawn by the seed.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.")] = 1,
    base_port: Annotated[int, typer.Option(min=0, help="First port; 0 takes free ones.")] = 26656,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the summary here.")] = None,
    home: Annotated[Path | None, typer.Option(help="New folder that stays afterwards; else a temporary one.")] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """A day of the whole consortium on this machine: nodes, broker, piles, drivers, faults, and an audit at the end.

    Exit code 1 if anything of the audit is not as it must be.
    """
    import uvloop
    from rich.console import Console

    from node.demo.run import DemoOptions, run_demo

    options = DemoOptions(
        nodes=nodes,
        speed=speed,
        seed=seed,
        stations=stations,
        sessions=sessions,
        sample=sample,
        base_port=base_port,
    )

    summaries: list[dict[str, Any]] = []

    def ended(summary: dict[str, Any]) -> None:
        summaries.append(summary)
        if json_file:
            json_file.write_bytes(msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n")
        emit(summary, output)

    with ExitStack() as stack:
        root = home or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pilechain-demo-")))
        wrong = uvloop.run(_until_signal(run_demo(root, options, Console(stderr=True), ended, once)))
    if not summaries:  # Ctrl-C before the end of the day
        raise typer.Exit(EXIT_INTERRUPTED)
    if wrong:
        raise ClientError("demo-audit", "; ".join(wrong))


async def _until_signal(work: Any) -> Any:
    """The result of `work`; SIGINT and SIGTERM cancel it, so that everything it started is stopped."""
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


def fleet(
    folder: Annotated[Path, typer.Argument(help="Folder of a testnet whose nodes and broker run.")],
    piles: Annotated[int, typer.Option(min=1, help="Run the first so many registered piles.")] = 8,
    drivers: Annotated[int, typer.Option(min=0, help="So many drivers charge, again and again.")] = 0,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after so long; else at Ctrl-C.")] = None,
    flash: Annotated[
        Path | None, typer.Option(help="Folder in which piles keep their memory through a restart; else they do not.")
    ] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Run many piles of a testnet in one process, each with an MQTT connection of its own."""
    import uvloop

    from node.config import LogSection
    from node.demo.fleet import run_fleet
    from node.logs import configure_logs
    from node.testnet.make import Testnet

    configure_logs(LogSection())
    emit(uvloop.run(_until_signal(run_fleet(Testnet.load(folder), piles, drivers, seconds, flash))), output)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(demo)
    app.command()(fleet)
