"""`pilechain snapshot`: what this node offers to nodes that join."""

from contextlib import closing
from typing import Annotated, Any

import typer

from ledger.errors import ClientError, PeerError
from node.cli.options import Format, HomeOption, OutputOption, emit, home_of
from node.home import Home

snapshots = typer.Typer(no_args_is_help=True, help="Snapshots of the ledger, for nodes that join.")


@snapshots.command()
def create(home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """Make a snapshot of the newest block, whether the node runs or not."""
    from msgspec.structs import asdict

    from node.storage.reader import LedgerReader
    from node.storage.shield import shielded
    from node.storage.snapshot_maker import Unhurried, make_snapshot
    from node.storage.snapshots import Snapshots

    place = home_of(home)

    def make() -> Any:
        with closing(LedgerReader(place.ledger, place.config().store.map_bytes)) as reader:
            return make_snapshot(reader, Snapshots(place.snapshots), Unhurried())

    made = shielded(place.ledger, make)
    emit(asdict(made) if made else {}, output)


@snapshots.command("list")
def show(home: HomeOption = None, output: OutputOption = Format.TEXT) -> None:
    """The snapshots that are here."""
    place = home_of(home)
    emit([_describe(place, height) for height in _heights(place)], output)


@snapshots.command()
def verify(
    height: Annotated[int, typer.Argument(help="Height; 0 for all.")] = 0,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Check snapshots as a node that joins would: seal, manifest and every chunk. Exit code 4 if one is bad."""
    from node.storage.shield import shielded

    place = home_of(home)
    heights = [height] if height else _heights(place)
    emit(shielded(place.ledger, lambda: [_verify(place, each) for each in heights]), output)


def _heights(place: Home) -> list[int]:
    from node.storage.snapshots import Snapshots

    return Snapshots(place.snapshots).heights()


def _describe(place: Home, height: int) -> dict[str, Any]:
    files = list((place.snapshots / str(height)).iterdir())
    return {"height": height, "chunks": len(files) - 1, "bytes": sum(path.stat().st_size for path in files)}


def _verify(place: Home, height: int) -> dict[str, Any]:
    """Check one snapshot against the sets that this node's own ledger proves."""
    from ledger.block import check_sealed
    from ledger.codec import decode
    from ledger.snapshot import Manifest, check_manifest, unpack_chunk
    from node.storage.reader import LedgerReader
    from node.storage.snapshots import Snapshots

    shelf = Snapshots(place.snapshots)
    raw = shelf.manifest(height)
    if raw is None:
        raise ClientError("snapshot-missing", f"{shelf.path} holds no snapshot of height {height}")
    genesis = place.genesis()
    reader = LedgerReader(place.ledger, place.config().store.map_bytes)
    try:
        manifest = decode(Manifest, raw)
        with reader.snapshot() as ledger:
            validators = ledger.validator_set(manifest.header.set_hash)
        if validators is None:
            raise ClientError("chain-invalid", f"snapshot {height} is sealed by a set that this ledger does not know")
        check_sealed(manifest.sealed, validators, genesis.hash())
        places = check_manifest(manifest, genesis.parameters.expiry_max_ms)
        for each in places:
            if not each.empty:
                unpack_chunk(each, shelf.chunk(height, each.index) or b"")
    except PeerError as error:
        raise ClientError("chain-invalid", f"snapshot {height}: {error}; remove {shelf.path / str(height)}") from error
    finally:
        reader.close()
    return _describe(place, height) | {"state_root": manifest.result.state_root.hex(), "valid": True}


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(snapshots, name="snapshot")
