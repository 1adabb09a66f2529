"""Reads a ledger store once, whole, and says what is wrong with it as far as reading shows that."""

from contextlib import closing
from pathlib import Path

from ledger.block import Header, header_hash
from ledger.codec import decode_trusted
from ledger.errors import ClientError, OurError, PeerError
from node.storage.layout import DATA_FILE
from node.storage.reader import LedgerReader, Snapshot
from node.storage.shield import shielded


def store_damage(ledger: Path, map_bytes: int) -> str:
    """What is wrong with the store in a folder; empty if nothing is, or there is none. Raises OurError `child-died` if
    reading it was cut short: then nobody knows.
    """
    if not (ledger / DATA_FILE).exists():
        return ""

    def scan() -> None:
        with closing(LedgerReader(ledger, map_bytes)) as reader:
            check_store(reader)

    try:
        shielded(ledger, scan)
    except (ClientError, OurError) as error:
        if error.code == "child-died":
            raise
        return error.message
    return ""


def check_store(reader: LedgerReader) -> None:
    """Read all of a store, and that each header follows the one before. Raises OurError `store-damaged`.

    `pilechain verify` looks into the blocks as well. Not for a store whose node runs: it takes one long snapshot.
    """
    with reader.snapshot() as snapshot:
        for database in snapshot.bytes_used():
            for _ in snapshot.rows(database):
                pass
        try:
            _check_links(reader, snapshot)
        except PeerError as error:
            raise reader.damage(error.message) from error
        snapshot.check_tip()


def _check_links(reader: LedgerReader, snapshot: Snapshot) -> None:
    """A node that joined by snapshot has the headers of its blocks, and before them only those of hand-overs."""
    first = snapshot.height + 1
    while first > 1 and snapshot.sealed(first - 1) is not None:
        first -= 1
    if first > snapshot.first_block:
        raise reader.damage(f"height {first - 1}: there is no header")
    hand_overs = {height for _, height in snapshot.hand_overs()}
    for height in range(1, first):
        if (snapshot.sealed(height) is not None) != (height in hand_overs):
            raise reader.damage(f"height {height}: there is no header, or one that nothing follows")
    before = snapshot.genesis.hash() if first == 1 else None
    for height in range(first, snapshot.height + 1):
        sealed = snapshot.sealed(height)
        if sealed is None or before not in (None, decode_trusted(Header, sealed.header).parent):
            raise reader.damage(f"height {height}: there is no header that follows the one before")
        before = header_hash(sealed.header)
