"""Reading what may kill the reader: the child dies, and its parent says what is damaged."""

import os
import pickle
import signal
from pathlib import Path

import pytest

from ledger.errors import ClientError, OurError, PeerError
from node.cli.main import run_command
from node.storage.shield import shielded
from tests.unit.test_repair import bare_home

LEDGER = Path("data/ledger")


def test_F13_what_the_child_returns_or_raises_comes_back():
    assert shielded(LEDGER, lambda: {"height": 5}) == {"height": 5}
    assert shielded(LEDGER, lambda: None) is None
    for error in (ClientError("chain-invalid", "height 5: …"), PeerError("seal-forged", "…"), OSError(28, "full")):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)) as caught:
            shielded(LEDGER, fail)
        assert str(caught.value) == str(error)
        assert getattr(caught.value, "code", "") == getattr(error, "code", "")


def test_F13_an_error_goes_to_another_process_whole():
    for error in (ClientError("chain-invalid", "height 5: …"), OurError("store-damaged", "…")):
        found = pickle.loads(pickle.dumps(error))
        assert (type(found), found.code, found.message, str(found)) == (
            type(error),
            error.code,
            error.message,
            str(error),
        )


def test_F13_our_own_bug_shows_where_in_the_child_it_is():
    with pytest.raises(ZeroDivisionError) as caught:
        shielded(LEDGER, lambda: 1 // 0)
    assert "test_shield.py" in caught.value.__notes__[0]


def die_of(number: signal.Signals) -> None:
    """As of a damaged ledger."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV])
def test_F13_a_ledger_that_kills_its_reader_is_called_damaged(number):
    with pytest.raises(OurError, match=rf"store-damaged: {LEDGER}/data.mdb: .*signal {number:d}.*pilechain repair"):
        shielded(LEDGER, lambda: die_of(number))


def test_F13_a_ledger_that_kills_whoever_verifies_a_snapshot_is_called_damaged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("node.cli.snapshot._verify", lambda place, height: die_of(signal.SIGABRT))
    assert run_command(["snapshot", "verify", "5", "--home", str(bare_home(tmp_path).root)]) == 4
    assert capsys.readouterr().err.startswith("store-damaged: ")


def test_F13_a_reader_that_something_else_kills_does_not_make_the_ledger_damaged():
    with pytest.raises(OurError, match="child-died"):
        shielded(LEDGER, lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OurError, match="child-died"):
        shielded(LEDGER, lambda: os._exit(3))
