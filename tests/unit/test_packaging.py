"""The package as installed: one owner per import name, types shipped, every dependency pinned with its hashes."""

import re
import tomllib
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest

import node

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("ledger", "consensus", "contracts", "devices", "node", "bench")
LOCKS = ("requirements.lock", "requirements-dev.lock")


def lock_entries(name: str) -> dict[str, str]:
    """Return the entries of a lock file: requirement line -> all that belongs to it."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    entries = text.replace("\\\n", " ").splitlines()
    return {entry.split()[0]: entry for entry in entries if entry.strip()}


def normalized(requirement: str) -> str:
    """Return the project name of a requirement as the packaging standard compares names (PEP 503)."""
    matched = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert matched, requirement
    return re.sub(r"[-_.]+", "-", matched[0]).lower()


@pytest.mark.parametrize("package", PACKAGES)
def test_each_import_name_has_one_owner(package):
    # The names are general: another distribution that brings a `node` would shadow ours without a word.
    assert set(packages_distributions()[package]) == {"pilechain"}


@pytest.mark.parametrize("package", PACKAGES)
def test_types_are_shipped(package):
    assert (ROOT / package / "py.typed").is_file()


def test_packages_are_listed_one_by_one_and_the_same_everywhere():
    listed = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert listed == [name for package in PACKAGES for name in (package, f"{package}.*")]
    assert PYPROJECT["tool"]["importlinter"]["root_packages"] == list(PACKAGES)
    assert {path.parent.name for path in ROOT.glob("[!.]*/__init__.py")} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_code_is_a_package(package):
    # Without __init__.py a folder works from the repository and is missing from the wheel.
    folders = {path.parent for path in (ROOT / package).rglob("*.py")}
    folders.discard(ROOT / "contracts" / "library" / "tests")  # read by `pilechain contract test`, in the repository
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_a_public_index_refuses_the_wheel():
    assert "Private :: Do Not Upload" in PYPROJECT["project"]["classifiers"]


def test_version_is_the_same_for_pip_and_for_the_command():
    assert version("pilechain") == node.__version__


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_pins_every_entry_with_hashes_and_names_no_address(lock):
    entries = lock_entries(lock)
    assert entries
    loose = [name for name, entry in entries.items() if "==" not in name or "--hash=sha256:" not in entry]
    assert loose == []
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", (ROOT / lock).read_text(encoding="utf-8"))


def test_locks_hold_the_declared_dependencies_at_the_same_versions():
    runtime, dev = (lock_entries(lock) for lock in LOCKS)
    assert set(runtime) <= set(dev)
    names = {normalized(name) for name in runtime}
    declared = [line for line in requires("pilechain") or [] if "extra ==" not in line]
    assert {normalized(line) for line in declared} <= names
    # A validator's machine gets no test tools, and no SM2 in pure Python (docs/adr/0003).
    assert names.isdisjoint({"gmssl", "hypothesis", "msgpack", "mypy", "pytest", "ruff"})
