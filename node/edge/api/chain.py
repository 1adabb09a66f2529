"""The chain itself: where it stands, blocks, headers, validators, state with proof."""

from collections.abc import Iterable
from typing import Any

from aiohttp import web

import node
from contracts.abi import Abi
from ledger.block import Receipt, header_hash
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError
from ledger.readable import readable
from ledger.transaction import Body, Signed
from node.edge import chain_views
from node.edge.api import parameters, shapes
from node.edge.api.parameters import NoParameters
from node.edge.api.services import Services
from node.edge.blocks import SealedTop, read_top

CONTRACT_BYTES = 4
"""Of a contract's number in a state key, big-endian."""


async def status(services: Services, request: web.Request, wanted: NoParameters) -> shapes.Status:
    """Where this node stands, and what core says of consensus."""
    consensus = await _consensus(services)
    genesis, height = services.genesis, services.link.height
    newest = _tops(services, [height])[0] if height else None
    return shapes.Status(
        company=services.company,
        chain_id=genesis.hash().hex(),
        chain_name=genesis.name,
        version=node.__version__,
        height=height,
        time_ms=newest.header.time_ms if newest else genesis.time_ms,
        state_root=newest.result.state_root.hex() if newest else "",
        core_connected=services.link.connected,
        indexed_height=await services.read_model.height(),
        consensus=readable(consensus),
    )


async def network(services: Services, request: web.Request, wanted: NoParameters) -> shapes.Network:
    """All validators as this node sees them: height, connection, and whether their state equals ours."""
    peers: dict[str, int] = (await _consensus(services)).get("peers", {})
    agreed = services.agreement.by_company()
    books = await services.read_model.books()
    height = services.link.height
    with services.ledger.snapshot() as snapshot:
        roles = chain_views.roles(snapshot)
    members, root = services.genesis.validators, ""
    if height:
        [newest] = _tops(services, [height])
        members = services.agreement.members(newest.result.next_set_hash)
        root = newest.result.state_root.hex()
    nodes = []
    for member in members.validators:
        me = member.name == services.company
        nodes.append(
            shapes.NetworkNode(
                name=member.name,
                roles=roles.get(member.name, []),
                self=me,
                connected=me or member.name in peers,
                height=height if me else _told(peers.get(member.name)),
                agreed_height=height if me else agreed.get(member.name),
                books=books.get(member.name, 0),
            )
        )
    return shapes.Network(height, root, nodes)


async def blocks(services: Services, request: web.Request, wanted: parameters.BlocksParameters) -> shapes.BlockPage:
    """A page of blocks, newest first."""
    newest = services.link.height if wanted.before is None else min(services.link.height, wanted.before - 1)
    heights = range(newest, max(0, newest - wanted.limit), -1)
    page = [block_summary(services, top) for top in _tops(services, heights)]
    oldest = heights[-1] if page else 1
    return shapes.BlockPage(page, oldest if oldest > 1 else None)


async def block(services: Services, request: web.Request, wanted: parameters.HeightParameters) -> shapes.BlockDetail:
    """One block with its transactions' outcomes."""
    found = services.blocks.get(wanted.height)
    rows = [
        _transaction_row(found.abi, raw, receipt)
        for raw, receipt in zip(found.raws, found.receipts, strict=False)  # scheduled calls' receipts come behind
    ]
    failed = sum(1 for receipt in found.receipts if receipt.code)
    summary = block_summary(services, found.top)
    return shapes.BlockDetail(summary, failed, readable(found.header), readable(found.top.result), rows)


async def header(
    services: Services, request: web.Request, wanted: parameters.HeightParameters
) -> shapes.SealedHeaderView:
    """A sealed header as light clients check it, and readable beside that."""
    [top] = _tops(services, [wanted.height])
    return shapes.SealedHeaderView(
        wanted.height, encode(top.sealed).hex(), readable(top.header), readable(top.result), readable(top.sealed.seal)
    )


async def state(services: Services, request: web.Request, wanted: parameters.StateParameters) -> shapes.StateEntry:
    """What the state holds under a key, or that it holds nothing, with the proof and the seal that it leads to."""
    key = wanted.contract.to_bytes(CONTRACT_BYTES, "big") + bytes.fromhex(wanted.key)
    with services.ledger.snapshot() as snapshot:
        top = read_top(snapshot, snapshot.height)  # before the first block nothing can be proven
        value, proof = snapshot.get(key), snapshot.prove_state(key)
    return shapes.StateEntry(
        contract=wanted.contract,
        key=wanted.key,
        value=None if value is None else value.hex(),
        height=top.header.height,
        state_root=top.result.state_root.hex(),
        proof=encode(proof).hex(),
        sealed_header=encode(top.sealed).hex(),
    )


def block_summary(services: Services, top: SealedTop) -> shapes.BlockSummary:
    """A block in few words."""
    return shapes.BlockSummary(
        height=top.header.height,
        hash=header_hash(top.sealed.header).hex(),
        time_ms=top.header.time_ms,
        proposer=top.header.proposer,
        view=top.header.view,
        transactions=top.header.tx_count,
        state_root=top.result.state_root.hex(),
        voters=services.agreement.voters(top),
    )


async def _consensus(services: Services) -> dict[str, Any]:
    """What core says of itself; nothing while it does not answer: reads go on without it."""
    try:
        return await services.link.status()
    except ClientError:
        return {}


def _tops(services: Services, heights: Iterable[int]) -> list[SealedTop]:
    with services.ledger.snapshot() as snapshot:
        return [read_top(snapshot, height) for height in heights]


def _told(height: int | None) -> int | None:
    """A peer's height; core says -1 of one that has not told it yet."""
    return None if height is None or height < 0 else height


def _transaction_row(abi: Abi, raw: bytes, receipt: Receipt) -> dict[str, Any]:
    body = decode_trusted(Body, decode_trusted(Signed, raw).body)
    return {
        "id": receipt.call_id.hex(),
        "contract": abi.contract_name(body.contract),
        "method": body.method,
        "sender": body.sender.hex(),
        "code": receipt.code,
        "code_name": abi.describe_code(receipt.code)[0],
    }
