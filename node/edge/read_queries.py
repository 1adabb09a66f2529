"""Questions to the read model. Each runs in one short transaction in a thread of its own, so the event loop never waits
for a disk.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, case, func, select, tuple_

from node.edge.read_model import bill_lines, blocks, meta, piles, sessions, transactions

READERS = 2
"""Threads: SQLite answers in well under a millisecond; two keep a slow page from holding up the quick ones."""

T = TypeVar("T")


class ReadQueries:
    """Reads for the API."""

    def __init__(self, engine: Engine) -> None:
        """Ask this read model."""
        self._engine = engine
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="read-model")

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def height(self) -> int:
        """Up to which height the read model is filled."""
        return await self._run(lambda c: int(c.scalar(select(meta.c.value).where(meta.c.key == "height")) or 0))

    async def sessions(
        self,
        before: tuple[int, int] | None,
        limit: int,
        state: str | None = None,
        pile: str | None = None,
        operator: str | None = None,
        driver: bytes | None = None,
    ) -> list[Row[Any]]:
        """Sessions that match, newest first."""
        given = {"state": state, "pile": pile, "operator": operator, "driver": driver}
        query = select(sessions).where(
            *(sessions.c[name] == value for name, value in given.items() if value is not None)
        )
        if before is not None:
            query = query.where(tuple_(sessions.c.height, sessions.c.index) < tuple_(*before))
        query = query.order_by(sessions.c.height.desc(), sessions.c.index.desc()).limit(limit)
        return await self._run(lambda c: list(c.execute(query)))

    async def session(self, session_id: bytes) -> tuple[Row[Any], list[Row[Any]]] | None:
        """A session and its bill lines."""

        def read(connection: Connection) -> tuple[Row[Any], list[Row[Any]]] | None:
            row = connection.execute(select(sessions).where(sessions.c.id == session_id)).one_or_none()
            lines = select(bill_lines).where(bill_lines.c.session == session_id).order_by(bill_lines.c.number)
            return None if row is None else (row, list(connection.execute(lines)))

        return await self._run(read)

    async def piles(self, after: str | None, limit: int, operator: str | None) -> list[Row[Any]]:
        """Piles by name, each with `state`: charging, claim (its session timed out), opened (reserved by an opened
        session) or free.
        """
        busy = (
            select(sessions.c.pile, func.min(sessions.c.state).label("state"))  # the alphabet puts what matters first
            .where(sessions.c.state.in_(("opened", "charging", "claim")))
            .group_by(sessions.c.pile)
            .subquery()
        )
        query = select(piles, func.coalesce(busy.c.state, "free").label("state")).outerjoin(
            busy, busy.c.pile == piles.c.name
        )
        if after is not None:
            query = query.where(piles.c.name > after)
        if operator is not None:
            query = query.where(piles.c.operator == operator)
        return await self._run(lambda c: list(c.execute(query.order_by(piles.c.name).limit(limit))))

    async def trade(self) -> dict[str, Row[Any]]:
        """By operator: sessions settled at its piles, energy_wh, revenue_fen."""
        names = ("sessions", "energy_wh", "revenue_fen")
        query = select(piles.c.operator, *(func.sum(piles.c[name]).label(name) for name in names))
        return await self._run(lambda c: {row.operator: row for row in c.execute(query.group_by(piles.c.operator))})

    async def transactions(self, sender: bytes, before: tuple[int, int] | None, limit: int) -> list[Row[Any]]:
        """Transactions of a sender, newest first."""
        place = tuple_(transactions.c.height, transactions.c.index)
        query = select(transactions, blocks.c.time_ms).join(blocks, blocks.c.height == transactions.c.height)
        query = query.where(transactions.c.sender == sender)
        if before is not None:
            query = query.where(place < tuple_(*before))
        query = query.order_by(transactions.c.height.desc(), transactions.c.index.desc()).limit(limit)
        return await self._run(lambda c: list(c.execute(query)))

    async def books(self) -> dict[str, int]:
        """By company: non-empty blocks that it kept the book of."""
        kept = func.sum(case((blocks.c.transactions > 0, 1), else_=0))
        query = select(blocks.c.proposer, kept).group_by(blocks.c.proposer)
        return await self._run(lambda c: {name: int(count) for name, count in c.execute(query)})

    async def _run(self, question: Callable[[Connection], T]) -> T:
        def ask() -> T:
            with self._engine.connect() as connection:
                return question(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
