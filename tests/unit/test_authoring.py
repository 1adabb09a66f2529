"""F20: tests of contracts by their authors: what the runner finds, runs, counts and says."""

import json
import re
import shutil
from pathlib import Path

import pytest

from contracts.compiler.errors import SourceError
from contracts.vm import interpreter
from ledger.errors import ClientError, OurError
from node.authoring import runner
from node.authoring.world import Unexpected, World
from node.cli.main import run_command
from node.library import NUMBERS, library
from tests.unit.test_contract_language import PAGE, tutorial

LIBRARY = Path(__file__).parents[2] / "contracts" / "library"


def tutorial_test() -> str:
    """The test that the tutorial shows."""
    return re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The tutorial's contract and its test, as an author has them."""
    (tmp_path / "feeder.py").write_text(tutorial(), encoding="utf-8")
    (tmp_path / "test_feeder.py").write_text(tutorial_test(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report_of(folder: Path, tests: str) -> runner.Report:
    """The tutorial's contract with other tests."""
    (folder / "test_feeder.py").write_text(f"NUMBER = 9\n{tests}", encoding="utf-8")
    (suite,) = runner.find(folder / "feeder.py")
    return runner.run(suite)


@pytest.mark.parametrize("name", NUMBERS)
def test_F20_the_library_s_own_tests_pass_and_run_nearly_all_of_it(name):
    (suite,) = runner.find(LIBRARY / f"{name}.py")
    report = runner.run(suite)
    assert report.failed == ()
    assert report.tests >= 6
    assert report.ran / report.nodes > 0.97, report.missed_lines


def test_F20_a_folder_s_contracts_are_all_tested():
    assert {suite.contract.stem for suite in runner.find(LIBRARY)} == {*NUMBERS}


def test_F20_the_tutorial_s_console_shows_what_its_test_comes_to(folder, capsys):
    page = PAGE.read_text(encoding="utf-8")
    assert run_command(["contract", "test", "feeder.py"]) == 0
    assert capsys.readouterr().out in page
    assert run_command(["contract", "gas", "feeder.py"]) == 0
    assert capsys.readouterr().out in page


def test_F20_a_failing_test_is_told_with_its_line_and_the_values(folder, capsys):
    report = report_of(
        folder,
        """
def test_values(chain):
    number = 3
    assert number == 4

def test_words(chain):
    assert chain is None, "in words"

def test_call(chain):
    chain.operator.call("announce", feeder="F", limit_w=1, until_ms=5)

def test_refusal(chain):
    chain.grid.refused("notice-past", "announce", feeder="F", limit_w=1, until_ms=2**60)

def test_typo(chain):
    chain.grid.call("anounce", feeder="F")

def test_field(chain):
    chain.grid.call("announce", feder="F")

def test_crash(chain):
    chain.nothing

def test_of_several_lines(chain):
    assert (
        chain is None
    )
""",
    )
    assert [(each.test, each.what) for each in report.failed[:4]] == [
        ("test_values", "assert number == 4; number = 3"),
        ("test_words", "in words"),
        (
            "test_call",
            "Operator: announce is refused, role-missing (9): "
            "the sender has none of the roles that may call the method",
        ),
        ("test_refusal", "Grid: announce came to done (done), not notice-past"),
    ]
    assert [each.where.rpartition(":")[2] for each in report.failed] == ["5", "8", "11", "14", "17", "20", "23", "27"]
    assert "feeder has no method anounce; it has announce, confirm" in report.failed[4].what
    assert "feder" in report.failed[5].what
    assert report.failed[6].what.startswith("AttributeError: ")
    assert run_command(["contract", "test", "feeder.py", "--output", "json"]) == 1
    assert len(json.loads(capsys.readouterr().out)[0]["failed"]) == 8


def test_F20_what_no_test_ran_is_told_by_line(folder):
    report = report_of(folder, "def test_nothing(chain):\n    pass\n")
    assert (report.ran, report.gas) == (0, ())
    text = (folder / "feeder.py").read_text().splitlines()
    missed = [text[line - 1].strip() for line in report.missed_lines]
    assert "NOTICES[feeder] = notice" in missed
    assert not [line for line in missed if line.startswith(("def ", "class ", "#", '"'))]


def test_F20_a_chain_in_memory_answers_as_a_node_does(folder):
    world = World(library(), NUMBERS["money"])
    assert world.driver.call("pay", to=world.owner.key, amount_fen=5, memo=0).gas_used > 0
    with pytest.raises(Unexpected, match="money has no table PURSES; it has "):
        world.record("PURSES")
    with pytest.raises(Unexpected, match=r"0 events money\.paid among"):
        world.driver.call("pay", to=world.owner.key, amount_fen=5, memo=0).event("money.paid")
    session = world.contract("session")
    session.call("hold", payer=world.driver.key, operator="Other", amount_fen=1, session=b"1" * 32, owner=b"")
    with pytest.raises(Unexpected, match="release was done, not refused with overspent"):
        session.refused("overspent", "release", session=b"1" * 32)
    with pytest.raises(Unexpected, match="release came to value-missing, not overspent"):
        session.refused("overspent", "release", session=b"1" * 32)
    with pytest.raises(Unexpected, match="money has no method releas"):
        session.call("releas", session=b"1" * 32)
    with pytest.raises(Unexpected, match="Missing required argument"):
        session.call("release")
    with pytest.raises(Unexpected, match="KeyError: 'VERIFYED'"):
        world.lab.call("registry.inspect", pile="Pile-1", meter_state="verifyed", registers_wh=())
    with pytest.raises(Unexpected, match=r"the key of money\.DUES has 2 parts, not 1"):
        world.record("DUES", "Grid")
    with pytest.raises(Unexpected, match="there is no field meter"):
        world.operator.call("registry.register", pile={"meter": 1}, registers_wh=(), proof=b"")
    world.gas_limit = 6_000
    with pytest.raises(Unexpected, match="out-of-gas"):
        world.driver.call("pay", to=world.owner.key, amount_fen=5, memo=0)
    assert world.record("registry.PILES", "Pile-1").meter_state.name == "VERIFIED"


def test_F20_a_contract_that_needs_another_is_tested_with_it(folder):
    shutil.copy(LIBRARY / "money.py", folder / "copy.py")
    report = report_of(
        folder,
        'WITH = {8: "copy.py"}\n\ndef test_it_is_there(chain):\n    assert chain.abi.contract("8").name == "money"\n',
    )
    assert report.failed == ()


def test_F20_two_engines_that_differ_are_our_own_bug(folder, monkeypatch):
    honest = interpreter.compared
    monkeypatch.setattr(interpreter, "compared", lambda *values: not honest(*values))
    call = "chain.grid.call('announce', feeder='F', limit_w=1, until_ms=2**60)"
    with pytest.raises(OurError, match="engines-differ"):
        report_of(folder, f"def test_it(chain):\n    {call}\n")


def test_F20_what_looks_like_a_test_and_tests_nothing_fails(folder, capsys):
    report = report_of(
        folder,
        """
import sys

def test_exit(chain):
    sys.exit(0)

def test_generator(chain):
    yield

async def test_async(chain):
    pass

def test_last(chain):
    assert False, "is run all the same"
""",
    )
    assert [each.test for each in report.failed] == ["test_exit", "test_generator", "test_async", "test_last"]
    assert run_command(["contract", "gas", "feeder.py"]) == 1
    assert "some tests fail" in capsys.readouterr().err


def test_F20_a_new_version_of_the_tested_contract_may_be_voted_in(folder):
    (folder / "newer.py").write_text(
        tutorial().replace("block.time_ms, Code", "block.time_ms + 9, Code"), encoding="utf-8"
    )
    report = report_of(
        folder,
        """
from contracts.compiler.compiler import compile_source
from ledger.codec import encode

def test_upgrade(chain):
    text = open("newer.py").read()
    fields = {"number": 9, "code": encode(compile_source(text)), "source": text, "from_height": 0}
    proposed = chain.operator.call("governance.propose_contract", **fields)
    for company in (chain.grid, chain.lab, chain.regulator):
        company.call("governance.approve", proposal=proposed.id)
    chain.grid.refused("notice-past", "announce", feeder="F", limit_w=1, until_ms=chain.now_ms + 1_005)
    chain.grid.call("announce", feeder="F", limit_w=1, until_ms=chain.now_ms + 2_000)
""",
    )
    assert report.failed == ()


def test_F20_a_scheduled_call_that_fails_is_not_passed_over(folder):
    before, after = tutorial().split("    del NOTICES[feeder]\n")
    failing = before + "    fail(Code.TOO_MANY_OPERATORS)\n\n\n" + after[after.index("def call_id_of") :]
    (folder / "feeder.py").write_text(failing, encoding="utf-8")
    report = report_of(
        folder,
        """
def test_in_a_block_of_a_call(chain):
    chain.grid.call("announce", feeder="F", limit_w=1, until_ms=chain.now_ms + 1_500)
    chain.operator.refused("notice-unknown", "confirm", feeder="G")
""",
    )
    assert "the schedule is refused, too-many-operators" in report.failed[0].what


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"test_x.py": "NUMBER = '9'"}, ClientError, "test_x.py: NUMBER = 9 and WITH"),
        ({"test_x.py": "NUMBER = 2**70"}, ClientError, "test_x.py: NUMBER = 9 and WITH"),
        ({"test_x.py": "NUMBER = True"}, ClientError, "test_x.py: NUMBER = 9 and WITH"),
        ({"test_x.py": "WITH = ['y.py']"}, ClientError, "test_x.py: NUMBER = 9 and WITH"),
        ({"test_x.py": "NUMBER = 8\nWITH = {8: 'y.py'}"}, ClientError, "each number once"),
        ({"test_x.py": "WITH = {8: 'y.py'}"}, ClientError, "y.py: .*No such file"),
        ({"test_x.py": "import sys; sys.exit(0)"}, ClientError, "SystemExit"),
        ({"test_x.py": "NUMBER = 2\ndef test_it(chain): pass"}, ClientError, "contract 2 has not the tables"),
        ({}, ClientError, "no contract with tests"),
        ({"test_x.py": "import nothing_like_it"}, ClientError, r"test_x.py:1: ModuleNotFoundError"),
        ({"test_x.py": "def test(:"}, ClientError, "SyntaxError"),
        ({"test_x.py": "", "x.py": "CONTRACT = Contract()"}, SourceError, "x.py:1:12"),
    ],
)
def test_F20_what_cannot_be_tested_is_told(tmp_path, files, error, message):
    (tmp_path / "x.py").write_text(tutorial(), encoding="utf-8")
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=message):
        [runner.run(suite) for suite in runner.find(tmp_path / "x.py")]


def test_F20_no_tests_are_no_success(folder):
    (folder / "test_feeder.py").write_text("", encoding="utf-8")
    assert run_command(["contract", "test", "feeder.py"]) == 1
