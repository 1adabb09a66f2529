"""F20: numbers, truth values, bindings, and rows, by both engines."""

from collections.abc import Callable
from typing import Any

import pytest

from contracts.codes import Code
from contracts.vm import tree
from contracts.vm.functions import BY_NAME
from contracts.vm.operators import Op, Relation
from contracts.vm.tree import Expr, Statement
from ledger.codec import encode
from tests.vm.kit import (
    DIGIT,
    I64,
    PAIR,
    Bool,
    Bytes,
    Int,
    List,
    Struct,
    Text,
    Type,
    Wide,
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


# ── numbers ───────────────────────────────────────────────────────────────────────────────────────────────────────────

ARITHMETIC: dict[Op, Callable[[int, int], int]] = {
    Op.ADD: lambda a, b: a + b,
    Op.SUB: lambda a, b: a - b,
    Op.MUL: lambda a, b: a * b,
    Op.MIN: lambda a, b: min(a, b),
    Op.MAX: lambda a, b: max(a, b),
}
DIVIDED: dict[tuple[int, int], tuple[int, int, int, int]] = {
    (0, 3): (0, 0, 0, 0),
    (7, 2): (3, 4, 4, 1),
    (-7, 2): (-4, -3, -3, 1),
    (5, 2): (2, 3, 3, 1),
    (-5, 2): (-3, -2, -2, 1),
    (7, 3): (2, 3, 2, 1),
    (8, 3): (2, 3, 3, 2),
    (-7, 3): (-3, -2, -2, 2),
    (-8, 3): (-3, -2, -3, 1),
    (1, 2): (0, 1, 1, 1),
    (-1, 2): (-1, 0, 0, 1),
    (9, 1): (9, 9, 9, 0),
    (2**63 - 1, 2): (2**62 - 1, 2**62, 2**62, 1),
    (-(2**63), 2**63 - 1): (-2, -1, -1, 2**63 - 2),
}
"""Dividend and divisor: rounded down, up, to the nearest, and what is left."""


@pytest.mark.parametrize("op", ARITHMETIC, ids=lambda op: op.name)
def test_F20_numbers(op):
    for one, other in ((2, 3), (3, 2), (-5, 4), (0, 0), (2**62, -1)):
        assert evaluated(tree.Arith(op, A, B), types=(I64, I64), args=(one, other)).value == ARITHMETIC[op](one, other)


@pytest.mark.parametrize("numbers", DIVIDED, ids=str)
def test_F20_divisions_round_as_they_say(numbers):
    one, other = numbers
    for types in ((I64, I64), (I64, Int(other, 2**63 - 1)), (I64, Int(other, other))):
        for op, expected in zip((Op.DIV_FLOOR, Op.DIV_CEIL, Op.DIV_HALF_UP, Op.MOD), DIVIDED[numbers], strict=True):
            assert evaluated(tree.Arith(op, A, B), types=types, args=numbers).value == expected
            assert evaluated(tree.Arith(op, A, num(other)), types=(I64,), args=(one,)).value == expected


@pytest.mark.parametrize("op", [Op.DIV_FLOOR, Op.DIV_CEIL, Op.DIV_HALF_UP, Op.MOD], ids=lambda op: op.name)
@pytest.mark.parametrize("divisor", [0, -1, -(2**63)])
def test_F20_divisors_must_be_positive(op, divisor):
    assert evaluated(tree.Arith(op, A, B), types=(I64, I64), args=(7, divisor)).code == Code.DIVISOR_NOT_POSITIVE
    assert evaluated(tree.Arith(op, num(7), num(divisor))).code == Code.DIVISOR_NOT_POSITIVE


EVENT = tree.Emit(0, pair(1))


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name)
def test_F20_both_parts_of_a_number_are_computed_once_in_order(op):
    # Each part says that it was there, even a divisor whose only value is known beforehand.
    left = function(tree.Emit(0, pair(1)), tree.Return((num(9),)), result=Int(9, 9), name="left")
    right = function(tree.Emit(0, pair(2)), tree.Return((num(2),)), result=Int(2, 2), name="right")
    node = tree.Arith(op, tree.Call(0, ()), tree.Call(1, ()))
    told = run(program(left, right, function(tree.Return((node,)), result=I64)))
    assert [event.data for event in told.events] == [encode([1, ""]), encode([2, ""])]
    failing = tree.Choose(A, num(5), tree.Fail(7))
    assert evaluated(tree.Arith(op, num(3), failing), types=(Bool(),), args=(False,)).code == 40_007


def test_F20_a_divisor_of_divisors_stays_small_in_print():
    # Were a divisor printed twice, sixty of them within each other would be more text than there is memory.
    for op in (Op.DIV_FLOOR, Op.DIV_CEIL, Op.DIV_HALF_UP, Op.MOD):
        node: Expr = num(1)
        for _ in range(60):
            node = tree.Arith(op, num(1), node)
        assert evaluated(node).code in (0, Code.DIVISOR_NOT_POSITIVE)


