"""The read model: what the ledger says, in tables that can be searched. Made from sealed blocks, so it can be rebuilt.

SQLite in WAL mode: one writer (the indexer), any number of readers that neither wait for it nor make it wait.
"""

from pathlib import Path
from typing import Any

from msgspec import Struct, field
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert

SCHEMA_VERSION = "1"
"""Written into the file. A file of another version is dropped and rebuilt; nothing in it is the only copy of anything.
"""
BUSY_TIMEOUT_MS = 5_000
"""How long a connection waits for SQLite's one write lock."""

schema = MetaData()

meta = Table("meta", schema, Column("key", String, primary_key=True), Column("value", String, nullable=False))
"""schema, chain, height."""

blocks = Table(
    "blocks",
    schema,
    Column("height", Integer, primary_key=True),
    Column("time_ms", Integer, nullable=False),
    Column("proposer", String, nullable=False),
    Column("transactions", Integer, nullable=False),
    Index("blocks_by_proposer", "proposer", "transactions"),
)

transactions = Table(
    "transactions",
    schema,
    Column("height", Integer, primary_key=True),
    Column("index", Integer, primary_key=True),
    Column("id", LargeBinary, nullable=False),
    Column("sender", LargeBinary, nullable=False),
    Column("contract", Integer, nullable=False),
    Column("method", String, nullable=False),
    Column("code", Integer, nullable=False),
    Index("transactions_by_sender", "sender", "height", "index"),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    schema,
    Column("id", LargeBinary, primary_key=True),
    Column("height", Integer, nullable=False),  # of the opening; with `index` its place in the chain
    Column("index", Integer, nullable=False),
    Column("state", String, nullable=False),
    Column("pile", String, nullable=False),
    Column("connector", Integer, nullable=False),
    Column("driver", LargeBinary, nullable=False),
    Column("operator", String, nullable=False),
    Column("home_operator", String),
    Column("opened_ms", Integer, nullable=False),
    Column("started_ms", Integer),
    Column("settled_ms", Integer),
    Column("deposit_fen", Integer, nullable=False),
    Column("energy_wh", Integer, nullable=False, default=0),
    Column("beans_wh", Integer, nullable=False, default=0),
    Column("occupancy_fen", Integer, nullable=False, default=0),
    Column("total_fen", Integer, nullable=False, default=0),
    Column("refund_fen", Integer, nullable=False, default=0),
    Column("grid_fen", Integer, nullable=False, default=0),
    Column("owner_fen", Integer, nullable=False, default=0),
    Column("previous", LargeBinary),
    Index("sessions_by_place", "height", "index"),
    Index("sessions_by_pile", "pile", "height", "index"),
    Index("sessions_by_driver", "driver", "height", "index"),
    Index("sessions_by_operator", "operator", "height", "index"),
    Index("sessions_by_state", "state", "height", "index"),
)

bill_lines = Table(
    "bill_lines",
    schema,
    Column("session", LargeBinary, primary_key=True),
    Column("number", Integer, primary_key=True),
    *(
        Column(name, Integer, nullable=False)
        for name in (
            "begin_ms",
            "end_ms",
            "energy_wh",
            "energy_price_e4",
            "service_price_e4",
            "energy_fen",
            "service_fen",
        )
    ),
    sqlite_with_rowid=False,
)

