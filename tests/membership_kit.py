"""What tests of governance do again and again: decide, register keys, admit companies, bring evidence."""

from typing import Any

from msgspec.structs import replace

from contracts import digests, views
from contracts.abi import GOVERNANCE_GAS_LIMIT
from contracts.contract import Role
from ledger.block import Receipt
from ledger.evidence import Equivocation, Phase, Statement, equivocation, statement_digest
from ledger.terms import DECISION_DELAY
from tests.consortium import HOUR, Call, Chain, found, key, signer

DAY = 24 * HOUR
CHAIN_ID = bytes(32)
VOTERS = ("SGCC", "Grid", "Lab", "Regulator")
"""Two thirds of the six companies, the regulator among them."""


def governance(sender: str, method: str, /, **fields: Any) -> Call:
    """A call of governance with the gas that one has."""
    return Call(sender, "governance", method, fields, {"gas_limit": GOVERNANCE_GAS_LIMIT})


def propose(chain: Chain, sender: str, method: str, /, **fields: Any) -> Receipt:
    """Make a proposal; its receipt."""
    return chain.block(governance(sender, method, **fields))[0]


def decide(chain: Chain, voters: tuple[str, ...], method: str, **fields: Any) -> list[int]:
    """Have the first propose and the others approve; the codes that come of it."""
    proposed = propose(chain, voters[0], method, **fields)
    return [proposed.code, *(approve(chain, voter, proposed) for voter in voters[1:])]


def approve(chain: Chain, voter: str, proposed: Receipt) -> int:
    """Approve what a receipt proposed; the code."""
    return chain.block(governance(voter, "approve", proposal=proposed.call_id))[0].code


def vote_key_call(company: str, label: str, method: str = "register_vote_key", sender: str = "") -> Call:
    """Registration of a vote key, as its node would make it."""
    holder = signer(label)
    proof = holder.sign(digests.vote_key_digest(CHAIN_ID, company, holder.public_key))
    return governance(sender or company, method, vote_key=holder.public_key, proof=proof)


def vote_key(chain: Chain, company: str, label: str, method: str = "register_vote_key", sender: str = "") -> int:
    """Register a vote key; the code."""
    return chain.block(vote_key_call(company, label, method, sender))[0].code


def set_node(chain: Chain, company: str, label: str, address: str = "here:26656") -> int:
    """A company names its node, with the node's own word; the code."""
    holder = signer(label)
    node_key = holder.public_key[1:]
    proof = holder.sign(digests.node_key_digest(CHAIN_ID, company, node_key))
    return chain.block(governance(company, "set_node", node_key=node_key, address=address, proof=proof))[0].code


def settle_in(chain: Chain) -> None:
    """Let K + 1 blocks pass: what was decided rules."""
    for _ in range(DECISION_DELAY):
        chain.block()


def votes(chain: Chain) -> list[str]:
    """Who votes on the next block."""
    return [member.name for member in chain.last.timeline[0].validators.validators]


def vote_keys(chain: Chain) -> dict[str, bytes]:
    """Company → the vote key that is decided."""
    return {member.name: member.vote_key for member in chain.last.timeline[-1].validators.validators}


def company_keys(chain: Chain, company: str) -> tuple[bytes, ...]:
    """The keys of a company."""
    return found(views.company(chain.state, company)).keys


def newcomer(name: str = "Newco", **changes: Any) -> dict[str, Any]:
    """Arguments of a proposal to admit a company."""
    fields = {"company": name, "display_name": name, "roles": (Role.OPERATOR,), "company_key": key(name)}
    return fields | changes


def admit(chain: Chain, name: str = "Newco") -> None:
    """A company joins, says which node is its own, and registers a vote key."""
    assert decide(chain, VOTERS, "propose_admit", **newcomer(name)) == [0] * 4
    assert set_node(chain, name, f"node {name}") == 0
    assert vote_key(chain, name, f"vote {name}") == 0


def statement(label: str, content: bytes, chain_id: bytes = CHAIN_ID, **changes: Any) -> Statement:
    """A vote of a key, by default a PREPARE of height 7 and view 0."""
    unsigned = replace(Statement(Phase.PREPARE, bytes(32), 7, 0, content, bytes(64)), **changes)
    return replace(unsigned, signature=signer(label).sign(statement_digest(chain_id, unsigned)))


def evidence(label: str = "vote Teld", **changes: Any) -> Equivocation:
    """Two votes of one key for one height, view and phase."""
    one, other = (statement(label, bytes([content]) * 32, **changes) for content in (1, 2))
    return equivocation(key(label), one, other)


def accuse(chain: Chain, proof: Equivocation, accuser: str = "SGCC") -> int:
    """Bring evidence; the code."""
    return chain.call(accuser, "governance.accuse", evidence=proof).code
