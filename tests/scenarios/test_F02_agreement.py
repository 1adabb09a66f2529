"""F02: the normal case of PBFT, for every number of members."""

import pytest

from consensus.messages import Commit, Message, Prepare, PrePrepare, Transactions
from ledger.terms import K
from ledger.validators import fault_limit, quorum
from tests.sim.world import Plan, World

SIZES = (4, 5, 6, 7, 8, 10, 13)


def test_F02_any_two_quorums_share_an_honest_member():
    assert [quorum(n) for n in SIZES] == [3, 4, 4, 5, 6, 7, 9]
    for n in range(4, 101):
        f = fault_limit(n)
        assert 2 * quorum(n) - n > f, "two quorums could disagree"
        assert quorum(n) <= n - f, "f mute members could stop the chain"


@pytest.mark.parametrize("n", SIZES)
def test_F02_transactions_are_sealed_alike_on_all_nodes(n):
    world = World(n, Plan(nodes=n))
    for _ in range(5):
        world.submit(count=3)
        world.run(200)
    assert world.run_until(world.is_settled, 2_000)
    assert len(world.checker.placed) == 15
    world.check_stores()


@pytest.mark.parametrize("n", SIZES)
def test_F02_a_quorum_decides_and_one_less_does_not(n):
    world = World(n, Plan(nodes=n))
    names = list(world.nodes)
    for name in names[quorum(n) :]:
        world.nodes[name].crash()
    world.submit(to=names[0], count=3)
    assert world.run_until(lambda: world.checker.sealed > 0, 60_000)

    world.nodes[names[1]].crash()
    world.run(1_000)
    sealed = world.checker.sealed
    world.submit(to=names[0], count=3)
    world.run(30_000)
    assert world.checker.sealed == sealed, "fewer than a quorum sealed a block"


def test_F02_a_vote_is_on_disk_before_it_is_sent():
    world = World(1, Plan(nodes=4))
    sent: list[type] = []

    def watch(_sender: str, _receiver: str, message: Message) -> list[Message]:
        sent.append(type(message))
        return [message]

    world.network.adversary = watch
    world.submit(count=1)
    world.run(500)
    assert {PrePrepare, Prepare, Commit} <= set(sent)  # the checker raises for a vote sent before it is on disk


def test_F02_agreement_overlaps_execution_within_k_blocks():
    world = World(2, Plan(nodes=4))
    for node in world.nodes.values():
        node.execution_ms = 10_000
    for _ in range(30):
        world.submit(count=1)
        world.run(100)
    assert world.checker.sealed == 0
    assert len(world.checker.hashes) == K, "no proposal is accepted above last sealed + K"

    world.run(5_000)
    statuses = [world.status(name) for name in world.nodes]
    assert {status.view for status in statuses} == {0}, "overload alone changes no view"


def test_F02_bodies_that_gossip_lost_are_fetched():
    world = World(3, Plan(nodes=4))
    world.network.adversary = lambda _a, _b, message: [] if isinstance(message, Transactions) else [message]
    (digest,) = world.submit(to="Bohui")  # the primary of height 1
    assert world.run_until(world.is_settled, 3_000)
    assert world.checker.placed[digest] == 1