def test_F20_numbers_on_the_way_have_255_bits():
    square = tree.Arith(Op.MUL, A, A)
    most = tree.Arith(Op.ADD, square, tree.Arith(Op.SUB, square, num(1)))
    fits = tree.Compare(Relation.EQ, tree.Arith(Op.DIV_FLOOR, most, num(2)), tree.Arith(Op.SUB, square, num(1)))
    set_least = tree.Set(0, tree.Arith(Op.MUL, num(-(2**63)), tree.Arith(Op.MUL, num(2**62), num(4))))
    assert ran(set_least, tree.Return((fits,)), types=(Wide(),), result=Bool()).value is True


def test_F20_wide_numbers_have_128_bits():
    def wide(value: int) -> Expr:
        """One less than a number, of constants: none has more than 64 bits."""
        high, low = divmod(value, 2**64)
        two_64 = tree.Arith(Op.MUL, num(2**62), num(4))
        return add(tree.Arith(Op.MUL, num(high), two_64), add(num(low // 2), num(low - low // 2 - 1)))

    most = ran(tree.Set(0, add(wide(2**127 - 1), num(1))), types=(Wide(),))
    beyond = ran(tree.Set(0, add(wide(2**127 - 1), num(2))), types=(Wide(),))
    least = ran(tree.Set(0, add(wide(-(2**127)), num(1))), types=(Wide(),))
    below = ran(tree.Set(0, wide(-(2**127))), types=(Wide(),))
    assert [most.code, beyond.code, least.code, below.code] == [0, Code.OUT_OF_RANGE, 0, Code.OUT_OF_RANGE]


RELATED = {
    Relation.EQ: "=",
    Relation.NE: "<>",
    Relation.LT: "<",
    Relation.LE: "<=",
    Relation.GT: ">",
    Relation.GE: ">=",
}


@pytest.mark.parametrize("relation", Relation, ids=lambda relation: relation.name)
def test_F20_comparisons(relation):
    rows: list[tuple[Type, list[Any]]] = [
        (I64, [-(2**63), -1, 0, 5]),
        (Bytes(0, 9), [b"", b"\x00", b"a", b"aa", b"b", b"\xff"]),
        # By the characters' numbers, not as any language sorts: 桩 is U+6869, the last is beyond 16 bits.
        (Text(0, 9), ["", "Z", "a", "aa", "ä", "桩", "\uffff", "\U00010000"]),
    ]
    for kind, values in rows:
        for i, one in enumerate(values):
            for j, other in enumerate(values):
                expected = ("=" if i == j else "<" if i < j else ">") in RELATED[relation]
                node = tree.Compare(relation, A, B)
                assert evaluated(node, Bool(), (kind, kind), (one, other)).value is expected
    if relation in (Relation.EQ, Relation.NE):
        for one in (False, True):
            for other in (False, True):
                found = evaluated(tree.Compare(relation, A, B), Bool(), (Bool(), Bool()), (one, other))
                assert found.value is ((one == other) is (relation is Relation.EQ))


def test_F20_truth_values_are_computed_as_far_as_needed():
    fail = tree.Compare(Relation.EQ, tree.Choose(C, num(1), tree.Fail(7)), num(1))
    for flag in (False, True):
        args = (flag, True, False)
        three = (Bool(),) * 3
        assert evaluated(tree.And(A, fail), Bool(), three, args).code == (40_007 if flag else 0)
        assert evaluated(tree.Or(A, fail), Bool(), three, args).code == (0 if flag else 40_007)
        assert evaluated(tree.And(A, B), Bool(), three, args).value is flag
        assert evaluated(tree.Or(A, FALSE), Bool(), three, args).value is flag
        assert evaluated(tree.Not(A), Bool(), three, args).value is not flag
        chosen = tree.Choose(A, num(1), tree.Fail(7))
        assert evaluated(chosen, I64, three, args).code == (0 if flag else 40_007)
        chosen = tree.Choose(A, num(1), num(2))
        assert evaluated(chosen, I64, three, args).value == (1 if flag else 2)


# ── bindings ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("value", "code"), [(0, 0), (9, 0), (-1, 16), (10, 16), (2**63 - 1, 16), (-(2**63), 16)])
def test_F20_a_number_fits_where_it_is_bound_or_the_call_fails(value, code):
    types = (I64, DIGIT, Struct(PAIR))
    taking = function(types=(DIGIT,), params=1, name="taking")
    made = tree.Make(PAIR, (A, text("")))
    near = add(A, num(246 if value > 0 else 0))  # as far from the bounds of a byte
    places: dict[str, list[Statement]] = {
        "local": [tree.Set(1, A)],
        "result": [tree.Return((A,))],
        "field": [tree.Do(made)],
        "item": [tree.Do(tree.ListOf(DIGIT, (num(1), A)))],
        "other item": [tree.Do(tree.WithItem(digits(1), num(0), A))],
        "argument": [tree.Do(tree.Call(0, (A,)))],
        "host": [tree.Do(tree.Host(BY_NAME["big_endian_1"], (near,)))],
        "changed field": [tree.Set(2, pair(1)), tree.Do(tree.With(2, (tree.Change(0, A),)))],
    }
    for place, body in places.items():
        last = () if isinstance(body[-1], tree.Return) else (tree.Return((num(1),)),)
        made_of = program(taking, function(*body, *last, types=types, params=1, result=DIGIT))
        assert run(made_of, value).code == code, place


@pytest.mark.parametrize("length", range(5))
def test_F20_a_length_fits_where_it_is_bound_or_the_call_fails(length):
    code = 0 if 1 <= length <= 3 else Code.OUT_OF_RANGE
    rows: list[tuple[Type, Type, Any]] = [
        (Text(0, 9), Text(1, 3), "桩" * length),
        (Bytes(0, 9), Bytes(1, 3), bytes(length)),
        (DIGITS, List(DIGIT, 1, 3), [1] * length),
    ]
    for kind, narrow, value in rows:
        assert ran(tree.Set(1, A), types=(kind, narrow), args=(value,)).code == code
        assert evaluated(A, narrow, (kind,), (value,)).code == code
    at_least = ran(tree.Set(1, A), types=(Text(0, 3), Text(2, 9)), args=("a" * min(length, 3),)).code
    assert at_least == (0 if length >= 2 else Code.OUT_OF_RANGE)
    at_most = ran(tree.Set(1, A), types=(Text(0, 9), Text(0, 3)), args=("a" * length,)).code
    assert at_most == (0 if length <= 3 else Code.OUT_OF_RANGE)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

ROWS: dict[str, tuple[Type, Any]] = {
    "bytes": (Bytes(0, 9), b"abcd"),
    "text": (Text(0, 9), "a桩c\U0001f50c"),
    "list": (List(DIGIT, 0, 9), [4, 3, 2, 1]),
}


@pytest.mark.parametrize("kind", ROWS)
def test_F20_rows(kind):
    declared, row = ROWS[kind]
    assert evaluated(tree.Len(A), I64, (declared,), (row,)).value == 4
    double = evaluated(tree.Concat(A, A), declared, (declared,), (row,))
    assert double.value == row + row
    for begin in range(-1, 6):
        for end in range(-1, 6):
            found = evaluated(tree.Slice(A, B, C), declared, (declared, I64, I64), (row, begin, end))
            if 0 <= begin <= end <= 4:
                assert found.value == row[begin:end]
            else:
                assert found.code == Code.INDEX_OUT_OF_RANGE
    for place in (-5, -1, 0, 3, 4, 2**62):
        if kind != "text":
            found = evaluated(tree.Index(A, B), I64, (declared, I64), (row, place))
            assert (found.value, found.code) == ((row[place], 0) if 0 <= place < 4 else (None, 19))
        if kind == "list":
            found = evaluated(tree.WithItem(A, B, num(9)), declared, (declared, I64), (row, place))
            expected = [9 if at == place else old for at, old in enumerate([4, 3, 2, 1])]
            assert (found.value, found.code) == ((expected, 0) if 0 <= place < 4 else (None, 19))


def test_F20_lists_are_searched_and_sorted():
    names = List(Text(0, 9), 0, 9)
    row = ["桩", "b", "a", "b", "", "ä"]
    assert evaluated(tree.SortedSet(A), names, (names,), (row,)).value == ["", "a", "b", "ä", "桩"]
    assert evaluated(tree.SortedSet(A), names, (names,), ([],)).value == []
    assert evaluated(tree.SortedSet(digits(3, 1, 3, 2)), DIGITS).value == [1, 2, 3]
    keys = tree.ListOf(Bytes(0, 9), (tree.Blob(b"b"), tree.Blob(b"\xff"), tree.Blob(b"a")))
    assert evaluated(tree.SortedSet(keys), List(Bytes(0, 9), 0, 3)).value == [b"a", b"b", b"\xff"]
    for item in ("a", "z"):
        assert evaluated(tree.Contains(A, B), Bool(), (names, Text(0, 9)), (row, item)).value is (item == "a")
    assert evaluated(tree.Contains(digits(1), num(2**62)), Bool()).value is False


def test_F20_rows_cost_by_what_they_are_long():
    def gas(node: Expr, kind: Text | Bytes | List, row: object) -> int:
        return evaluated(node, kind, (kind,), (row,)).gas

    names, wide = Text(0, 1_000), List(DIGIT, 0, 1_000)
    same = tree.Concat(A, tree.Slice(A, num(0), num(0)))
    assert gas(same, names, "a" * 1_000) - gas(same, names, "") == 250
    assert gas(same, wide, [1] * 1_000) - gas(same, wide, []) == 2_000, "eight bytes an item"
    part = tree.Slice(A, num(0), tree.Len(A))
    assert gas(part, names, "a" * 1_000) - gas(part, names, "") == 250
    assert gas(tree.SortedSet(A), wide, [1] * 1_000) - gas(tree.SortedSet(A), wide, []) == 160_000
    other = tree.WithItem(A, num(0), num(1))
    assert gas(other, wide, [1] * 1_000) - gas(other, wide, [1]) == 1_998
    found = tree.Choose(tree.Contains(A, num(7)), A, A)
    assert gas(found, wide, [1] * 1_000) - gas(found, wide, []) == 40_000
