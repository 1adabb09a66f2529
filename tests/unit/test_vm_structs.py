"""F20: structs, nothing, decoding, and gas, by both engines."""

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from contracts.codes import Code
from contracts.vm import tree
from contracts.vm.gas import SCHEDULE_1, block_gas
from contracts.vm.generator import functions
from contracts.vm.link import Linked
from contracts.vm.operators import Relation
from contracts.vm.scope import Scope
from contracts.vm.tree import Expr
from contracts.vm.types import Int
from contracts.vm.verifier import verify
from ledger.codec import encode
from tests.vm.kit import (
    CELL,
    DIGIT,
    EMPTY,
    HOLDER,
    I64,
    NAMED,
    PAIR,
    Bool,
    Bytes,
    List,
    Optional,
    Struct,
    Text,
    add,
    evaluated,
    function,
    get,
    num,
    pair,
    program,
    ran,
    run,
)

A, B, C = get(0), get(1), get(2)
FALSE, TRUE = tree.Const(False), tree.Const(True)
DIGITS = List(DIGIT, 0, 6)


def text(value: str) -> Expr:
    """A text."""
    return tree.Const(value)


def digits(*values: int) -> Expr:
    """A list of numbers."""
    return tree.ListOf(DIGIT, tuple(num(value) for value in values))


# ── structs ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F20_structs_copy():
    body = (
        tree.Set(1, get(0)),
        tree.Set(1, tree.With(1, (tree.Change(0, num(9)), tree.Change(1, text("new"))))),
        tree.Return((tree.Make(HOLDER, (A, B)),)),
    )
    both = ran(*body, types=(Struct(PAIR), Struct(PAIR)), result=Struct(HOLDER), args=([1, "old"],))
    assert both.value == [[1, "old"], [9, "new"]]
    one = tree.Set(0, tree.With(0, (tree.Change(1, text("new")),)))
    assert ran(one, tree.Return((A,)), types=(Struct(PAIR),), result=Struct(PAIR), args=([3, "old"],)).value == [
        3,
        "new",
    ]
    assert evaluated(tree.Make(EMPTY, ()), Struct(EMPTY)).value == []
    assert (
        evaluated(tree.Field(tree.Field(A, 0), 1), Text(0, 9), (Struct(HOLDER),), ([[1, "deep"], None],)).value
        == "deep"
    )


def test_F20_nothing_is_a_value():
    maybe = (Optional(PAIR),)
    for value in (None, [3, "there"]):
        assert evaluated(tree.IsAbsent(A), Bool(), maybe, (value,)).value is (value is None)
        assert evaluated(tree.OrElse(A, pair(5)), Struct(PAIR), maybe, (value,)).value == (value or [5, ""])
        assert evaluated(tree.OrElse(A, tree.Fail(9)), Struct(PAIR), maybe, (value,)).code == (0 if value else 40_009)
        assert evaluated(tree.OrElse(A, tree.Absent(PAIR)), Optional(PAIR), maybe, (value,)).value == value
        found = evaluated(tree.Present(A), Struct(PAIR), maybe, (value,))
        assert (found.value, found.code) == (value, 0 if value else Code.VALUE_MISSING)
    assert evaluated(tree.Absent(PAIR), Optional(PAIR)).value is None


DECODED: dict[str, tuple[bytes, object]] = {
    "its encoding": (encode([3, "three"]), [3, "three"]),
    "of greatest values": (encode([9, "a" * 9]), [9, "a" * 9]),
    "a number too large": (encode([10, "three"]), None),
    "a text too long": (encode([3, "a" * 10]), None),
    "a fraction": (encode([3.0, ""]), None),
    "a truth value": (encode([True, ""]), None),
    "another type": (encode(["3", ""]), None),
    "a field too few": (encode([3]), None),
    "a field too many": (encode([3, "", 1]), None),
    "a longer number": (b"\x92\xcc\x03\xa0", None),
    "a longer length": (b"\x92\x03\xd9\x00", None),
    "a byte more": (encode([3, ""]) + b"\x00", None),
    "a byte less": (encode([3, "ab"])[:-1], None),
    "no UTF-8": (b"\x92\x03\xa1\xff", None),
    "nothing": (b"", None),
    "garbage": (b"\xc1\xc1", None),
    "lists without end": (b"\x91" * 40, None),
}


