"""F20: a contract of an outside author is installed and changed by vote; old blocks run by the code of then."""

import pytest

from contracts import executor
from contracts.abi import GOVERNANCE_GAS_LIMIT, abi_at
from contracts.codes import Code as HostCode
from contracts.compiler.compiler import compile_source
from contracts.contract import Business, Role
from contracts.deployment import CODES, NUMBER_MAX, deployments_of, ruling
from contracts.memory import MemoryState
from contracts.vm.link import Linked
from contracts.vm.program import code_hash
from contracts.vm.verifier import verify
from ledger.block import Receipt
from ledger.codec import encode
from ledger.errors import ClientError
from ledger.transaction import Branch
from node.cli.call_text import parse_call
from node.library import NUMBERS
from tests.consortium import HOUR, Call, Chain
from tests.oracles.codes import Code
from tests.unit.test_contract_language import tutorial

NUMBER = 9
FEEDER = tutorial()
DAY = 24 * HOUR
VOTERS = ("Regulator", "Lab", "StarCharge", "Teld")
"""With the proposer, two thirds of six and a regulator."""


def code_of(text: str) -> bytes:
    return encode(compile_source(text))


def governance(sender: str, method: str, **fields: object) -> Call:
    """A call of governance, with its gas."""
    return Call(sender, "governance", method, fields, {"gas_limit": GOVERNANCE_GAS_LIMIT})


def propose(chain: Chain, text: str, *, number: int = NUMBER, from_height: int = 0, sender: str = "SGCC") -> Receipt:
    """Propose a code."""
    fields = {"number": number, "code": code_of(text), "source": text, "from_height": from_height}
    return chain.block(governance(sender, "propose_contract", **fields))[0]


def install(chain: Chain, text: str, *, from_height: int = 0, number: int = NUMBER) -> Receipt:
    """Have a code installed; the deciding receipt."""
    receipt = propose(chain, text, from_height=from_height, number=number)
    assert receipt.code == 0, receipt
    for voter in VOTERS[:3]:
        last = chain.block(governance(voter, "approve", proposal=receipt.call_id))[0]
        assert last.code == 0, last
    return last


def call(sender: str, method: str, *values: object, text: str = FEEDER) -> Call:
    """A call of the feeder contract."""
    program = verify(code_of(text)).program
    declared = next(each for each in program.methods if each.name == method)
    args = encode(Linked(verify(code_of(text)), NUMBER).args_of(declared)(*values))
    changes = {"contract": NUMBER, "method": method, "args": args, "branch": Branch.SERVICE}
    return Call(sender, "money", "withdraw", {"amount_fen": 1}, changes)


@pytest.fixture
def chain() -> Chain:
    """A chain with the tutorial's contract."""
    chain = Chain()
    assert [event.name for event in install(chain, FEEDER).events] == [
        "governance.approved",
        "governance.installed",
        "governance.decided",
    ]
    return chain


def test_F20_an_installed_contract_works_and_its_schedule_runs(chain):
    until_ms = chain.now_ms + HOUR
    (announced,) = chain.block(call("Grid", "announce", "F1", 500_000, until_ms))
    assert (announced.code, announced.events[0].name) == (0, "feeder.announced")
    receipts = chain.block(call("SGCC", "confirm", "F1"), call("SGCC", "confirm", "F1"), call("Teld", "confirm", "F2"))
    assert [receipt.code for receipt in receipts] == [0, 9004, 9001]
    assert chain.block(call("SGCC", "announce", "F1", 1, until_ms))[0].code == HostCode.ROLE_MISSING
    assert chain.block(call("SGCC", "end", "F1"))[0].code == HostCode.METHOD_INTERNAL
    (ended,) = chain.block(after_ms=2 * HOUR)
    assert (ended.code, ended.events[0].name) == (0, "feeder.ended")


def test_F20_before_its_height_a_contract_is_not_there_and_the_text_lies_beside_the_code():
    chain = Chain()
    height = 10
    install(chain, FEEDER, from_height=height)
    stored = CODES.read(chain.state, code_hash(code_of(FEEDER)))
    assert stored is not None
    assert code_of(stored.source) == stored.code == code_of(FEEDER)
    while chain.height < height - 1:
        assert chain.block(call("SGCC", "confirm", "F1"))[0].code == HostCode.CONTRACT_UNKNOWN
    assert chain.block(call("SGCC", "confirm", "F1"))[0].code == 9001


