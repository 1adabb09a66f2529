"""The operations listener: alive, ready with reasons, figures."""

from aiohttp.test_utils import TestClient, TestServer

from node.edge.api.limits import RateLimit
from node.edge.ops import height_of_peers, make_ops_app
from tests.edge_kit import running_edge


def ops_app(edge):
    """The operations listener of an edge of four companies, of which one may lie."""
    return make_ops_app(edge.chain.store, edge.link, edge.indexer)


async def test_F50_ready_with_reasons(tmp_path):
    async with running_edge(tmp_path) as edge, TestClient(TestServer(ops_app(edge))) as ops:
        assert (await ops.get("/livez")).status == 200
        assert (await (await ops.get("/version")).json())["name"] == "pilechain"
        edge.core.peers = {"Teld": 10**12, "MetroLab": 0, "CityGrid": 0}  # one lies
        assert (await ops.get("/readyz")).status == 200

        edge.link.last_status["peers"] = {
            "Teld": 60,
            "MetroLab": 50,
            "CityGrid": 0,
        }  # as core told just now
        answer = await ops.get("/readyz")
        assert answer.status == 503
        assert (await answer.json())["reasons"] == ["not-synced: at height 0, peers at 50"]

        edge.link.last_status |= {"peers": {}, "connected": ["Teld"]}
        reasons = (await (await ops.get("/readyz")).json())["reasons"]
        assert reasons == ["not-connected: to 1 other members, a quorum needs 2"]

        edge.core.drop()
        await edge.client.get("/v1/blocks")
        reasons = (await (await ops.get("/readyz")).json())["reasons"]
        assert [reason.partition(":")[0] for reason in reasons] == ["core-unreachable"]


def test_F50_f_liars_never_make_a_node_look_behind():
    assert height_of_peers([10**12, 7, 5], weak_quorum=2) == 7
    assert height_of_peers([10**12, 10**12, 7, 5, 5, 5], weak_quorum=3) == 7
    assert height_of_peers([10**12], weak_quorum=2) == 0
    assert height_of_peers([-1, -1, -1], weak_quorum=2) == 0
    assert height_of_peers([], weak_quorum=1) == 0


async def test_F50_metrics_name_their_units(tmp_path):
    async with running_edge(tmp_path) as edge, TestClient(TestServer(ops_app(edge))) as ops:
        edge.chain.seal()
        await edge.indexed()
        await edge.get("/v1/blocks")
        text = await (await ops.get("/metrics")).text()
    assert "pilechain_sealed_height 1.0" in text
    assert "pilechain_indexed_height 1.0" in text
    assert "pilechain_consensus_view 0.0" in text
    assert 'pilechain_api_request_seconds_count{operation="listBlocks",status="200"}' in text


def test_F50_rate_limit_is_a_bucket_per_address():
    limit = RateLimit(10)
    assert sum(limit.allow("a", 0.0) for _ in range(100)) == 20
    assert limit.allow("b", 0.0)
    assert sum(limit.allow("a", 1.0) for _ in range(100)) == 10
