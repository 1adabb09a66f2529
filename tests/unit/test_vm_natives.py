"""F20: what the host lends to governance alone: by the shape of the ledger's structs, and to no other contract."""

import pytest

from contracts.codes import Code
from contracts.numbers import GOVERNANCE
from contracts.vm import tree
from contracts.vm.functions import BY_NAME
from contracts.vm.native import NATIVES
from contracts.vm.program import FunctionDef, ImportDef, Program
from contracts.vm.tree import Expr
from ledger.codec import encode
from ledger.evidence import Equivocation
from ledger.genesis import Parameters
from ledger.terms import Observer, Terms
from ledger.validators import Validator, ValidatorSet
from tests.consortium import Chain
from tests.vm.kit import (
    Bool,
    Bytes,
    Int,
    List,
    Optional,
    Ran,
    Struct,
    Text,
    Type,
    function,
    get,
    num,
    program,
    reason,
    run,
)

TERMS, SET, VALIDATOR, OBSERVER, PARAMETERS, EVIDENCE = (
    NATIVES.type(each) for each in (Terms, ValidatorSet, Validator, Observer, Parameters, Equivocation)
)
HASH = Bytes(32, 32)


def field(node: Expr, wire: type, name: str) -> Expr:
    """A field of a struct of the ledger."""
    return tree.Field(node, wire.__struct_fields__.index(name))  # type: ignore[attr-defined]


def lent(name: str, *args: Expr) -> Expr:
    """A function of the host."""
    return tree.Host(BY_NAME[name], args)


def native(*functions: FunctionDef, **changes: object) -> Program:
    """A program that has the structs of the ledger."""
    return program(*functions, structs=tuple(NATIVES.structs), tables=(), events=(), **changes)


NOW = lent("present_terms")
VOTING = field(field(get(0), Terms, "validators"), ValidatorSet, "validators")
FOLLOWING, LIMITS = field(get(0), Terms, "observers"), field(get(0), Terms, "parameters")
NONE = tree.ListOf(VALIDATOR, ())


def governed(node: Expr, result: Type, *before: tree.Statement, number: int = GOVERNANCE) -> Ran:
    """What governance, or another contract, gets from the host in a chain of its own."""
    types: tuple[Type, ...] = (TERMS, Optional(EVIDENCE.struct))
    asked = native(function(*before, tree.Return((node,)), types=types, result=result))
    call = tree.Return((tree.Invoke(0, ()),))
    asking = native(function(call, result=result), imports=(ImportDef(number, "go", (), (result,)),))
    return run(asking, state=Chain().state, others=[(number, asked)], gas=10_000_000)


def test_F20_governance_sees_who_votes_and_decides():
    now = tree.Set(0, NOW)
    terms = governed(NOW, TERMS)
    assert terms.code == 0
    decided = governed(lent("decide", VOTING, FOLLOWING, LIMITS), TERMS, now)
    assert decided.code == 0
    place = Terms.__struct_fields__.index("validators")
    assert decided.value[place] == terms.value[place], "the same voters"
    assert decided.value[Terms.__struct_fields__.index("height")] > 1
    assert governed(lent("decide", NONE, FOLLOWING, LIMITS), TERMS, now).code == Code.OUT_OF_RANGE
    one_four_times = tree.ListOf(VALIDATOR, (tree.Index(VOTING, num(0)),) * 4)
    assert governed(lent("decide", one_four_times, FOLLOWING, LIMITS), TERMS, now).code == Code.OUT_OF_RANGE
    first = field(tree.Index(VOTING, num(0)), Validator, "node_key")
    assert governed(lent("is_known_node_key", first), Bool(), now).value is True
    assert governed(lent("is_known_node_key", tree.Blob(bytes(32))), Bool()).value is False


OF_GOVERNANCE: dict[str, tuple[Expr, Type]] = {
    "present_terms": (NOW, TERMS),
    "is_known_node_key": (lent("is_known_node_key", tree.Blob(bytes(32))), Bool()),
    "keep_code": (lent("keep_code", num(9), tree.Blob(b"\0"), tree.Const("")), HASH),
    "install_code": (lent("install_code", num(9), tree.Blob(bytes(32)), num(5)), Int(0, 2**63 - 1)),
    "drop_code": (lent("drop_code", tree.Blob(bytes(32))), Bool()),
}


@pytest.mark.parametrize("name", OF_GOVERNANCE)
def test_F20_no_other_contract_is_lent_what_is_for_governance(name):
    node, result = OF_GOVERNANCE[name]
    assert governed(node, result, number=41).code == Code.NOT_GOVERNANCE
    assert governed(node, result).code != Code.NOT_GOVERNANCE


def test_F20_any_contract_may_ask_for_a_method():
    asked = lent("is_method", num(41), tree.Const("go"))
    assert governed(asked, Bool(), number=41).value is True
    assert governed(lent("is_method", num(41), tree.Const("gone")), Bool(), number=41).value is False


REFUSED: dict[str, tuple[Program, str]] = {
    "no such struct": (program(function(tree.Do(NOW))), "no struct has the shape of what present_terms gives"),
    "a number for a struct": (
        native(function(tree.Do(lent("proves_equivocation", num(1))))),
        "a number from 1 to 1 where proves_equivocation takes a struct of the ledger",
    ),
    "a failure for a struct": (
        native(function(tree.Do(lent("proves_equivocation", tree.Fail(1))))),
        "a failure where proves_equivocation takes",
    ),
    "another struct": (
        native(function(tree.Do(lent("proves_equivocation", get(0))), types=(TERMS,), params=1)),
        "where proves_equivocation takes a struct of the ledger",
    ),
    "a list of other structs": (
        native(function(tree.Do(lent("decide", FOLLOWING, FOLLOWING, LIMITS)), types=(TERMS,), params=1)),
        "where decide takes a struct of the ledger",
    ),
    "too few": (native(function(tree.Do(lent("decide")))), "0 values for decide, which takes 3"),
    "a text for a hash": (native(function(tree.Do(lent("drop_code", tree.Const(""))))), "a text of 0 to 0"),
}


@pytest.mark.parametrize("flaw", REFUSED)
def test_F20_structs_of_the_ledger_have_their_shape(flaw):
    made, why = REFUSED[flaw]
    assert why in reason(encode(made))


def test_F20_structs_of_the_ledger_have_bounds():
    assert NATIVES.structs[VALIDATOR.struct].name == "Validator"
    kinds = {type(each.type) for struct in NATIVES.structs for each in struct.fields}
    assert {Int, Bytes, Text, List, Struct} <= kinds
