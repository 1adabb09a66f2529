"""The power is cut before, in and after every write of a node that agrees on 200 blocks with three others.

The node's log, vote mark and store are the real ones; the world around it is the simulator's. At each point the process
forks: the child loses its power there, starts again from what a disk may hold then, and must come up, keep what it
said to hold, contradict no vote that it sent (the simulator's checker sees all), vote again, and go on.
"""

import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from ledger.terms import K
from tests.sim.checker import InvariantError
from tests.sim.world import Plan, World
from tests.storage.disk_node import DiskNode, after_power_cut
from tests.storage.power import HOW, PowerCutError, PowerDisk

NAME = "Bohui"


class Run:
    """A run of some blocks, and the power cuts in it."""

    def __init__(self, folder: Path, blocks: int, every: int) -> None:
        self.folder = folder
        self.blocks = blocks
        self.every = every
        self.points = self.cuts = self.cuts_at_start = 0
        self.names: set[str] = set()
        """What the power was cut in."""
        self._last: object = None
        self._how = ""
        self._is_child = False
        self.world = World(13, Plan(nodes=4))
        self.world.load(300)
        (folder / "home" / "config").mkdir(parents=True)
        self.node = DiskNode(self.world, NAME, PowerDisk(folder / "home", self._point))

    def run(self) -> None:
        """To the last block, with a child for each power cut. Raises AssertionError for the first that does not get
        over it.
        """
        self._until_cut(self.node.start)
        while self.node.store.height < self.blocks:
            self._until_cut(lambda: self.world.run(50))

    def _until_cut(self, go_on: Callable[[], None]) -> None:
        try:
            go_on()
        except PowerCutError:
            assert self._is_child
            self._end(self._get_over_it)

    def _point(self, name: str, tear: Callable[[], None] | None) -> None:
        self.points += 1
        self.names.add(f"{name.split()[0]} {name.split()[1]}")
        for how in HOW:
            if not tear:
                left = self.node.disk.survivors(how, Random(self.points))
                now = left, self.world.scheduler.steps, len(self.world.checker._said)
                if now == self._last:
                    continue  # the same disk, and nothing was said since
                self._last = now
            self.cuts += 1
            if self.cuts % self.every == 0:
                self._fork(name, tear, how)

    def _fork(self, name: str, tear: Callable[[], None] | None, how: str) -> None:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            self._is_child, self._how, self._report = True, how, writing
            if tear:
                tear()
            raise PowerCutError
        os.close(writing)
        with os.fdopen(reading) as pipe:
            said = pipe.read()
        _, status = os.waitpid(child, 0)
        assert status == 0, f"power cut {self.cuts} ({name}, unsynced {how}): {said}"
        self.cuts_at_start += int(said or 0)

    def _end(self, work: Callable[[], int]) -> None:
        """A child ends here, whatever happens: it must not go on with its parent's tests."""
        status = 1
        try:
            os.write(self._report, str(work()).encode())
            status = 0
        except BaseException:  # noqa: BLE001 - told to the parent
            os.write(self._report, traceback.format_exc().encode())
        finally:
            os._exit(status)

    def _get_over_it(self) -> int:
        """Start again, and be a full member; returns how many power cuts in the start were tried as well."""
        random, node, world = Random(self.cuts), self.node, self.world
        node.crash()
        self._parents_store = node.store  # LMDB's handles of the parent: not to be closed here
        root = self.folder / f"cut-{os.getpid()}"
        at_start = Start(root, self.cuts % 40 == 0)
        try:
            after_power_cut(node.disk, self._how, random, root)
            world.run(random.randrange(2_000))
            world.load(300)  # the cut may have broken the other off
            held, said = node.must_hold, len(world.checker._said)
            at_start.start(node)
            world.run(random.randrange(500))
            at_start.again(node)
            target = max(held + 2 * K, self.blocks if self.cuts % 20 == 0 else 0)
            if not world.run_until(lambda: node.store.height >= target, 240_000):
                raise InvariantError(f"it does not go on: {world.describe()}")
            assert world.status(NAME).voting
            assert any(who == NAME and height > held for who, height, *_ in list(world.checker._said)[said:])
            chain = [block.sealed.header for block in world.nodes["Anneng"].store.blocks]
            mine = [block.sealed.header for block in node.store.blocks]
            both = min(len(chain), len(mine))
            assert mine[:both] == chain[:both]
        finally:
            shutil.rmtree(at_start.root)
        return at_start.cuts


class Start:
    """A start from what a power cut left, perhaps with a power cut in each of its own writes, one after the other."""

    def __init__(self, root: Path, with_cuts: bool) -> None:
        self.root = root
        self.cuts = 0
        self._with_cuts = with_cuts

    def start(self, node: DiskNode) -> None:
        """Have it come up at last."""
        while self._with_cuts and self._cut_at(node, self.cuts):
            self.cuts += 1
        node.disk = PowerDisk(self.root, lambda name, tear: None)
        node.start()

    def again(self, node: DiskNode) -> None:
        """One more cut and start: what the first start left must be sound as well."""
        node.crash()
        disk, old, self.root = node.disk, self.root, self.root.with_name(f"{self.root.name}-again")
        after_power_cut(disk, "chance", Random(node.must_hold), self.root)
        shutil.rmtree(old)
        node.disk = PowerDisk(self.root, lambda name, tear: None)
        node.start()

    def _cut_at(self, node: DiskNode, number: int) -> bool:
        """Start, and cut the power at the point of this number; whether there was one."""
        points = 0

        def crash(name: str, tear: Callable[[], None] | None) -> None:
            nonlocal points
            points += 1
            if points > number:
                if tear:
                    tear()
                raise PowerCutError

        disk = node.disk = PowerDisk(self.root, crash)
        was_cut = False
        try:
            node.start()
        except PowerCutError:
            was_cut = True
        node.crash()
        old, self.root = self.root, self.root.with_name(f"{self.root.name}-{number}")
        after_power_cut(disk, HOW[number % len(HOW)], Random(number), self.root)
        shutil.rmtree(old)
        return was_cut


KINDS = ("create", "meta", "mkdir", "pages", "rename", "sync", "unlink", "write")
"""Of I/Os: `meta` and `pages` are LMDB's own writes."""


def test_F13_the_power_is_cut_in_some_writes_of_30_blocks(folder):
    run = Run(folder, 30, every=47)
    run.run()
    assert all(f"after {kind}" in run.names for kind in KINDS)


@pytest.mark.long
def test_F13_the_power_is_cut_before_in_and_after_every_write_of_200_blocks(folder):
    run = Run(folder, 200, every=1)
    run.run()
    assert all(f"after {kind}" in run.names for kind in KINDS)
    assert run.cuts > 10_000
    assert run.cuts_at_start > 1_000
