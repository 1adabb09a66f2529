"""When a node believes that its peers have pruned what it needs: on the word of f + 1 validators that it asked."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ledger.errors import ClientError
from node.core.process import Core, RejoinError
from tests.unit.test_store import GENESIS

SEALED = 50_000
NAMES = [member.name for member in GENESIS.validators.validators]


class World:
    """A core of four members that asks for blocks, as far as it is needed here."""

    def __init__(self, folder: Path, join: str = "snapshot") -> None:
        self.failed: list[Any] = []
        self.rejoin = folder / "rejoin"
        self.sealed = SEALED
        core: Any = object.__new__(Core)
        # Who votes on the next block the engine knows: the executor's timeline may be past it already.
        core._engine = SimpleNamespace(
            status=lambda: self, asks=lambda peer: peer == self.asked, voters=GENESIS.validators
        )
        core._pruned = {}
        core._config = SimpleNamespace(store=SimpleNamespace(join=join))
        core._home = self
        core.fail = self.failed.append
        self.core = core

    def hear(self, peer: str, height: int, *, asked: bool = True) -> None:
        """A peer says that its history begins at a height."""
        self.asked = peer if asked else "nobody"
        self.core._history_begins(peer, height)


def test_F13_observers_stop_no_node(tmp_path):
    """Two of them could else stop every member of the consortium."""
    world = World(tmp_path)
    for number in range(9):
        world.hear(f"Observer {number}", 2**62)
    world.hear(NAMES[0], 2**62)
    assert world.failed == []
    assert not world.rejoin.exists()


def test_F13_what_nobody_asked_for_stops_no_node(tmp_path):
    world = World(tmp_path)
    for name in NAMES:
        world.hear(name, 2**62, asked=False)
    assert world.failed == []


def test_F13_as_many_validators_as_may_lie_stop_no_node_and_one_more_does(tmp_path):
    world = World(tmp_path)
    voters = NAMES[: GENESIS.validators.weak_quorum]
    for name in voters[:-1]:
        world.hear(name, SEALED + 2)
        world.hear(name, SEALED + 2)
    world.hear(voters[-1], SEALED + 1)
    assert world.failed == [], "it has the next block"
    world.hear(voters[-1], SEALED + 2)
    assert isinstance(world.failed[0], RejoinError)
    assert world.rejoin.exists()


def test_F13_what_was_pruned_is_forgotten_when_the_node_is_past_it(tmp_path):
    world = World(tmp_path)
    world.hear(NAMES[0], SEALED + 2)
    world.sealed = SEALED + 1
    for name in NAMES[1 : GENESIS.validators.weak_quorum]:
        world.hear(name, SEALED + 9)
    assert world.failed == []


def test_F13_an_archive_is_not_given_up_unasked(tmp_path):
    world = World(tmp_path, join="replay")
    for name in NAMES[: GENESIS.validators.weak_quorum]:
        world.hear(name, SEALED + 9)
    [error] = world.failed
    assert isinstance(error, ClientError)
    assert error.code == "history-pruned"
    assert not world.rejoin.exists()
