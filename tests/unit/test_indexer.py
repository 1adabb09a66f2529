"""The read model: follows the chain from its own cursor, loses and doubles nothing across crashes, can be rebuilt."""
# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio

import pytest
from msgspec import structs
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from contracts import views
from contracts.numbers import REGISTRY
from contracts.records.registry import PILES, Pile
from ledger.block import Event
from ledger.charging import SessionExpired, SessionTimedOut
from ledger.codec import decode, encode
from node.edge import indexer as indexer_module
from node.edge import read_model
from node.edge import room as room_module
from node.edge.indexer import Indexer
from node.edge.read_model import open_read_model
from node.edge.read_queries import ReadQueries
from node.ipc.link import CoreLink
from node.library import library_abi
from tests.edge_kit import CoreOfTests, GrowingChain, contract_state, opened, settled, started
from tests.oracles.registry import PileServiceSet

TABLES = ("blocks", "transactions", "sessions", "bill_lines", "piles", "meta")


class Indexed:
    """A chain and a read model that is filled when told to."""

    def __init__(self, folder):
        self.folder = folder
        self.chain = GrowingChain(folder, contract_state())
        core = CoreOfTests(self.chain)

        async def connect():
            return core

        self.link = CoreLink(self.chain.store, connect)
        self.open()

    def open(self):
        """As a process that has just started."""
        self.engine = open_read_model(self.folder / "index.sqlite")
        self.indexer = Indexer(self.chain.store, self.engine, self.link)
        self.indexer.height = self.indexer._open()

    def follow(self):
        """Index all there is."""
        while self.indexer.height < self.chain.height:
            self.indexer.height = self.indexer.index_up_to(self.chain.height)

    def content(self):
        """All rows of all tables."""
        with self.engine.connect() as connection:
            return {
                name: [tuple(row) for row in connection.execute(select(read_model.schema.tables[name]))]
                for name in TABLES
            }

    def session(self, number, *events, block=None):
        """One more block with the events of a session; the transaction."""
        tx = self.chain.transaction(salt=number)
        self.chain.seal(tx, events={tx.id: tuple(make(block or tx.id) for make in events)})
        return tx.id


@pytest.fixture
def indexed(tmp_path):
    made = Indexed(tmp_path)
    yield made
    made.engine.dispose()
    made.chain.store.close()


def state_of(indexed, session):
    with indexed.engine.connect() as connection:
        return connection.scalar(select(read_model.sessions.c.state).where(read_model.sessions.c.id == session))


def test_F50_sessions_are_joined_from_their_steps(indexed):
    session = indexed.session(1, opened)
    indexed.follow()
    assert state_of(indexed, session) == "opened"
    indexed.session(2, started, block=session)
    indexed.follow()
    assert state_of(indexed, session) == "charging"
    indexed.session(3, settled, block=session)
    indexed.follow()
    rows = indexed.content()
    assert state_of(indexed, session) == "settled"
    assert len(rows["bill_lines"]) == 2


async def test_F13_the_indexer_waits_until_a_full_disk_has_room(indexed, monkeypatch):
    """SQLite says of a file that may not grow what it says of a disk without room."""
    monkeypatch.setattr(room_module, "ROOM_LOOK_S", 0.01)
    pages, begun = 1, 0

    @event.listens_for(indexed.engine, "begin")
    def limit(connection):
        nonlocal begun
        begun += 1
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # never below what there is

    for number in range(60):
        session = indexed.session(number, opened)
    work = asyncio.create_task(indexed.indexer.run())
    link = asyncio.create_task(indexed.link.run())
    async with asyncio.timeout(10):
        while begun < 4:
            assert not work.done()
            await asyncio.sleep(0.01)
        assert indexed.indexer.height == 0
        pages = 1 << 20
        while indexed.indexer.height < indexed.chain.height:
            assert not work.done()
            await asyncio.sleep(0.01)
    for task in (work, link):
        task.cancel()
    assert state_of(indexed, session) == "opened"


async def test_F50_another_error_of_the_read_model_ends_the_indexer(indexed):
    indexed.session(1, opened)
    with indexed.engine.begin() as connection:
        read_model.sessions.drop(connection)
    link = asyncio.create_task(indexed.link.run())
    with pytest.raises(OperationalError, match="no such table"):
        await asyncio.wait_for(indexed.indexer.run(), 10)
    link.cancel()


def test_F50_steps_in_one_batch_give_the_same_as_one_by_one(tmp_path):
    contents = []
    for name, eager in (("each", True), ("once", False)):
        folder = tmp_path / name
        folder.mkdir()
        indexed = Indexed(folder)
        for number in range(6):
            session = indexed.session(10 * number, opened)
            for step, make in ((1, started), (2, settled)):
                indexed.session(10 * number + step, make, block=session)
                if eager:
                    indexed.follow()
        indexed.follow()
        contents.append(indexed.content())
        indexed.engine.dispose()
        indexed.chain.store.close()
    assert contents[0] == contents[1]
    assert len(contents[0]["sessions"]) == 6


def test_F50_time_outs_and_expiries_are_states(indexed):
    late, lost = indexed.session(1, opened), indexed.session(2, opened)
    indexed.session(3, lambda _: Event(5, "session.expired", encode(SessionExpired(late, "P-1", 1))))
    indexed.session(4, started, block=lost)
    indexed.session(5, lambda _: Event(5, "session.timed-out", encode(SessionTimedOut(lost, "P-1", 1))))
    indexed.follow()
    assert (state_of(indexed, late), state_of(indexed, lost)) == ("expired", "claim")


