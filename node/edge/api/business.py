"""What the contracts know: accounts, companies' money, piles, sessions and bills."""

from typing import Any

from aiohttp import web

from contracts.abi import abi_at
from ledger.errors import ClientError
from node.edge import chain_views
from node.edge.api import parameters, shapes
from node.edge.api.parameters import NoParameters
from node.edge.api.services import Services
from node.edge.session_events import parse_cursor


async def account(services: Services, request: web.Request, wanted: parameters.AccountParameters) -> shapes.Account:
    """A driver's wallet."""
    with services.ledger.snapshot() as snapshot:
        found = chain_views.account(snapshot, bytes.fromhex(wanted.key))
        height = snapshot.height
    if found is None:
        raise ClientError("account-unknown", "no account has this key")
    return shapes.Account(key=wanted.key, height=height, **found)


async def companies(services: Services, request: web.Request, wanted: NoParameters) -> shapes.Companies:
    """Every company's balances and trade, and the sum of all signed balances, which is zero."""
    with services.ledger.snapshot() as snapshot:
        height = snapshot.height
        money = chain_views.companies(snapshot)
        claims = chain_views.claims(snapshot)
        balances_sum_fen = chain_views.balances_sum_fen(snapshot)
    trade = await services.read_model.trade()
    rows = []
    for company in money:
        traded = trade.get(company["name"])
        rows.append(
            shapes.Company(
                **company,
                sessions=traded.sessions if traded else 0,
                energy_wh=traded.energy_wh if traded else 0,
                revenue_fen=traded.revenue_fen if traded else 0,
            )
        )
    return shapes.Companies(height, balances_sum_fen, rows, [shapes.Claim(*claim) for claim in claims])


async def piles(services: Services, request: web.Request, wanted: parameters.PilesParameters) -> shapes.PilePage:
    """A page of piles by name, with their places and what they are doing."""
    rows = await services.read_model.piles(wanted.after, wanted.limit, wanted.operator)
    names = shapes.Pile.__struct_fields__
    page = [shapes.Pile(**{name: getattr(row, name) for name in names}) for row in rows]
    return shapes.PilePage(page, page[-1].name if len(page) == wanted.limit else None)


async def sessions(
    services: Services, request: web.Request, wanted: parameters.SessionsParameters
) -> shapes.SessionPage:
    """A page of sessions, newest first."""
    height = await services.read_model.height()
    rows = await services.read_model.sessions(
        before=parse_cursor(wanted.before) if wanted.before else None,
        limit=wanted.limit,
        state=wanted.state,
        pile=wanted.pile,
        operator=wanted.operator,
        driver=bytes.fromhex(wanted.driver) if wanted.driver else None,
    )
    page = [_session(row) for row in rows]
    return shapes.SessionPage(height, page, page[-1].cursor if len(page) == wanted.limit else None)


async def session(
    services: Services, request: web.Request, wanted: parameters.SessionParameters
) -> shapes.SessionDetail:
    """One session with its bill, line by line."""
    found = await services.read_model.session(bytes.fromhex(wanted.id))
    if found is None:
        raise ClientError("session-unknown", "no session has this id (it is the id of the transaction that opened it)")
    row, lines = found
    names = shapes.Line.__struct_fields__
    return shapes.SessionDetail(
        session=_session(row),
        lines=[shapes.Line(**{name: getattr(line, name) for name in names}) for line in lines],
        beans_wh=row.beans_wh,
        occupancy_fen=row.occupancy_fen,
        grid_fen=row.grid_fen,
        owner_fen=row.owner_fen,
        previous=row.previous.hex() if row.previous else None,
        open_transaction=wanted.id,
    )


async def contract(
    services: Services, request: web.Request, wanted: parameters.ContractParameters
) -> shapes.ContractText:
    """The text that rules now, for everybody to read."""
    with services.ledger.snapshot() as snapshot:
        found = chain_views.contract(snapshot, wanted.number, snapshot.height + 1)
    if found is None:
        raise ClientError("contract-unknown", f"no contract has the number {wanted.number}; /v1/contracts lists them")
    return shapes.ContractText(**found)


async def contracts(services: Services, request: web.Request, wanted: NoParameters) -> shapes.Contracts:
    """Contracts with their methods, arguments, branches and events."""
    with services.ledger.snapshot() as snapshot:
        return shapes.Contracts(chain_views.contracts(abi_at(snapshot, snapshot.height + 1)))


def _session(row: Any) -> shapes.Session:
    return shapes.Session(
        id=row.id.hex(),
        cursor=f"{row.height}-{row.index}",
        state=row.state,
        pile=row.pile,
        connector=row.connector,
        driver=row.driver.hex(),
        operator=row.operator,
        home_operator=row.home_operator,
        opened_ms=row.opened_ms,
        started_ms=row.started_ms,
        settled_ms=row.settled_ms,
        deposit_fen=row.deposit_fen,
        energy_wh=row.energy_wh,
        total_fen=row.total_fen,
        refund_fen=row.refund_fen,
    )
