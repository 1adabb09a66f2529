"""`pilechain init`, `testnet`, `unsafe-reset-data`: folders of nodes, made and emptied."""

import os
import shutil
from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import ClientError
from ledger.genesis import Profile
from node.cli.keys import SchemeName, new_signer
from node.cli.options import Format, HomeOption, OutputOption, YesOption, emit, home_of
from node.config import to_toml


def init(
    company: Annotated[str, typer.Option(help="English name of the company, as the genesis document will have it.")],
    home: HomeOption = None,
    genesis: Annotated[Path | None, typer.Option(help="Genesis document of a consortium that exists.")] = None,
    scheme: Annotated[SchemeName, typer.Option(help="Of the company's and the vote key.")] = SchemeName.ED25519,
    output: OutputOption = Format.TEXT,
) -> None:
    """Make the folder of a new node: settings, company key, vote key (encrypted under PILECHAIN_PASSPHRASE[_FILE])."""
    from node.home import read_genesis
    from node.keystore import passphrase_from_env_or_file, save_key

    place = home_of(home)
    if place.config_file.exists():
        raise ClientError("home-exists", f"{place.config_file} exists already; choose another --home")
    passphrase = passphrase_from_env_or_file(os.environ)
    document = read_genesis(genesis) if genesis else None
    signers = {name: new_signer(scheme.scheme) for name in ("company_key", "vote_key")}
    place.config_file.parent.mkdir(parents=True, exist_ok=True)
    place.root.chmod(0o700)
    for name, signer in signers.items():
        save_key(place.config_file.parent / f"{name}.json", signer, passphrase)
    if genesis:
        shutil.copyfile(genesis, place.genesis_file)
    place.config_file.write_text(to_toml({"node": {"company": company}}), encoding="utf-8")
    emit(
        {
            "home": str(place.root),
            "company": company,
            **{name: signer.public_key.hex() for name, signer in signers.items()},
            "genesis": document.hash().hex() if document else None,
        },
        output,
    )


def new_testnet(
    folder: Annotated[Path, typer.Argument(help="New folder; each company gets a home in it.")],
    nodes: Annotated[int, typer.Option(min=4, max=100, help="Validators.")] = 4,
    profile: Annotated[
        Profile, typer.Option(help="Signature schemes: gm SM2, intl Ed25519, mixed both.")
    ] = Profile.MIXED,
    speed: Annotated[int, typer.Option(min=1, max=10_000, help="Factor of the chain clock.")] = 1,
    base_port: Annotated[int, typer.Option(min=0, help="First port; 0 takes free ones.")] = 26656,
    drivers: Annotated[int, typer.Option(min=0, max=10_000, help="Driver accounts with money.")] = 8,
    wallet_fen: Annotated[int, typer.Option(min=0, max=10**9, help="Money of each driver.")] = 100_000,
    piles: Annotated[int, typer.Option(min=0, max=10_000, help="Registered piles.")] = 8,
    start: Annotated[bool, typer.Option("--start", help="Start broker and all nodes, and stay until Ctrl-C.")] = False,
    containers: Annotated[
        bool,
        typer.Option(
            "--containers",
            help="For docker-compose.yml: each node in a container, the broker with certificates. What is there stays.",
        ),
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Make the nodes of a whole consortium on this machine: keys, certificates, genesis, settings. For trying out, not
    for real money.
    """
    import asyncio

    from node.testnet.make import Testnet, TestnetPlan, example_drivers, example_piles, make_testnet

    if containers and Testnet.exists(folder):  # `up` again
        emit(Testnet.load(folder).describe(), output)
        return
    plan = TestnetPlan(
        nodes=nodes,
        profile=profile,
        speed=speed,
        base_port=base_port,
        piles=example_piles(piles),
        drivers=example_drivers(drivers, wallet_fen),
        containers=containers,
        log_format="json" if containers else "console",
    )
    made = make_testnet(folder, plan)
    emit(made.describe(), output)
    if start:
        from node.testnet.run import run_testnet

        asyncio.run(run_testnet(made, lambda line: typer.echo(line, err=True)))


def add_to_testnet(
    folder: Annotated[Path, typer.Argument(help="Folder of a testnet.")],
    company: Annotated[str, typer.Argument(help="A company without a node yet.")],
    output: OutputOption = Format.TEXT,
) -> None:
    """Make a home for one more company of a testnet, and print the call that lets its node in."""
    from node.testnet.join import add_home
    from node.testnet.make import Testnet

    testnet, home, node = add_home(Testnet.load(folder), company)
    key_file = home.path(home.config().keys.company)
    member = folder / next(iter(Testnet.load(folder).nodes))
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in node.items()}
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in shown.items())
    emit(
        {
            "home": str(home.root),
            "company_key": testnet.signer("company", company).public_key.hex(),
            **shown,
            "let it in": f"pilechain tx governance set_node {options} --key {key_file} --home {member}",
        },
        output,
    )


def unsafe_reset_data(
    home: HomeOption = None,
    yes: YesOption = False,
    archive: Annotated[
        bool, typer.Option("--archive", help="Destroy the signed readings of the piles too; nobody can give them back.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Destroy a node's ledger, write-ahead log and read model, which come back from its peers. Settings, keys and the
    archive of readings stay.

    A validator that forgets its votes may sign a second one for the same height: a vote key that has voted only
    observes afterwards, so to vote again a new one must be registered.
    """
    from node.core.lock import LOCK, home_locked

    place = home_of(home)
    data = place.root / "data"
    if not data.is_dir():
        raise ClientError("data-missing", f"{data} does not exist; nothing to destroy")
    kept = []
    with home_locked(place):
        if not yes:
            typer.confirm(f"Destroy {data} for ever?", abort=True)
        for path in sorted(data.iterdir()):
            if path.name == LOCK:
                continue  # it is ours now, and shuts out a core that is started meanwhile
            if path.name.startswith(place.archive.name) and not archive:  # with its journal
                kept.append(str(path))
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    emit({"destroyed": str(data), "kept": kept}, output)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.command()(init)
    app.command("testnet")(new_testnet)
    app.command("testnet-add")(add_to_testnet)
    app.command()(unsafe_reset_data)
