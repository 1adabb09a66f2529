"""F20: the contracts of genesis are changed by vote like any other, and none of it can stop the chain."""

from typing import Any

import pytest
from msgspec.structs import replace

from contracts import abi, views
from contracts.abi import abi_at
from contracts.codes import Code as HostCode
from contracts.compiler.compiler import compile_source
from contracts.genesis import ContractSetup, consortium_of, genesis_state
from contracts.numbers import MONEY
from ledger.block import Receipt
from ledger.codec import encode
from ledger.errors import ClientError, PeerError
from node.library import NUMBERS, library, text_of
from tests.consortium import Call, Chain, consortium, genesis, key
from tests.oracles.codes import Code

VOTERS = ("Regulator", "Lab", "StarCharge")
"""With the proposer, two thirds of six and a regulator."""
PAY: dict[str, Any] = {"to": key("d1"), "amount_fen": 1, "memo": 0}


def changed(name: str, old: str, new: str) -> str:
    """Text of a contract of the library with a piece replaced."""
    text = text_of(name)
    assert text.count(old) == 1, old
    return text.replace(old, new)


def decided(chain: Chain, name: str, text: str) -> Receipt:
    """Another version of a contract of the library, proposed and approved; the last receipt."""
    fields = {"number": NUMBERS[name], "code": encode(compile_source(text)), "source": text, "from_height": 0}
    more_gas = {"gas_limit": 40_000_000}
    receipt = chain.block(Call("SGCC", "governance", "propose_contract", fields, more_gas))[0]
    for voter in VOTERS:
        if receipt.code == 0:
            call = Call(voter, "governance", "approve", {"proposal": proposal_of(chain)}, more_gas)
            receipt = chain.block(call)[0]
    return receipt


def proposal_of(chain: Chain) -> bytes:
    """The one that waits."""
    (identity,) = views.proposals(chain.state)
    return identity


def test_F20_a_contract_of_genesis_is_changed_by_vote():
    chain = Chain()
    assert chain.call("d0", "money.pay", **PAY).code == 0
    check = "    require(payer.balance_fen >= amount_fen, Code.OVERSPENT)\n"
    stricter = changed("money", check, "    require(memo > 0, Code.AMOUNT_ZERO)\n" + check)
    assert decided(chain, "money", stricter).code == 0
    assert chain.call("d0", "money.pay", **PAY).code == Code.AMOUNT_ZERO
    assert chain.call("d0", "money.pay", **PAY | {"memo": 1}).code == 0
    assert views.audit(chain.state) == []


def test_F20_the_contract_that_decides_is_changed_by_its_own_vote():
    chain = Chain()
    text = changed("governance", "require(count < PROPOSALS_MAX,", "require(count < 1,")
    assert decided(chain, "governance", text).code == 0
    assert chain.call("SGCC", "governance.propose_suspend", company="Teld").code == 0
    assert chain.call("SGCC", "governance.propose_suspend", company="Teld").code == Code.PROPOSALS_TOO_MANY


REWARD = "def reward(bookkeeper: Name, payer: Name) -> None:\n"


@pytest.mark.parametrize(
    "instead",
    [
        REWARD.replace("reward", "rewarded"),
        REWARD.replace("payer: Name", "payer: Name, more: U32"),
        REWARD + "    require(payer == bookkeeper, Code.PAY_SELF)\n",
    ],
    ids=["none", "another", "failing"],
)
def test_F20_a_version_of_money_that_pays_no_bookkeeper_stops_nothing(instead):
    """The executor calls `money.reward` itself: whatever a vote made of that, blocks go on."""
    doc = '    """The executor, after'
    chain = Chain()
    text = text_of("money")
    before, after = text.split(REWARD)
    docstring, body = after.split("\n", 1)
    assert docstring.startswith(doc)
    assert decided(chain, "money", before + instead.replace(":\n", f":\n{docstring}\n", 1) + body).code == 0
    rewards = views.rewards_fen(chain.state)
    assert chain.call("d0", "money.pay", **PAY).code == 0
    assert views.rewards_fen(chain.state) == rewards
    assert views.audit(chain.state) == []


def test_F20_a_version_may_not_read_the_records_by_other_types():
    other = changed("money", "block_reward_fen: U63", "block_reward_fen: U32")
    assert decided(Chain(), "money", other).code == HostCode.LAYOUT_CHANGED


def test_F20_calls_and_receipts_are_told_in_the_words_of_the_version_that_ruled():
    chain = Chain()
    assert decided(chain, "money", changed("money", "memo: U32)", "memo: Annotated[int, Range(0, 9)])")).code == 0
    old, new = abi_at(chain.state, 1), abi_at(chain.state, chain.height + 1)
    old.encode_call("money", "pay", **PAY | {"memo": 10})
    with pytest.raises(ClientError, match="args-malformed"):
        new.encode_call("money", "pay", **PAY | {"memo": 10})


@pytest.mark.parametrize(
    ("contracts", "reason"),
    [
        ((*library()[:5], library()[4]), "two contracts have the number 5"),
        ((*library()[:5], replace(library()[5], number=9)), "contracts 1, 2, 3, 4, 5, 6 are needed"),
    ],
)
def test_F20_a_genesis_without_the_contracts_that_a_node_reads_is_refused(contracts, reason):
    with pytest.raises(ClientError, match=reason):
        consortium_of(genesis(replace(consortium(), contracts=contracts)))


def test_F20_a_genesis_whose_records_a_node_would_misread_is_refused():
    text = changed("money", "block_reward_fen: U63", "block_reward_fen: U32")
    other = ContractSetup(MONEY, encode(compile_source(text)), text)
    setup = tuple(other if each.number == MONEY else each for each in library())
    with pytest.raises(ClientError, match="contract 2 has not the tables and events that this release reads: SETTINGS"):
        genesis_state(genesis(replace(consortium(), contracts=setup)))


def test_F20_a_genesis_with_a_code_that_the_verifier_refuses_is_refused():
    first, *others = library()
    with pytest.raises(PeerError, match="code-refused"):
        consortium_of(genesis(replace(consortium(), contracts=(replace(first, code=first.code[:-1]), *others))))


def test_F20_more_contracts_than_are_kept_described_are_described_all_the_same(monkeypatch):
    monkeypatch.setattr(abi, "DESCRIBED_MAX", 3)
    state = Chain().state
    first = abi.abi_at(state, 1)
    abi._abis.clear()
    abi._described.clear()
    again = abi.abi_at(state, 1)
    assert [each.name for each in again.contracts] == [each.name for each in first.contracts] == list(NUMBERS)
    assert len(abi._described) <= 3
