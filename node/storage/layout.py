"""What is where in the ledger store: its databases and their keys."""

from pathlib import Path
from typing import Any

import lmdb

from ledger.codec import decode
from ledger.errors import ClientError, OurError, PeerError
from ledger.units import U32

STORE_FORMAT = 4
"""Layout of the databases below; a store of another format is refused, never guessed at."""
DATA_FILE = "data.mdb"
"""What LMDB calls its file."""


class Databases:
    """Handles of the named databases in an open environment."""

    def __init__(self, env: lmdb.Environment, *, create: bool) -> None:
        """Raises ClientError `store-format` for a store of another format, lmdb.Error for a damaged one."""

        def database(name: str) -> Any:
            return env.open_db(name.encode(), create=create)

        self.file = Path(env.path()) / DATA_FILE
        self.meta = database("meta")
        """`format`, `genesis`, `height`, `head` (where the chain stands), `state_root`."""
        if not create:
            self._check_format(env)  # before the others, which another format may not have
        self.headers = database("headers")
        """Height (8 bytes) -> SealedHeader."""
        self.bodies = database("bodies")
        """Height -> the block's transactions as received."""
        self.receipts = database("receipts")
        """Height -> receipts: the transactions' in block order, then the scheduled calls'."""
        self.changes = database("changes")
        """Height -> sorted (key, value or None): what the block changed in the state."""
        self.state = database("state")
        """Key -> value."""
        self.tiles = database("tiles")
        """`tile_key(path)` -> tile of the state tree."""
        self.history = database("history")
        """Level (1 byte) and index (8) -> node of the mountain range."""
        self.transactions = database("transactions")
        """Id -> height (8) and index (4)."""
        self.sets = database("sets")
        """Hash -> ValidatorSet."""
        self.hand_overs = database("hand-overs")
        """Epoch (4 bytes) -> height of the block that handed over to the set of this epoch."""
        self.named = {name: value for name, value in vars(self).items() if name != "file"}

    def _check_format(self, env: lmdb.Environment) -> None:
        with env.begin(db=self.meta) as txn:
            found = txn.get(b"format")
        try:
            number = decode(U32, found or b"")
        except PeerError as error:
            raise self.damage("its format cannot be read") from error
        if number != STORE_FORMAT:
            raise ClientError(
                "store-format",
                f"{self.file} has format {number}, this program reads format {STORE_FORMAT}. Go on with the release "
                "that made it, or stop the node and run `pilechain repair`: it sets the ledger aside, the node fetches "
                "the chain again, and only observes until a new vote key of its own is active",
            )

    def damage(self, what: str) -> OurError:
        """The error to raise for something that cannot be read."""
        return damage(self.file, what)


def damage(file: Path, what: str) -> OurError:
    """The error to raise for a store that cannot be read."""
    return OurError(
        "store-damaged",
        f"{file}: {what}. `pilechain verify` tells how far the chain is good; `pilechain repair` sets a damaged ledger "
        "aside, and it is fetched from the peers again",
    )


def write_failed(file: Path, what: str) -> OurError:
    """The error to raise when the disk did not take what was written. The file is as it was after the last commit."""
    return OurError("store-write", f"{file}: {what}; see that the disk is sound and has room, then start again")


def height_key(height: int) -> bytes:
    """Key of a height: big-endian, so that LMDB's order is the chain's and new blocks are appended."""
    return height.to_bytes(8, "big")


def epoch_key(epoch: int) -> bytes:
    """Key of a set's epoch."""
    return epoch.to_bytes(4, "big")


def node_key(level: int, index: int) -> bytes:
    """Key of a mountain range node."""
    return bytes([level]) + index.to_bytes(8, "big")


def tile_key(path: bytes) -> bytes:
    """Key of a tile. LMDB has no empty keys, and the top's path is empty."""
    return b"/" + path
