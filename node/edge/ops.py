"""The operations listener, apart from the public one: is the node alive, is it ready, what do its figures say."""

from collections.abc import Iterable
from contextlib import suppress

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

import node
from ledger.errors import ClientError
from node.edge.indexer import Indexer
from node.ipc.link import CoreLink
from node.storage.reader import LedgerReader

INDEX_LAG_MAX = 100
"""Blocks by which the read model may lag before sessions and bills are called out of date."""
SYNC_LAG_MAX = 8
"""Blocks behind the peers from which on this node is catching up: as many as may be under way at once."""


class Readiness(msgspec.Struct, frozen=True):
    """Answer of /readyz."""

    ready: bool
    reasons: list[str]
    """Codes with what they mean here; empty when ready."""


def height_of_peers(heights: Iterable[int], weak_quorum: int) -> int:
    """The newest height that at least one honest peer says it has: of `weak_quorum` = f + 1 validators one is honest,
    so f liars who claim any height they like never make a node look behind. 0 while fewer have said anything.
    """
    told = sorted(heights, reverse=True)
    return max(0, told[weak_quorum - 1]) if len(told) >= weak_quorum else 0


async def unready_reasons(ledger: LedgerReader, link: CoreLink, indexer: Indexer | None) -> list[str]:
    """Why this node should get no traffic now; empty when it should."""
    try:
        status = await link.status()
    except ClientError as error:
        return [f"{error.code}: {error.message}"]
    reasons = []
    with ledger.snapshot() as snapshot:
        validators = snapshot.head.validators
    weak_quorum, needed = validators.weak_quorum, validators.quorum - 1
    voting = {member.name for member in validators.validators}  # observers vouch for nothing
    if (connected := len(voting.intersection(status["connected"]))) < needed:
        reasons.append(f"not-connected: to {connected} other members, a quorum needs {needed}")
    told = [height for name, height in status.get("peers", {}).items() if name in voting]
    newest_of_peers = height_of_peers(told, weak_quorum)
    if newest_of_peers - link.height > SYNC_LAG_MAX:
        reasons.append(f"not-synced: at height {link.height}, peers at {newest_of_peers}")
    if indexer is not None and link.height - indexer.height > INDEX_LAG_MAX:
        reasons.append(f"index-behind: read model at height {indexer.height}, ledger at {link.height}")
    return reasons


class EdgeFigures(Collector):
    """Figures that are read when they are asked for: the chain's height, and what core last said of itself."""

    def __init__(self, link: CoreLink, indexer: Indexer | None) -> None:
        """Tell of these."""
        self._link = link
        self._indexer = indexer

    def collect(self) -> Iterable[Metric]:
        """All figures of now."""
        yield GaugeMetricFamily("pilechain_sealed_height", "Newest sealed block", self._link.height)
        yield GaugeMetricFamily(
            "pilechain_core_connected", "Whether core is reachable (1) or not (0)", self._link.connected
        )
        if self._indexer is not None:
            yield GaugeMetricFamily("pilechain_indexed_height", "Newest block in the read model", self._indexer.height)
        for name, value in sorted(self._link.last_status.items()):
            if isinstance(value, int):
                yield GaugeMetricFamily(f"pilechain_consensus_{name}", f"core: {name.replace('_', ' ')}", value)


def make_ops_app(ledger: LedgerReader, link: CoreLink, indexer: Indexer | None) -> web.Application:
    """The application of the operations listener."""

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reasons = await unready_reasons(ledger, link, indexer)
        body = msgspec.json.encode(Readiness(not reasons, reasons))
        return web.Response(body=body, status=503 if reasons else 200, content_type="application/json")

    async def metrics(_: web.Request) -> web.Response:
        with suppress(ClientError):  # without core there are still the edge's own figures
            await link.status()
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def version(_: web.Request) -> web.Response:
        return web.json_response({"name": "pilechain", "version": node.__version__})

    figures = EdgeFigures(link, indexer)

    async def registered(_: web.Application):  # type: ignore[no-untyped-def]  # an async generator, as aiohttp wants it
        REGISTRY.register(figures)
        yield
        REGISTRY.unregister(figures)

    app = web.Application()
    app.cleanup_ctx.append(registered)
    for path, handler in (("/livez", livez), ("/readyz", readyz), ("/metrics", metrics), ("/version", version)):
        app.router.add_get(path, handler)
    return app
