"""The readings archive: every signed reading of this company's piles, durable, outside the read model that can be
dropped and rebuilt.

The chain holds the root over a session's readings; here lie the readings themselves, and each proves against that root.
A chain of readings is verified before any of it is stored, so the archive never holds a gap. One SQLite file per node;
an operator with more than a few hundred thousand sessions a day shards it by session id or puts a server database in
its place.
"""

import sqlite3
from pathlib import Path

import structlog
from msgspec import Struct

from devices.readings import ChainEnd, read, verify_chain
from ledger.charging import SignedReading, reading_digest
from ledger.errors import ClientError, PeerError
from ledger.hashing import Tag, sm3
from ledger.merkle import MerkleProof, merkle_proof
from node.edge.room import says_full

_SCHEMA = """
CREATE TABLE IF NOT EXISTS chains (
    session BLOB PRIMARY KEY, pile TEXT NOT NULL, public_key BLOB NOT NULL,
    count INTEGER NOT NULL, digest BLOB NOT NULL, time_ms INTEGER NOT NULL, meter_wh INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS readings (
    session BLOB NOT NULL, number INTEGER NOT NULL, reading BLOB NOT NULL, signature BLOB NOT NULL,
    PRIMARY KEY (session, number)
) WITHOUT ROWID;
"""

log = structlog.get_logger()


class Batch(Struct, frozen=True):
    """Consecutive readings of one session, from the pile that serves it."""

    session: bytes
    pile: str
    public_key: bytes
    readings: tuple[SignedReading, ...]


class Archive:
    """One file. Blocking: call it in a thread; one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._is_full = False
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # what is confirmed to a pile is on disk: the pile forgets it
        self._db.executescript(_SCHEMA)

    def append(self, batches: list[Batch]) -> list[ChainEnd | PeerError]:
        """Store batches in one durable transaction; for each, where the chain of its session's readings ends now, or
        why it was refused: all of them `archive-full` if the disk has no room. The piles keep what is not confirmed.

        What is held already is skipped if it is the same (sent twice) and refused `reading-conflict` if not. A batch
        behind a gap stores nothing and answers where the chain ends, so that the pile sends the rest.
        """
        try:
            answers = self._append_all(batches)
        except sqlite3.OperationalError as error:
            if not says_full(error, self._path):
                raise
            if not self._is_full:
                log.error("disk_full", file=str(self._path), hint="make room; the piles keep their readings until then")
            self._is_full = True
            return [PeerError("archive-full", "the archive's disk has no room; send it again later") for _ in batches]
        if self._is_full:
            log.info("disk_has_room_again", file=str(self._path))
        self._is_full = False
        return answers

    def count(self, session: bytes) -> int:
        """How many readings of a session are held."""
        row = self._db.execute("SELECT count FROM chains WHERE session = ?", (session,)).fetchone()
        return int(row[0]) if row else 0

    def readings(self, session: bytes) -> list[SignedReading]:
        """All readings of a session, in order."""
        rows = self._db.execute("SELECT reading, signature FROM readings WHERE session = ? ORDER BY number", (session,))
        return [SignedReading(reading, signature) for reading, signature in rows]

    def prove(self, session: bytes, number: int) -> tuple[SignedReading, MerkleProof]:
        """A reading and its proof against the `readings_root` of the session's stop. Raises ClientError `reading-
        unknown`.
        """
        readings = self.readings(session)
        if not 0 <= number < len(readings):
            raise ClientError("reading-unknown", f"this archive holds {len(readings)} readings of that session")
        leaves = [sm3(Tag.METER_CHAIN, reading_digest(signed.reading)) for signed in readings]
        return readings[number], merkle_proof(leaves, number)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _append_all(self, batches: list[Batch]) -> list[ChainEnd | PeerError]:
        answers: list[ChainEnd | PeerError] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for batch in batches:
                try:
                    answers.append(self._append(batch))
                except PeerError as error:
                    answers.append(error)
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # SQLite may have rolled it back itself
                self._db.execute("ROLLBACK")
            raise
        return answers

    def _append(self, batch: Batch) -> ChainEnd:
        end, key = self._end(batch)
        if key != batch.public_key:
            raise PeerError("reading-session", "another device's key signed the beginning of that session")
        first = read(batch.readings[0]).number
        held = max(0, min(end.count - first, len(batch.readings)))
        self._compare(batch, first, held)
        if first > end.count or held == len(batch.readings):
            return end
        new = batch.readings[held:]
        after = verify_chain(batch.session, batch.public_key, new, end)
        self._db.executemany(
            "INSERT INTO readings VALUES (?, ?, ?, ?)",
            [(batch.session, end.count + at, signed.reading, signed.signature) for at, signed in enumerate(new)],
        )
        self._db.execute(
            "INSERT OR REPLACE INTO chains VALUES (?, ?, ?, ?, ?, ?, ?)",
            (batch.session, batch.pile, key, after.count, after.digest, after.time_ms, after.meter_wh),
        )
        return after

    def _end(self, batch: Batch) -> tuple[ChainEnd, bytes]:
        row = self._db.execute(
            "SELECT count, digest, time_ms, meter_wh, public_key FROM chains WHERE session = ?", (batch.session,)
        ).fetchone()
        return (ChainEnd(*row[:4]), row[4]) if row else (ChainEnd(), batch.public_key)

    def _compare(self, batch: Batch, first: int, held: int) -> None:
        if held == 0:
            return
        rows = self._db.execute(
            "SELECT reading FROM readings WHERE session = ? AND number >= ? AND number < ? ORDER BY number",
            (batch.session, first, first + held),
        ).fetchall()
        if [row[0] for row in rows] != [signed.reading for signed in batch.readings[:held]]:
            # Two different readings with one number: the pile's key is used twice, or its flash was rolled back.
            raise PeerError("reading-conflict", "a reading with that number is held and says something else")