def test_F20_an_upgrade_rules_from_its_height_and_old_blocks_run_by_the_old_code(chain):
    chain.block(call("Grid", "announce", "F1", 500_000, chain.now_ms + HOUR))
    check = "    require(until_ms > block.time_ms"
    stricter = FEEDER.replace(check, f"    require(limit_w >= 1_000, Code.NOTICE_PAST)\n{check}")
    before = MemoryState(chain.state.entries)
    small = chain.transaction(call("Grid", "announce", "F2", 5, chain.now_ms + HOUR))
    old = executor.BlockInput(bytes(32), chain.height + 1, chain.now_ms + 1, "SGCC", (small,))
    then = executor.run(before, old)
    install(chain, stricter)
    assert chain.block(call("Grid", "announce", "F2", 5, chain.now_ms + HOUR))[0].code == 9002
    assert chain.block(call("SGCC", "confirm", "F1"))[0].code == 0, "records of the old code are the new one's"
    again = executor.run(before, old)
    assert (again.receipts, again.changes) == (then.receipts, then.changes)
    assert ruling(deployments_of(chain.state), chain.height + 1)[NUMBER] == code_hash(code_of(stricter))


def test_F20_what_the_verifier_refuses_is_not_even_proposed():
    chain = Chain()
    for code in (b"\x00", code_of(FEEDER)[:-1], code_of(FEEDER) + b"\0"):
        fields = {"number": NUMBER, "code": code, "source": "", "from_height": 0}
        assert chain.block(governance("SGCC", "propose_contract", **fields))[0].code == HostCode.CODE_REFUSED
    assert len(dict(CODES.scan(chain.state))) == len(NUMBERS), "those of genesis"


def test_F20_a_new_version_keeps_its_tables(chain):
    other = FEEDER.replace("limit_w: U32\n    until_ms", "limit_w: U63\n    until_ms", 1)
    assert other != FEEDER
    assert propose(chain, other).code == HostCode.LAYOUT_CHANGED
    assert propose(chain, other, number=NUMBER + 1).code == 0, "another contract has records of its own"


def test_F20_a_code_whose_proposal_lapses_is_forgotten():
    chain = Chain()
    assert propose(chain, FEEDER).code == 0
    name = code_hash(code_of(FEEDER))
    assert CODES.read(chain.state, name) is not None
    chain.block(after_ms=8 * 24 * HOUR)
    assert CODES.read(chain.state, name) is None


def test_F20_only_governance_reaches_terms_and_codes():
    text = FEEDER.replace(
        "    return digest(utf8(feeder))", "    drop_code(digest(utf8(feeder)))\n    return digest(utf8(feeder))"
    )
    chain = Chain()
    install(chain, text)
    receipt = chain.block(call("Grid", "announce", "F1", 5, chain.now_ms + HOUR, text=text))[0]
    assert receipt.code == HostCode.NOT_GOVERNANCE


def test_F20_versions_that_wait_keep_their_tables_too(chain):
    """A version is held to the one that it takes over from, be that one in force or still to come."""
    more = FEEDER.replace("ANNOUNCED: Event", 'OTHERS: Table[Name, Announced] = table("o")\nANNOUNCED: Event', 1)
    other = more.replace("OTHERS: Table[Name, Announced]", "OTHERS: Table[Name, Ended]")
    first, second = chain.height + 50, chain.height + 100
    install(chain, more, from_height=first)
    proposed = propose(chain, other, from_height=second)
    assert proposed.code == 0, "against the one in force there is nothing to say"
    codes = [chain.block(governance(voter, "approve", proposal=proposed.call_id))[0].code for voter in VOTERS[:3]]
    assert codes == [0, 0, HostCode.LAYOUT_CHANGED], "but records of the one that waits would be misread"


def test_F20_the_executor_s_own_number_and_those_too_large_for_codes_take_no_contract():
    chain = Chain()
    for number in (0, NUMBER_MAX + 1, 2**32 - 1):
        assert propose(chain, FEEDER, number=number).code == HostCode.NUMBER_INVALID
    assert 1000 * NUMBER_MAX + 999 < 2**32, "a receipt's code has 32 bits"


