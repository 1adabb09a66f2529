"""Runs the tests of contracts: `pilechain contract test`.

The tests of `name.py` are the functions `test_…` of `test_name.py` beside it, or in the folder `tests` beside it.
Each is handed a fresh `node.authoring.world.World`, and needs nothing else. The file may say `NUMBER = 9`, the
contract's number on the chain, and `WITH = {8: "other.py"}`, contracts that it needs beside the library's.
"""

import ast
import inspect
import linecache
import runpy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from contracts.compiler.compiler import Mapped, compile_mapped, compile_source
from contracts.genesis import ContractSetup
from contracts.vm.entry import methods_of
from contracts.vm.link import Linked
from contracts.vm.program import code_hash
from contracts.vm.verifier import Verified
from ledger.codec import encode
from ledger.errors import ClientError, OurError
from node.authoring.coverage import Coverage
from node.authoring.world import Noting, World
from node.library import NUMBERS, library

NUMBER = 100
"""Of a contract whose tests name none."""


class Suite(Struct, frozen=True):
    """A contract's text and its tests."""

    contract: Path
    tests: Path


class Failed(Struct, frozen=True):
    """A test that found something."""

    test: str
    where: str
    """File and line."""
    what: str


class Gas(Struct, frozen=True):
    """What the done calls of a method took."""

    method: str
    calls: int
    least: int
    mean: int
    most: int


class Report(Struct, frozen=True):
    """What became of a suite."""

    contract: str
    tests: int
    failed: tuple[Failed, ...]
    nodes: int
    ran: int
    missed_lines: tuple[int, ...]
    """Lines of the text with parts that no test ran."""
    gas: tuple[Gas, ...]


def find(path: Path) -> list[Suite]:
    """The suites of a contract, or of a folder's contracts. Raises ClientError `contract-file` if there are none."""
    texts = [path] if path.is_file() else sorted(each for each in path.glob("*.py") if _is_contract(each))
    found = []
    for text in texts:
        places = (text.with_name(f"test_{text.name}"), text.parent / "tests" / f"test_{text.name}")
        found += [Suite(text, each) for each in places if each.is_file()][:1]
    if not found:
        hint = "the tests of name.py are in test_name.py beside it, or in the folder tests"
        raise ClientError("contract-file", f"{path}: no contract with tests; {hint}")
    return found


def _is_contract(path: Path) -> bool:
    return not path.name.startswith(("test_", "_")) and "Contract(" in path.read_text(encoding="utf-8")


def run(suite: Suite) -> Report:
    """Run a suite. Raises SourceError for a text that does not compile, ClientError `contract-tests` for tests that
    cannot be loaded.
    """
    text = suite.contract.read_text(encoding="utf-8")
    mapped = compile_mapped(text, suite.contract.name)
    module = _loaded(suite.tests)
    number = module.get("NUMBER", NUMBERS.get(mapped.program.name, NUMBER))
    contracts = _contracts(suite, module.get("WITH", {}), ContractSetup(number, encode(mapped.program), text))
    coverage, noting = _noting(mapped, number)
    tests = [(name, value) for name, value in module.items() if name.startswith("test_") and inspect.isfunction(value)]
    failed = []
    for name, test in tests:
        world = World(contracts, mapped.program.name, noting)
        found = _try(suite.tests, name, test, world)
        failed += [found] if found else []
    return Report(
        contract=str(suite.contract),
        tests=len(tests),
        failed=tuple(failed),
        nodes=len(coverage.nodes),
        ran=len(coverage.nodes) - len(coverage.missed),
        missed_lines=tuple(coverage.missed_lines),
        gas=tuple(
            Gas(method, len(used), min(used), sum(used) // len(used), max(used))
            for method, used in sorted(noting.used.items())
        ),
    )


def _loaded(tests: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(tests))
    except Exception as error:
        raise ClientError("contract-tests", f"{_place(tests, error)}: {type(error).__name__}: {error}") from error


def _contracts(suite: Suite, others: dict[int, str], tested: ContractSetup) -> Sequence[ContractSetup]:
    """The library, the contracts that the tests name, and the tested one at its number."""
    chosen = {each.number: each for each in library()}
    for number, file in others.items():
        text = (suite.contract.parent / file).read_text(encoding="utf-8")
        chosen[number] = ContractSetup(number, encode(compile_source(text, file)), text)
    chosen[tested.number] = tested
    return tuple(chosen[number] for number in sorted(chosen))


def _noting(mapped: Mapped, number: int) -> tuple[Coverage, Noting]:
    # The very program that was mapped, not one that was decoded: nodes are told apart by identity.
    linked = Linked(Verified(code_hash(encode(mapped.program)), mapped.program), number)
    coverage = Coverage(mapped)
    return coverage, Noting(methods_of(linked, coverage.functions(linked)), number)


def _try(tests: Path, name: str, test: Callable[..., None], world: World) -> Failed | None:
    try:
        test(world)
    except OurError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a test raises is what it found
        return Failed(name, _place(tests, error), _told(tests, error))
    return None


def _place(tests: Path, error: BaseException) -> str:
    return f"{tests}:{_line(tests, error)[0]}"


def _line(tests: Path, error: BaseException) -> tuple[int, dict[str, Any]]:
    """Where in the tests an error came up, and the names there."""
    trace = error.__traceback__
    found: tuple[int, dict[str, Any]] = 0, {}
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(tests):
            found = trace.tb_lineno, {**trace.tb_frame.f_locals}
        trace = trace.tb_next
    return found


def _told(tests: Path, error: BaseException) -> str:
    """What is wrong; of an assertion without words its text, and the values of the names in it."""
    if str(error) or not isinstance(error, AssertionError):
        return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
    number, names = _line(tests, error)
    text = linecache.getline(str(tests), number).strip()
    values = [f"{name} = {names[name]!r}" for name in _names(text) if name in names and name != "chain"]
    return "; ".join([text, *values])


def _names(text: str) -> Iterable[str]:
    try:
        return dict.fromkeys(node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
    except SyntaxError:  # the first line of several
        return ()