piles = Table(
    "piles",
    schema,
    Column("name", String, primary_key=True),
    Column("operator", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("region", String, nullable=False),
    Column("latitude_e7", Integer, nullable=False),
    Column("longitude_e7", Integer, nullable=False),
    Column("power_w", Integer, nullable=False),
    Column("connectors", Integer, nullable=False),
    Column("meter_state", String, nullable=False),
    Column("sessions", Integer, nullable=False, default=0),
    Column("energy_wh", Integer, nullable=False, default=0),
    Column("revenue_fen", Integer, nullable=False, default=0),
)


class Batch(Struct):
    """What some blocks add. Rows are mappings of column names."""

    height: int
    """Newest block in it."""
    blocks: list[dict[str, Any]] = field(default_factory=list)
    transactions: list[dict[str, Any]] = field(default_factory=list)
    opened: list[dict[str, Any]] = field(default_factory=list)
    started: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    """Sessions that timed out or expired."""
    settled: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    piles: list[dict[str, Any]] = field(default_factory=list)
    """Those that the blocks touched, as the registry has them now."""


def open_read_model(path: Path) -> Engine:
    """Engine over the file, which is made with its tables if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # a lost tail is indexed again from the ledger

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # the driver begins none before it makes or drops a table

    schema.create_all(engine)
    return engine


def prepare(engine: Engine, chain_id: bytes, newest: int) -> int:
    """Height up to which the file is filled, after emptying it if it is of another schema, another chain or a longer
    ledger than ours.
    """
    with engine.begin() as connection:
        found = {row.key: row.value for row in connection.execute(select(meta))}
        height = int(found.get("height", 0))
        if (found.get("schema"), found.get("chain")) == (SCHEMA_VERSION, chain_id.hex()) and height <= newest:
            return height
    drop(engine)
    with engine.begin() as connection:
        rows = {"schema": SCHEMA_VERSION, "chain": chain_id.hex(), "height": "0"}
        connection.execute(insert(meta), [{"key": key, "value": value} for key, value in rows.items()])
    return 0


def drop(engine: Engine) -> None:
    """Empty the read model; the indexer fills it again from the ledger. Tables of other schema versions go too."""
    found = MetaData()
    with engine.begin() as connection:
        found.reflect(connection)
        found.drop_all(connection)
        schema.create_all(connection)


def apply(engine: Engine, batch: Batch) -> None:
    """Add a batch in one transaction: after a crash it is in the file wholly or not at all, and so is its height."""
    with engine.begin() as connection:
        _add(connection, blocks, batch.blocks)
        _add(connection, transactions, batch.transactions)
        _put_piles(connection, batch.piles)
        _add_sessions(connection, batch)
        connection.execute(update(meta).where(meta.c.key == "height").values(value=str(batch.height)))


def _add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(table), rows)


def _put_piles(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        statement = upsert(piles)
        fixed = {name: statement.excluded[name] for name in rows[0] if name != "name"}
        connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=fixed), rows)


def _add_sessions(connection: Connection, batch: Batch) -> None:
    """Kind by kind: a session's steps come in this order, however many of them are in one batch."""
    if batch.opened:
        operator = select(piles.c.operator).where(piles.c.name == bindparam("opened_at")).scalar_subquery()
        values: dict[str, Any] = {name: bindparam(name) for name in batch.opened[0]} | {"operator": operator}
        # What no session does, a version of the contract that a vote let in might tell: it is left out, like its lines.
        opened = insert(sessions).prefix_with("OR IGNORE").values(values)
        connection.execute(opened, [row | {"opened_at": row["pile"]} for row in batch.opened])
    for rows in (batch.started, batch.states, batch.settled):
        if rows:
            columns: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name != "session"}
            connection.execute(update(sessions).where(sessions.c.id == bindparam("session")).values(columns), rows)
    if batch.lines:
        connection.execute(insert(bill_lines).prefix_with("OR IGNORE"), batch.lines)
    if batch.settled:
        statement = update(piles).where(piles.c.name == bindparam("settled_at"))
        counted = {
            "sessions": piles.c.sessions + 1,
            "energy_wh": piles.c.energy_wh + bindparam("settled_wh"),
            "revenue_fen": piles.c.revenue_fen + bindparam("settled_fen"),
        }
        rows = [
            {"settled_at": row["pile"], "settled_wh": row["energy_wh"], "settled_fen": row["total_fen"]}
            for row in batch.settled
        ]
        connection.execute(statement.values(counted), rows)