def test_F20_who_may_send_an_installed_method_the_regulator_changes(chain):
    permit = {"contract": NUMBER, "method": "confirm", "business": Business.LOAD, "roles": (Role.LAB,)}
    assert chain.call("Regulator", "identity.permit", **permit | {"method": "end"}).code == Code.PERMISSION_UNKNOWN
    assert chain.block(call("SGCC", "confirm", "F1"))[0].code == 9001
    assert chain.call("Regulator", "identity.permit", **permit).code == 0
    assert chain.block(call("SGCC", "confirm", "F1"))[0].code == HostCode.ROLE_MISSING
    assert chain.block(call("Lab", "confirm", "F1"))[0].code == 9001


def test_F20_the_command_line_takes_no_installed_contract_for_another_of_its_name(chain):
    install(chain, FEEDER.replace('Contract("feeder"', 'Contract("money"'), number=NUMBER + 1)
    install(chain, FEEDER, number=NUMBER + 2)
    found = abi_at(chain.state, chain.height + 1)
    assert parse_call(found, "9", "confirm", ["--feeder", "F1"]).contract == NUMBER
    with pytest.raises(ClientError, match="several contracts are called feeder"):
        parse_call(found, "feeder", "confirm", ["--feeder", "F1"])
    with pytest.raises(ClientError, match="money has no method confirm"):
        parse_call(found, "money", "confirm", ["--feeder", "F1"])


def test_F20_a_code_that_two_propose_outlives_the_first_proposal():
    chain = Chain()
    first = propose(chain, FEEDER)
    chain.now_ms += 6 * DAY
    second = propose(chain, FEEDER, sender="Teld")
    assert first.code == second.code == 0
    chain.block(after_ms=2 * DAY)
    assert CODES.read(chain.state, code_hash(code_of(FEEDER))) is not None, "the first has lapsed, the second waits"
    for voter in ("SGCC", "Lab", "Regulator"):
        last = chain.block(governance(voter, "approve", proposal=second.call_id))[0]
    assert "governance.installed" in [event.name for event in last.events]


def test_F20_nobody_gives_another_s_code_a_text_of_its_own():
    chain = Chain()
    fields = {"number": NUMBER, "code": code_of(FEEDER), "from_height": 0}
    assert chain.block(governance("Teld", "propose_contract", source="# harmless", **fields))[0].code == 0
    assert propose(chain, FEEDER).code == HostCode.TEXT_DIFFERS
    chain.block(after_ms=8 * DAY)
    assert propose(chain, FEEDER).code == 0, "the misleading text has lapsed"


def test_F20_a_new_version_keeps_its_events(chain):
    other = FEEDER.replace("class Ended(Struct):", "class Ended(Struct):\n    why: U8", 1)
    other = other.replace("Ended(feeder, notice.seen_by)", "Ended(1, feeder, notice.seen_by)")
    assert propose(chain, other).code == HostCode.LAYOUT_CHANGED
    more = FEEDER.replace('event("feeder.ended")', 'event("feeder.over")')
    assert propose(chain, more).code == HostCode.LAYOUT_CHANGED, "and none is left out"


def test_F20_layouts_that_nobody_could_write_out_are_compared_at_once():
    """32 lists of the same struct in each of sixteen levels: written out they would be 32 ** 16."""
    levels = "class S0(Struct):\n    f: U8\n\n\n"
    for level in range(1, 15):
        fields = "".join(f"    f{n}: Annotated[List[S{level - 1}], Size(0, 0)]\n" for n in range(32))
        levels += f"class S{level}(Struct):\n{fields}\n\n"
    text = FEEDER.replace("class Notice(Struct):", f"{levels}class Notice(Struct):", 1)
    text = text.replace("ANNOUNCED: Event", 'WIDE: Table[Name, S14] = table("w")\nANNOUNCED: Event', 1)
    chain = Chain()
    assert propose(chain, text).code == 0
    install(chain, text, number=NUMBER + 1)
    assert propose(chain, text, number=NUMBER + 1).code == 0
