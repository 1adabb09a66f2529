"""The house rules that no linter knows: file length, docstrings, purity, integers, and every file in its room."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 400  # one idea per file; longer files hold two
LIBRARY = ROOT / "contracts" / "library"
CONTRACT_LINES_MAX = 1_000  # a contract is one file: whoever votes on it reads it from the top

PACKAGES = ("ledger", "consensus", "contracts", "devices", "node", "bench")
ROOMS = {*PACKAGES, ".ci", "console", "deploy", "docs", "experiments", "tests"}
DOORSTEP = {
    ".dockerignore",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "docker-compose.yml",
    "pyproject.toml",
    "requirements-dev.lock",
    "requirements.lock",
}
"""The files that may lie beside the rooms."""

PURITY = next(
    contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    if contract["type"] == "forbidden"
)
REPLICATED = ("ledger", "consensus", "contracts")
"""Rooms whose results all validators must reproduce bit by bit."""

IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "compile", "__import__", "breakpoint"}
PRINTED = ROOT / "contracts" / "vm" / "generator.py"
"""Runs what it has printed itself, from positions alone, and knows nodes by identity while it prints: the contracts'
fast engine.
"""
SEEDED_CALLS = {"hash", "id"}  # differ from process to process (PYTHONHASHSEED, addresses)

# In pieces, so that this file does not find itself.
ADDRESSES = re.compile(
    "|".join(
        re.escape(host)
        for host in (
            "py" + "pi.org",
            "python" + "hosted.org",
            "registry." + "npmjs.org",
            "registry." + "yarnpkg.com",
            "proxy." + "golang.org",
            "index." + "crates.io",
        )
    )
    + r"|(?<![\w.~}])/(?:root|work|Users|home/[a-z]\w*)"
    + r"/\w"
)


def python_files(*rooms: str) -> list[Path]:
    """Return the Python files of the rooms, without the tests of contracts, which are as outside authors write them."""
    found = (path for room in rooms for path in (ROOT / room).rglob("*.py"))
    return sorted(path for path in found if path.parent != LIBRARY / "tests")


def pure_files() -> list[Path]:
    """Return the files of the modules and packages that pyproject.toml calls pure."""
    found = []
    for module in PURITY["source_modules"]:
        path = ROOT / module.replace(".", "/")
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        assert files, f"{module}: no such module"
        found += files
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file, parsed once."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def place(path: Path, at: ast.AST | int) -> str:
    """Return file:line as editors understand it."""
    line = at if isinstance(at, int) else getattr(at, "lineno", 1)
    return f"{path.relative_to(ROOT)}:{line}"


def imports_of(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield each import of a file with its top-level name, those inside functions too."""
    for at in ast.walk(tree):
        if isinstance(at, ast.Import):
            for alias in at.names:
                yield at, alias.name.partition(".")[0]
        elif isinstance(at, ast.ImportFrom) and at.level == 0:
            yield at, (at.module or "").partition(".")[0]


def calls_of(tree: ast.Module, names: set[str]) -> Iterator[tuple[ast.Call, str]]:
    """Yield each call of a bare name out of `names`."""
    for at in ast.walk(tree):
        if isinstance(at, ast.Call) and isinstance(at.func, ast.Name) and at.func.id in names:
            yield at, at.func.id


def without_docstring(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield the module, the public classes and the public top-level functions that have no docstring."""
    if not ast.get_docstring(tree):
        yield tree, "module"
    for at in tree.body:
        if not isinstance(at, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not at.name.startswith("_") and not ast.get_docstring(at):
            yield at, at.name


def impurities(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield what pure code must not do: reach for clock, chance, disk, network, or a value of this process alone."""
    forbidden = {*PURITY["forbidden_modules"], "importlib"}
    yield from ((at, name) for at, name in imports_of(tree) if name in forbidden)
    yield from calls_of(tree, IMPURE_CALLS | SEEDED_CALLS)


def inexact(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    """Yield floating point: literals, true division, float()."""
    for at in ast.walk(tree):
        if isinstance(at, ast.Constant) and isinstance(at.value, float | complex):
            yield at, repr(at.value)
        elif isinstance(at, ast.BinOp | ast.AugAssign) and isinstance(at.op, ast.Div):
            yield at, "true division"
    yield from calls_of(tree, {"float", "complex"})


def files_of_the_repository() -> list[Path]:
    """Return the files that git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def test_files_are_short():
    long = {
        place(path, count)
        for path in python_files(*PACKAGES, "tests", "experiments")
        if (count := len(path.read_text(encoding="utf-8").splitlines()))
        > (CONTRACT_LINES_MAX if path.parent == LIBRARY else LINES_MAX)
    }
    assert long == set()


def test_public_names_say_what_they_are_for():
    bare = [
        f"{place(path, at)} {name}" for path in python_files(*PACKAGES) for at, name in without_docstring(tree_of(path))
    ]
    bare += [place(path, 1) for path in python_files("tests") if not ast.get_docstring(tree_of(path))]
    assert bare == []


def test_pure_code_is_pure():
    # lint-imports sees what a module imports by way of others; this sees calls that need no import.
    found = [(path, at, what) for path in pure_files() for at, what in impurities(tree_of(path))]
    assert [what for path, _, what in found if path == PRINTED] == ["exec", "compile", "id"]
    assert [f"{place(path, at)} {what}" for path, at, what in found if path != PRINTED] == []


def test_replicated_code_counts_in_integers():
    found = [f"{place(path, at)} {what}" for path in python_files(*REPLICATED) for at, what in inexact(tree_of(path))]
    assert found == []


def test_checks_survive_python_O():
    # `python -O` drops assert: what must hold has to raise.
    found = [
        place(path, at)
        for path in python_files(*PACKAGES)
        for at in ast.walk(tree_of(path))
        if isinstance(at, ast.Assert)
    ]
    assert found == []


def test_every_file_is_in_a_known_room():
    strays = []
    for path in files_of_the_repository():
        first, *rest = path.relative_to(ROOT).parts
        if first not in (ROOMS if rest else DOORSTEP):
            strays.append(str(path.relative_to(ROOT)))
    assert strays == []


def test_no_file_names_a_registry_or_this_machine():
    found = []
    for path in files_of_the_repository():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # pictures
        found += [
            f"{place(path, text.count(chr(10), 0, hit.start()) + 1)} {hit[0]}" for hit in ADDRESSES.finditer(text)
        ]
    assert found == []


IMPURE = {
    "import of the clock": "import time",
    "import inside a function": "def f():\n    from datetime import datetime\n    return datetime.now()",
    "submodule": "import os.path",
    "chance": "from random import random",
    "built-in file": "def f(name):\n    return open(name)",
    "output": "print(1)",
    "seeded hash": "key = hash('a')",
    "import by name": "__import__('time')",
}


@pytest.mark.parametrize("source", IMPURE.values(), ids=IMPURE)
def test_the_purity_check_sees(source):
    assert list(impurities(ast.parse(source)))


@pytest.mark.parametrize("source", ["a = 1 / 2", "a = 0.5", "a = float(1)", "a = 4\na /= 2"])
def test_the_integer_check_sees(source):
    assert list(inexact(ast.parse(source)))


def test_the_address_check_sees():
    assert ADDRESSES.search("from https://py" + "pi.org/simple")
    assert ADDRESSES.search("path = '/ro" + "ot/x'")
    assert not ADDRESSES.search("see ./network/ro" + "ot/x and network/wo" + "rk/y")
