"""`pilechain backup`, `restore`, `repair`: a node's data, kept elsewhere, brought back, damaged."""

from pathlib import Path
from typing import Annotated

import typer

from node.cli.options import Format, HomeOption, OutputOption, emit, home_of


def repair(
    home: HomeOption = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="Set the ledger aside even if it can be read: `verify` found it wrong.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Examine write-ahead log and ledger of a stopped node; set aside what is damaged, under data/damaged-TIME.

    The node then fetches from its peers what it lacks. Its vote key counts as one that forgot its votes: the node only
    observes until `pilechain keys renew` has made another.
    """
    from node.cli.repair import repair as work

    repaired = work(home_of(home), ledger_is_bad=ledger)
    emit({name: getattr(repaired, name) for name in repaired.__struct_fields__}, output)


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DEST", help="New folder for the backup.")],
    home: HomeOption = None,
    rate: Annotated[int, typer.Option("--rate-mb", min=1, help="Megabytes read per second at most.")] = 50,
    output: OutputOption = Format.TEXT,
) -> None:
    """Copy ledger, settings, genesis document, certificates and encrypted keys of a node, which may run meanwhile.

    What [keys] and [p2p] of config.toml name must lie in config/.

    The write-ahead log is not copied: an old one would have the node forget votes that it sent. Passphrases and the
    archive of readings are yours to keep.
    """
    from node.cli.backup import make_backup

    emit(make_backup(home_of(home), folder, rate * 1_000_000).describe(folder), output)


def restore(
    folder: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of a backup.")],
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Make a node's home from a backup whose files are all as its manifest says. The home must be empty or new.

    The node follows the chain from there and only observes, for its key has voted on what no backup holds; to vote, it
    needs a fresh one (`pilechain keys renew`).
    """
    from node.cli.backup import restore_backup

    emit(restore_backup(folder, home_of(home)), output)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(backup)
    app.command()(restore)
    app.command()(repair)