@pytest.mark.parametrize("data", DECODED)
def test_F20_decode_gives_a_struct_of_its_canonical_bytes_only(data):
    given, expected = DECODED[data]
    node = tree.Decode(PAIR, A)
    found = evaluated(node, Optional(PAIR), (Bytes(0, 40),), (given,))
    assert (found.value, found.code) == (expected, 0)
    less = evaluated(node, Optional(PAIR), (Bytes(0, 40),), (b"",))
    assert found.gas - less.gas == 8 * len(given) * 250 // 1000


# ── gas ───────────────────────────────────────────────────────────────────────────────────────────────────────────────


LOOPING = program(
    function(tree.Return((add(A, num(1)),)), types=(DIGIT,), params=1, result=I64, name="more"),
    function(
        tree.Set(1, num(0)),
        tree.Store(NAMED, (text("a"),), pair(3)),
        tree.Count(0, num(0), num(3), (tree.Set(1, tree.Call(0, (get(0),))),)),
        tree.While(tree.Compare(Relation.LT, B, num(5)), (tree.Set(1, add(B, num(1))),)),
        tree.For(0, digits(1, 2), (tree.If(tree.Compare(Relation.EQ, A, num(1)), (tree.Emit(0, pair(A)),), ()),)),
        tree.Set(2, tree.Concat(text("aa" * 30), text("b" * 30))),
        tree.Walk(NAMED, (), 3, (3,), 4, (tree.Set(1, tree.Field(get(4), 0)),)),
        tree.Store(CELL, (), tree.Make(HOLDER, (pair(1), tree.Load(NAMED, (text("a"),))))),
        tree.Return((B,)),
        types=(I64, I64, Text(0, 99), Text(0, 64), Struct(PAIR)),
        result=I64,
    ),
)


def test_F20_a_call_runs_out_of_gas_at_the_same_point_everywhere():
    whole = run(LOOPING)
    assert (whole.code, whole.value) == (0, 3)
    assert run(LOOPING, gas=whole.gas).value == 3
    for gas in {*range(0, whole.gas, 97), whole.gas - 1}:
        short = run(LOOPING, gas=gas)  # both engines, which agree on what is left
        assert (short.code, short.events, short.changes) == (Code.OUT_OF_GAS, (), {})


def test_F20_a_block_may_take_the_last_of_the_gas():
    made = program(function(tree.Return((num(1),)), result=I64))
    used = run(made).gas
    assert used == block_gas(SCHEDULE_1, made.functions[0].body)
    assert (run(made, gas=used).code, run(made, gas=used - 1).code) == (0, Code.OUT_OF_GAS)


def test_F20_blocks_pay_when_they_are_entered():
    costly = tree.Set(1, add(num(1), num(2)))
    for then, otherwise in (((costly,), ()), ((), (costly,)), ((), ()), ((costly,), (costly, costly))):
        choice = tree.If(A, then, otherwise)
        for flag in (False, True):
            block = then if flag else otherwise
            expected = block_gas(SCHEDULE_1, (choice,)) + (block_gas(SCHEDULE_1, block) if block else 0)
            assert ran(choice, types=(Bool(), I64), args=(flag,)).gas == expected


def test_F20_each_round_of_a_while_pays_for_the_next_condition():
    condition = tree.Compare(Relation.LT, A, num(3))
    body = (tree.Set(0, add(A, num(1))),)
    used = [ran(tree.While(condition, body), types=(I64,), args=(3 - rounds,)).gas for rounds in range(4)]
    again = block_gas(SCHEDULE_1, (), condition) - SCHEDULE_1.entry
    assert [after - before for before, after in pairwise(used)] == [block_gas(SCHEDULE_1, body) + again] * 3


def test_F20_the_kind_of_an_expression_is_found_once_however_deep_it_stands(monkeypatch):
    """Every level asks for the kind of what it binds: found anew each time, 60 KB of code took seconds to print."""
    asked = Counter[int]()
    found = Scope._kind

    def counted(scope: Scope, node: tree.Expr, depth: int) -> Any:
        asked[id(node)] += 1
        return found(scope, node, depth)

    checked = function(tree.Return((get(0),)), types=(Int(0, 255),), params=1, result=Int(-5, 300), name="f0")
    deep: tree.Expr = tree.Const(1)
    for _ in range(60):
        deep = tree.Call(0, (deep,))
    linked = Linked(verify(encode(program(checked, function(tree.Do(deep), name="f1")))), 9)
    monkeypatch.setattr(Scope, "_kind", counted)
    functions(linked)
    assert set(asked.values()) == {1}
