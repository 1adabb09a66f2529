"""The node's own types for tables of the library: the same tables, and the same types to the last bound."""

import msgspec
import pytest

from contracts.records.shapes import TABLES, misfits
from contracts.vm.program import Program
from contracts.vm.types import Int
from node.library import NUMBERS, program_of


@pytest.mark.parametrize("name", NUMBERS)
def test_every_table_of_the_node_has_the_types_of_the_library_s(name: str):
    assert misfits(NUMBERS[name], program_of(name)) == []


@pytest.mark.parametrize("name", NUMBERS)
def test_every_table_of_the_library_is_known_to_the_node_by_its_name(name: str):
    number = NUMBERS[name].to_bytes(4, "big")
    known = {TABLES[number + bytes([table.tag])][0] for table in program_of(name).tables}
    assert known == {table.name for table in program_of(name).tables}


def money_with(struct: str, **changes: object) -> Program:
    """The money contract with the first field of a struct changed."""
    program = program_of("money")
    place = next(place for place, each in enumerate(program.structs) if each.name == struct)
    first, *others = program.structs[place].fields
    changed = msgspec.structs.replace(
        program.structs[place], fields=(msgspec.structs.replace(first, **changes), *others)
    )
    return msgspec.structs.replace(program, structs=(*program.structs[:place], changed, *program.structs[place + 1 :]))


def test_another_bound_another_name_or_no_table_is_seen():
    assert misfits(NUMBERS["money"], money_with("PoolDebt", type=Int(0, 2**62))) == ["POOL_DEBTS"]
    assert misfits(NUMBERS["money"], money_with("Due", name="other")) == ["DUES"]
    assert misfits(NUMBERS["money"], msgspec.structs.replace(program_of("money"), tables=()))[0] == "WALLETS"
    assert misfits(900, program_of("money")) == []


def test_another_key_is_seen():
    program = program_of("money")
    first, *others = program.tables
    for key in ((), (Int(0, 255),), (*first.key, *first.key)):
        changed = msgspec.structs.replace(program, tables=(msgspec.structs.replace(first, key=key), *others))
        assert misfits(NUMBERS["money"], changed) == ["WALLETS"]


def test_an_event_of_sessions_with_other_types_is_seen():
    program = program_of("session")
    events = tuple(each for each in program.events if each.name != "session.opened")
    assert misfits(NUMBERS["session"], msgspec.structs.replace(program, events=events)) == ["session.opened"]
