"""A node of the simulator whose write-ahead log, vote mark and ledger store are the real ones, on a disk whose power
can be cut.
"""

from pathlib import Path
from random import Random
from typing import Any

from msgspec.structs import replace

from consensus.head import Head
from ledger.block import Header
from ledger.codec import decode
from ledger.transaction import decode_transaction
from node.core.vote_mark import VoteMark
from node.effects import Stored, StoreSealed
from node.storage import files, wal
from node.storage.layout import DATA_FILE
from node.storage.store import BlockWork, Store
from node.storage.wal import WriteAheadLog, newest_segment
from tests.sim.checker import InvariantError
from tests.sim.disk import StoredBlock
from tests.sim.node import SimNode
from tests.sim.world import World
from tests.storage.power import PowerCutError, PowerDisk, lmdb_images

MAP_BYTES = 1 << 27
SEGMENT_BYTES = 8 * 1024
"""Small, so that segments are opened and dropped all the time."""


def write_on(disk: Any) -> None:
    """Have the code that makes bytes durable use this in the place of `os`."""
    for module in (files, wal):
        vars(module)["os"] = disk


class DiskLog:
    """The real log behind the simulator's interface."""

    def __init__(self, disk: PowerDisk, public_key: bytes) -> None:
        folder = disk.root / "data" / "wal"
        mark = VoteMark(disk.root / "config" / "vote_key.json", public_key)
        if not mark.allows(newest_segment(folder)):
            raise InvariantError("a power cut took the vote away from an honest disk")
        self._wal = WriteAheadLog(folder, mark.raise_to, SEGMENT_BYTES)

    def append(self, batch: list[tuple[int, bytes]]) -> None:
        """Write durably."""
        self._wal.append(batch)

    def truncate(self, height: int) -> None:
        """Drop what the store holds."""
        self._wal.truncate(height)

    def read(self) -> list[bytes]:
        """The records, as found at the start."""
        return self._wal.recovered


class DiskStore:
    """The real store behind the simulator's interface."""

    def __init__(self, disk: PowerDisk, node: SimNode) -> None:
        folder = disk.root / "data" / "ledger"
        self._store = Store(folder, node._genesis, node._application.first_state, MAP_BYTES)
        self._disk = disk
        self._file = folder / DATA_FILE
        self.state: dict[bytes, bytes] = {}
        with self._store.snapshot() as snapshot:
            self.height = snapshot.height
            self.head: Head = snapshot.head
            self.state = dict(snapshot.scan(b""))

    @property
    def blocks(self) -> list[StoredBlock]:
        """All blocks; without the states after them, but for the last."""
        found = []
        with self._store.snapshot() as snapshot:
            for height in range(1, snapshot.height + 1):
                sealed = snapshot.sealed(height)
                assert sealed
                transactions = tuple(decode_transaction(raw) for raw in snapshot.transactions(height))
                time_ms = decode(Header, sealed.header).time_ms
                found.append(StoredBlock(sealed, transactions, time_ms, self.state))
        return found

    def recent(self, span_ms: int) -> list[tuple[int, list[bytes]]]:
        """Ids of the blocks of the last `span_ms`, oldest first."""
        oldest_ms = self.head.tip.time_ms - span_ms
        return [(b.time_ms, [tx.id for tx in b.transactions]) for b in self.blocks if b.time_ms >= oldest_ms]

    def put(self, sealed: StoreSealed, state: dict[bytes, bytes], random: Random) -> None:
        """Store a block in one transaction. The power may be cut in each of its I/Os."""
        changed = tuple(sorted((key, state[key]) for key in state if self.state.get(key) != state[key]))
        before = self._file.read_bytes()
        self._store.write([replace(sealed, outcome=replace(sealed.outcome, work=BlockWork(changed, {}, ())))])
        after = self._file.read_bytes()
        for name, image in lmdb_images(before, after, random):
            self._disk.ledger = image
            self._disk.crash(name, None)
        self._disk.ledger = None
        self.height, self.head, self.state = sealed.head.tip.height, sealed.head, state


class DiskNode(SimNode):
    """The node under test."""

    def __init__(self, world: World, name: str, disk: PowerDisk) -> None:
        """Take the place of a simulated node that has not begun."""
        vars(self).update(vars(world.nodes[name]))
        world.nodes[name] = self
        self.disk = disk
        self.must_hold = 0
        """Height that its store said to hold: it must be there after every power cut."""

    def start(self) -> None:
        """Begin, or begin again, from what the disk holds."""
        write_on(self.disk)
        self.store = DiskStore(self.disk, self)  # type: ignore[assignment]  # as far as it is used here
        self.log = DiskLog(self.disk, self._signers[0].public_key)  # type: ignore[assignment]  # likewise
        if self.store.height < self.must_hold:
            raise InvariantError(f"I2: the store holds {self.store.height} blocks, and said that it held more")
        super().start()

    def perform(self, effects: list) -> None:
        """As any other, until the power is cut."""
        try:
            super().perform(effects)
        except PowerCutError:
            self.crash()
            raise

    def _put(self, effect: StoreSealed) -> None:
        state = effect.outcome.work
        assert isinstance(state, dict)
        height = effect.block.header.height
        self.store.put(effect, state, self._random)  # type: ignore[call-arg, arg-type]  # it is a DiskStore
        self._checker.stored(self.name, height, effect.block.hash)
        self.must_hold = height
        self.handle(Stored(height))


def after_power_cut(disk: PowerDisk, how: str, random: Random, root: Path) -> None:
    """Put what a power cut leaves into a new folder."""
    root.mkdir()
    for folder in ("config", "data"):
        (root / folder).mkdir()
    for name, data in disk.survivors(how, random).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o600)
