"""Core's own calls over a vote that has made another contract of the one that it calls."""

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import capture_logs

from contracts.compiler.compiler import compile_source
from contracts.genesis import ContractSetup, genesis_state
from contracts.memory import MemoryState
from contracts.numbers import GOVERNANCE
from ledger.codec import encode
from node.clock import ChainClock
from node.core.duties import Duties, OwnCall
from node.library import library, text_of
from tests.consortium import consortium, genesis, signer


class Snapshot(MemoryState):
    """A state as the store gives it."""

    height = 0

    def locate(self, transaction_id: bytes) -> None:
        """Nothing is sealed."""


def duties_on(text: str, submitted: list[bytes]) -> Duties:
    """A member's duties on a chain with such a governance contract."""
    other = ContractSetup(GOVERNANCE, encode(compile_source(text)), text)
    setup = replace(consortium(), contracts=tuple(other if each.number == GOVERNANCE else each for each in library()))
    snapshot = Snapshot(genesis_state(genesis(setup)))

    @contextmanager
    def opened():
        yield snapshot

    async def submit(raws: list[bytes]) -> list[tuple[str, str]]:
        submitted.extend(raws)
        return [("", "") for _ in raws]

    some: Any = SimpleNamespace(snapshot=opened, submit=submit)
    return Duties(
        "SGCC", bytes(32), ChainClock(0, 0, 1), None, signer("SGCC"), some, some, some, structlog.get_logger()
    )


CALL = "def register_vote_key(vote_key: PublicKey, proof: Signature) -> None:"


@pytest.mark.parametrize(
    ("old", "new", "sent"),
    [
        (CALL, CALL, 1),
        ('Contract("governance"', 'Contract("council"', 1),
        (CALL, CALL.replace("register_vote_key", "register_key"), 0),
        (CALL, CALL.replace("proof: Signature", "proof: Signature, more: U32"), 0),
    ],
    ids=["as ever", "another name", "another method", "another argument"],
)
async def test_F20_a_vote_that_changes_core_s_own_calls_stops_no_core(old, new, sent):
    assert old in text_of("governance")
    submitted: list[bytes] = []
    duties = duties_on(text_of("governance").replace(old, new), submitted)
    duties._calls["a key"] = OwnCall("register_vote_key", {"vote_key": signer("v").public_key, "proof": bytes(64)})
    with capture_logs() as logs:
        await duties.tick()
    assert len(submitted) == sent
    assert [entry["event"] for entry in logs] == ["own_call_impossible"] * (1 - sent)
