"""The contracts of this release, compiled from their texts: what a new chain begins with."""

from functools import cache
from importlib import resources

from contracts.abi import Abi, described
from contracts.codes import Code
from contracts.compiler.compiler import compile_source
from contracts.genesis import ContractSetup
from contracts.numbers import GOVERNANCE, IDENTITY, MONEY, REGISTRY, SESSION, TARIFF
from contracts.vm.program import Program
from ledger.codec import encode

NUMBERS = {
    "identity": IDENTITY,
    "money": MONEY,
    "registry": REGISTRY,
    "tariff": TARIFF,
    "session": SESSION,
    "governance": GOVERNANCE,
}


@cache
def text_of(name: str) -> str:
    """Text of a contract."""
    return resources.files("contracts.library").joinpath(f"{name}.py").read_text(encoding="utf-8")


@cache
def program_of(name: str) -> Program:
    """Its program: some twenty milliseconds."""
    return compile_source(text_of(name), f"{name}.py")


@cache
def library() -> tuple[ContractSetup, ...]:
    """All of them, for a genesis document."""
    return tuple(ContractSetup(number, encode(program_of(name)), text_of(name)) for name, number in NUMBERS.items())


def codes_page() -> str:
    """The text of `docs/codes.md`."""
    rows = [(int(code), code.label, code.sentence) for code in Code]
    rows += [(number, *told) for contract in library_abi().contracts for number, told in sorted(contract.codes.items())]
    head = (
        "# Codes of receipts",
        "",
        "Printed by `node.library.codes_page()` from `contracts/codes.py` and the texts in `contracts/library`; a test",
        "says when this page is stale. 1…99: executor and host. Others: 1,000 times the contract's number and its own.",
        "Whatever the code, nothing changed; the gas is charged.",
        "",
        "| code | name | meaning |",
        "|---|---|---|",
    )
    return "\n".join((*head, *(f"| {number} | `{label}` | {sentence} |" for number, label, sentence in rows), ""))


@cache
def library_abi() -> Abi:
    """How to talk to them, for whoever has no chain at hand."""
    return Abi(described(number, program_of(name)) for name, number in NUMBERS.items())