def test_F50_a_pile_is_taken_until_its_timed_out_session_is_settled(indexed):
    queries = ReadQueries(indexed.engine)

    def state():
        return {row.name: row.state for row in asyncio.run(queries.piles(None, 10, None))}

    lost = indexed.session(1, opened)
    indexed.session(2, started, block=lost)
    indexed.follow()
    assert state() == {"P-1": "charging", "P-2": "free"}
    indexed.session(3, lambda _: Event(5, "session.timed-out", encode(SessionTimedOut(lost, "P-1", 1))))
    indexed.follow()
    assert state() == {"P-1": "claim", "P-2": "free"}
    indexed.session(4, settled, block=lost)
    indexed.follow()
    assert state() == {"P-1": "free", "P-2": "free"}
    queries.close()


def test_F50_only_the_piles_that_a_block_names_are_read_again(indexed, monkeypatch):
    asked = []
    pile = views.pile

    def noted(state, name):
        asked.append(name)
        return pile(state, name)

    monkeypatch.setattr(views, "pile", noted)
    monkeypatch.setattr(views, "piles", None)  # reading the whole registry would fail
    indexed.session(1, lambda _: Event(3, "registry.service-set", encode(PileServiceSet("P-2", False))))
    changed = structs.replace(decode(Pile, contract_state()[PILES.key(b"P-2")]), power_w=7)
    indexed.chain.seal(changes={PILES.key(b"P-2"): encode(changed)})
    indexed.follow()
    assert asked == ["P-2"]
    with indexed.engine.connect() as connection:
        found = connection.execute(select(read_model.piles.c.name, read_model.piles.c.power_w)).all()
    assert sorted(map(tuple, found)) == [("P-1", 60_000), ("P-2", 7)]


def test_F20_what_no_session_tells_stops_no_index(indexed):
    """A version that a vote let in may open twice, at piles that there are not, and settle twice."""
    indexed.session(1, opened, opened, settled, settled)
    indexed.session(2, lambda session: opened(session, pile="P-none"))
    indexed.follow()
    with indexed.engine.connect() as connection:
        assert [row.pile for row in connection.execute(select(read_model.sessions))] == ["P-1"]


def test_F50_every_event_of_the_registry_names_its_pile():
    registry = next(contract for contract in library_abi().contracts if contract.number == REGISTRY)
    assert registry.events
    assert all("pile" in event.data.__struct_fields__ for event in registry.events)


def test_F50_a_crash_between_batches_loses_and_doubles_nothing(indexed, monkeypatch):
    monkeypatch.setattr(indexer_module, "BATCH_BLOCKS_MAX", 2)
    for number in range(7):
        indexed.session(number, opened)
    indexed.indexer.height = indexed.indexer.index_up_to(7)
    assert indexed.indexer.height == 2

    def crash(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(read_model, "_add_sessions", crash)
        with pytest.raises(KeyboardInterrupt):
            indexed.indexer.index_up_to(7)
    indexed.engine.dispose()
    indexed.open()
    assert indexed.indexer.height == 2
    indexed.follow()
    rows = indexed.content()
    assert [row[0] for row in rows["blocks"]] == list(range(1, 8))
    assert len(rows["sessions"]) == 7


@pytest.mark.parametrize("why", ["dropped", "schema", "chain", "ahead"])
def test_F50_the_read_model_is_rebuilt_equal(indexed, why):
    session = indexed.session(1, opened)
    indexed.session(2, started, block=session)
    indexed.session(3, settled, block=session)
    indexed.follow()
    before = indexed.content()
    if why == "dropped":
        read_model.drop(indexed.engine)
    else:
        key, value = {"schema": ("schema", "0"), "chain": ("chain", "00"), "ahead": ("height", "99")}[why]
        with indexed.engine.begin() as connection:
            table = read_model.meta
            connection.execute(table.update().where(table.c.key == key).values(value=value))
    indexed.open()
    assert indexed.indexer.height == 0
    indexed.follow()
    assert indexed.content() == before


def test_F50_readers_never_see_the_model_without_its_tables(indexed, monkeypatch):
    indexed.session(1, opened)
    indexed.follow()
    seen = []
    create_all = read_model.schema.create_all

    def look(connection):  # in the middle of a rebuild: the old tables are dropped, the new ones not yet made
        with indexed.engine.connect() as reader:
            seen.append(len(reader.execute(select(read_model.sessions)).all()))
        create_all(connection)

    monkeypatch.setattr(read_model.schema, "create_all", look)
    read_model.drop(indexed.engine)
    assert seen == [1]


async def test_F50_it_follows_by_itself_and_readers_do_not_wait(indexed):
    queries = ReadQueries(indexed.engine)
    tasks = [asyncio.create_task(indexed.link.run()), asyncio.create_task(indexed.indexer.run())]
    session = indexed.session(1, opened)
    async with asyncio.timeout(10):
        while await queries.session(session) is None:
            await asyncio.sleep(0.005)
    with indexed.engine.begin() as writer:  # a writer in the middle of its work
        writer.execute(read_model.meta.update().values(value="busy").where(read_model.meta.c.key == "none"))
        assert await asyncio.wait_for(queries.height(), 1) == 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    queries.close()
