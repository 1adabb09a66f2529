"""Runs the tests of contracts: `pilechain contract test`.

The tests of `name.py` are the functions `test_…` of `test_name.py` beside it, or in the folder `tests` beside it.
Each is handed a fresh `node.authoring.world.World`, and needs nothing else. The file may say `NUMBER = 9`, the
contract's number on the chain, and `WITH = {8: "other.py"}`, contracts that it needs beside the library's.
"""

import ast
import inspect
import linecache
import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from contracts.compiler.compiler import Mapped, compile_mapped, compile_source
from contracts.deployment import NUMBER_MAX
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
    texts = (
        [path]
        if path.is_file()
        else sorted(each for each in path.glob("*.py") if each.is_file() and _is_contract(each))
    )
    found = []
    for text in texts:
        places = (text.with_name(f"test_{text.name}"), text.parent / "tests" / f"test_{text.name}")
        found += [Suite(text, each) for each in places if each.is_file()][:1]
    if not found:
        hint = "the tests of name.py are in test_name.py beside it, or in the folder tests"
        raise ClientError("contract-file", f"{path}: no contract with tests; {hint}")
    return found


def _is_contract(path: Path) -> bool:
    return not path.name.startswith(("test_", "_")) and "Contract(" in _text(path)


def run(suite: Suite) -> Report:
    """Run a suite. Raises SourceError for a text that does not compile, ClientError `contract-tests` for tests that
    cannot be loaded, `contract-file`, `consortium-invalid` for a contract that no genesis could carry.
    """
    text = _text(suite.contract)
    mapped = compile_mapped(text, suite.contract.name)
    module = _loaded(suite.tests)
    number, others = _settings(suite, module, NUMBERS.get(mapped.program.name, NUMBER))
    tested = ContractSetup(number, encode(mapped.program), text)
    contracts = {each.number: each for each in (*library(), *others, tested)}
    coverage, noting = _noting(mapped, tested)
    tests = [(name, value) for name, value in module.items() if name.startswith("test_") and inspect.isfunction(value)]
    failed = []
    for name, test in tests:
        world = World([contracts[each] for each in sorted(contracts)], number, noting)
        found = _try(suite.tests, name, test, world)
        failed += [found] if found else []
    return Report(
        contract=str(suite.contract),
        tests=len(tests),
        failed=tuple(failed),
        nodes=coverage.count,
        ran=coverage.count - len(coverage.missed),
        missed_lines=tuple(sorted(set(coverage.missed))),
        gas=tuple(
            Gas(method, len(used), min(used), sum(used) // len(used), max(used))
            for method, used in sorted(noting.used.items())
        ),
    )


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError("contract-file", f"{file}: {error}") from error


def _loaded(tests: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(tests))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also one that means to end the process
        raise ClientError("contract-tests", f"{_place(tests, error)}: {type(error).__name__}: {error}") from error


def _settings(suite: Suite, module: dict[str, Any], usual: int) -> tuple[int, list[ContractSetup]]:
    """The contract's number, and those of others that its tests need."""
    number, others = module.get("NUMBER", usual), module.get("WITH", {})
    numbers = [number, *others] if isinstance(others, dict) else [None]
    sound = all(type(each) is int and 1 <= each <= NUMBER_MAX for each in numbers) and number not in numbers[1:]
    if not sound or not all(isinstance(file, str) for file in others.values()):
        hint = f'NUMBER = 9 and WITH = {{8: "other.py"}}, each number once, from 1 to {NUMBER_MAX:,}'
        raise ClientError("contract-tests", f"{suite.tests}: {hint}")
    made = []
    for each, file in others.items():
        text = _text(suite.contract.parent / file)
        made.append(ContractSetup(each, encode(compile_source(text, file)), text))
    return number, made


def _noting(mapped: Mapped, tested: ContractSetup) -> tuple[Coverage, Noting]:
    # The very program that was mapped, not one that was decoded: nodes are told apart by identity.
    name = code_hash(tested.code)
    linked = Linked(Verified(name, mapped.program), tested.number)
    coverage = Coverage(mapped)
    return coverage, Noting(methods_of(linked, coverage.functions(linked)), tested.number, name)


def _try(tests: Path, name: str, test: Callable[..., None], world: World) -> Failed | None:
    if inspect.isgeneratorfunction(test) or inspect.iscoroutinefunction(test):
        return Failed(name, f"{tests}:{test.__code__.co_firstlineno}", "a test is a plain function: no yield, no async")
    try:
        test(world)
    except (OurError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001  # whatever a test raises is what it found
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
