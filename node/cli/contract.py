"""`pilechain contract …`: tools for authors of contracts, and for those who are to vote on one."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec.structs import replace

from contracts.compiler.compiler import compile_source
from contracts.deployment import NUMBER_MAX
from contracts.installing import VERIFY_BYTE_GAS
from contracts.numbers import GOVERNANCE
from contracts.vm.generator import source
from contracts.vm.link import Linked
from contracts.vm.program import CODE_BYTES_MAX, Program
from contracts.vm.verifier import Verified, verify
from ledger.codec import encode
from ledger.errors import ClientError, PeerError
from node.cli.options import Format, HomeOption, OutputOption, emit, home_of

if TYPE_CHECKING:
    from node.authoring.runner import Report

contract = typer.Typer(no_args_is_help=True, help="Compile, check and propose contracts (docs/contract-language.md).")

FileArgument = Annotated[Path, typer.Argument(help="A contract's text (.py), or its code (.tree).")]


def read(file: Path) -> tuple[Verified, str]:
    """A contract, verified, and its text; empty where the file is a code. Raises ClientError `contract-source`,
    `contract-file`, PeerError `code-refused`.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ClientError("contract-file", f"{file}: {error.strerror}") from error
    if file.suffix != ".py":
        return verify(content[: CODE_BYTES_MAX + 1]), ""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ClientError("contract-file", f"{file}: no text in UTF-8: {error}") from error
    return verify(encode(compile_source(text, file.name))), text


@contract.command("compile")
def compile_(
    file: Annotated[Path, typer.Argument(help="The contract's text.")],
    out: Annotated[Path | None, typer.Option(help="Where its code goes; else it is only judged.")] = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Make a contract's code of its text. All that is wrong is told with line, column and a hint."""
    verified, _ = read(file)
    code = encode(verified.program)
    if out is not None:
        out.write_bytes(code)
    if output is Format.JSON:
        emit(_summary(verified), output)
        return
    program = verified.program
    counts = (
        _many(len(program.functions), "function"),
        _many(len(program.methods), "method"),
        _many(len(program.tables), "table"),
    )
    typer.echo(f"{program.name}: {', '.join(counts)}, {len(code):,} bytes")
    typer.echo(f"hash {verified.hash.hex()}")


@contract.command("verify")
def verify_(
    file: FileArgument,
    code_hash: Annotated[
        str, typer.Option("--hash", help="The hash that it should have, as a proposal names it.")
    ] = "",
    output: OutputOption = Format.TEXT,
) -> None:
    """Judge a contract as every node does; with --hash also say whether it is the one that was proposed."""
    verified, _ = read(file)
    if code_hash and verified.hash.hex() != code_hash.lower():
        raise PeerError("code-another", f"{file} has the hash {verified.hash.hex()}, not {code_hash}")
    emit(_summary(verified), output)


@contract.command()
def show(
    file: FileArgument,
    python: Annotated[bool, typer.Option("--python", help="The functions that nodes run.")] = False,
    output: OutputOption = Format.TEXT,
) -> None:
    """Show what a contract consists of: methods with who may call them, tables, events, codes."""
    verified, _ = read(file)
    if python:
        text, _ = source(Linked(verified, 0))
        typer.echo(text)
        return
    emit(_described(verified.program), output)


TestsArgument = Annotated[
    list[Path], typer.Argument(help="Contracts, or folders of them; tests are test_NAME.py beside, or in tests/.")
]


@contract.command("test")
def run_tests(paths: TestsArgument, output: OutputOption = Format.TEXT) -> None:
    """Run contracts' tests on a chain in memory, by both engines; say which lines no test ran."""
    reports = _reports(paths)
    if output is Format.JSON:
        emit([msgspec.to_builtins(report) for report in reports], output)
    else:
        for report in reports:
            for failed in report.failed:
                typer.echo(f"{failed.where}: {failed.test}: {failed.what}")
            passed = report.tests - len(report.failed)
            percent = 100 * report.ran / max(report.nodes, 1)
            share = f"{report.ran:,} of {report.nodes:,} nodes run ({percent:.1f} %)"
            missed = f"; not run: lines {_ranges(report.missed_lines)}" if report.missed_lines else ""
            typer.echo(f"{report.contract}: {passed} of {_many(report.tests, 'test')} passed; {share}{missed}")
    if any(report.failed or not report.tests for report in reports):
        raise typer.Exit(1)


@contract.command()
def gas(paths: TestsArgument, output: OutputOption = Format.TEXT) -> None:
    """What the methods of contracts take, as their tests call them: gas of done calls with their transactions."""
    reports = _reports(paths)
    rows = [
        {"contract": Path(report.contract).stem, **msgspec.to_builtins(row)} for report in reports for row in report.gas
    ]
    emit(rows, output)
    if any(report.failed for report in reports):
        typer.echo("some tests fail: pilechain contract test says which", err=True)
        raise typer.Exit(1)


def _reports(paths: list[Path]) -> "list[Report]":
    from node.authoring.runner import find, run

    return [run(suite) for path in paths for suite in find(path)]


def _ranges(lines: Sequence[int]) -> str:
    """1, 2, 3, 7 as 1–3, 7."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in runs)


@contract.command()
def propose(
    number: Annotated[int, typer.Argument(min=1, max=NUMBER_MAX, help="The contract's number on the chain.")],
    file: Annotated[Path, typer.Argument(help="The contract's text.")],
    from_height: Annotated[int, typer.Option(min=0, help="From which block on; 0 for the first after the vote.")] = 0,
    key: Annotated[Path | None, typer.Option(help="Key file of a company; else that of this home.")] = None,
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the seal.")] = 30.0,
    home: HomeOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Propose to the companies that this contract, or this version of it, shall rule; `pilechain tx governance approve`
    is their answer.
    """
    from node.cli.submit import home_abi, load_signer, submit_call

    verified, text = read(file)
    if not text:
        raise ClientError("contract-file", "a proposal carries the text, so that everybody can read what is voted on")
    place = home_of(home)
    code = encode(verified.program)
    call = home_abi(place).encode_call(
        str(GOVERNANCE), "propose_contract", number=number, code=code, source=text, from_height=from_height
    )
    call = replace(call, gas_limit=call.gas_limit + len(code) * VERIFY_BYTE_GAS)
    shown = asyncio.run(submit_call(place, call, load_signer(place, key), wait_s))
    emit(shown, output)
    if shown["code"]:
        raise typer.Exit(1)


def _summary(verified: Verified) -> dict[str, object]:
    program = verified.program
    return {
        "name": program.name,
        "hash": verified.hash.hex(),
        "bytes": len(encode(program)),
        "functions": len(program.functions),
        "methods": len(program.methods),
        "tables": len(program.tables),
    }


def _described(program: Program) -> dict[str, object]:
    return {
        "name": program.name,
        "summary": program.summary,
        "methods": [
            {
                "name": method.name,
                "arguments": ", ".join(param.name for param in method.params),
                "roles": list(method.roles),
                "callers": list(method.callers),
                "scheduled": method.scheduled_gas,
                "summary": method.summary,
            }
            for method in program.methods
        ],
        "tables": [{"name": table.name, "mark": chr(table.tag)} for table in program.tables],
        "events": [event.name for event in program.events],
        "codes": [{"code": code.number, "name": code.name, "sentence": code.sentence} for code in program.codes],
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def join(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(contract, name="contract")
