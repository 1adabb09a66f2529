"""`pilechain keys …`: encrypted key files."""

import asyncio
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from contracts.digests import own_key_digest
from contracts.numbers import GOVERNANCE
from ledger.keys import Scheme, SoftSigner, scheme_of
from node.cli.options import Format, HomeOption, OutputOption, emit, home_of
from node.home import read_genesis
from node.keystore import load_key, passphrase_from_env_or_file, public_key_of, save_key

keys = typer.Typer(no_args_is_help=True, help="Make and look at encrypted key files.")


class SchemeName(StrEnum):
    """Signature schemes by name."""

    ED25519 = "ed25519"
    SM2 = "sm2"

    @property
    def scheme(self) -> Scheme:
        """The scheme itself."""
        return Scheme[self.name]


def new_signer(scheme: Scheme) -> SoftSigner:
    """A signer with a fresh key from the system's randomness."""
    return SoftSigner.from_seed(scheme, os.urandom(32))


@keys.command()
def new(
    file: Annotated[Path, typer.Argument(help="The key file to make; never written over.")],
    scheme: Annotated[SchemeName, typer.Option(help="Must be allowed by the chain's genesis.")] = SchemeName.ED25519,
    output: OutputOption = Format.TEXT,
) -> None:
    """Make a key, encrypted under PILECHAIN_PASSPHRASE or the content of PILECHAIN_PASSPHRASE_FILE."""
    signer = new_signer(scheme.scheme)
    save_key(file, signer, passphrase_from_env_or_file(os.environ))
    emit({"file": str(file), "scheme": scheme.value, "public_key": signer.public_key.hex()}, output)


@keys.command()
def show(
    file: Annotated[Path, typer.Argument(help="A key file.")],
    check: Annotated[
        bool, typer.Option("--check", help="Decrypt it as well, to see that the passphrase opens it.")
    ] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Print a key file's public key. The secret is never printed."""
    public_key = public_key_of(file)
    shown: dict[str, object] = {
        "file": str(file),
        "scheme": scheme_of(public_key).name.lower(),
        "public_key": public_key.hex(),
    }
    if check:
        load_key(file, passphrase_from_env_or_file(os.environ))
        shown["opens"] = True
    emit(shown, output)


@keys.command()
def prove(
    file: Annotated[Path, typer.Argument(help="The key file, where its holder keeps it.")],
    company: Annotated[str, typer.Option(help="Who registers the key.")],
    genesis: Annotated[Path | None, typer.Option(help="Of the chain; else that of this home.")] = None,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Print the proof by which one company may register this key: as its own, a driver's or a pile's."""
    signer = load_key(file, passphrase_from_env_or_file(os.environ))
    document = read_genesis(genesis) if genesis else home_of(home).genesis()
    digest = own_key_digest(document.hash(), company, signer.public_key)
    emit({"public_key": signer.public_key.hex(), "proof": signer.sign(digest).hex()}, output)


@keys.command()
def renew(
    home: HomeOption = None,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the seal.")] = 30.0,
    output: OutputOption = Format.TEXT,
) -> None:
    """Have a fresh vote key take over from the present one, which is lost, or has voted on what this node forgot.

    Makes the key beside the present one, and signs the call with the company key. The node must run; it votes with the
    new key nine blocks later.
    """
    from node.cli.submit import home_abi, home_passphrase, load_signer, submit_call
    from node.core.duties import vote_key_args
    from node.core.vote_keys import next_key_file, next_vote_key

    place = home_of(home)
    config = place.config()
    key_file = place.path(config.keys.vote)
    signer = next_vote_key(key_file, home_passphrase(place))
    args = vote_key_args(place.genesis().hash(), config.node.company, signer)
    call = home_abi(place).encode_call(str(GOVERNANCE), "renew_vote_key", **args)
    shown = asyncio.run(submit_call(place, call, load_signer(place, None), wait_s))
    emit({"vote_key": signer.public_key.hex(), "file": str(next_key_file(key_file)), **shown}, output)
    if shown["code"]:
        raise typer.Exit(1)


@keys.command()
def node(
    address: Annotated[str, typer.Option(help="host:port at which the other members reach this node.")],
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Print the call by which this home's company names its node on chain: TLS key, address, and the key's own word."""
    from node.home import set_node_args

    args = {
        name: value.hex() if isinstance(value, bytes) else value
        for name, value in set_node_args(home_of(home), address).items()
    }
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in args.items())
    emit({**args, "call": f"pilechain tx governance set_node {options}"}, output)


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(keys, name="keys")
