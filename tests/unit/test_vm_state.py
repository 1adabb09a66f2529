"""F20: tables, keys, walks and loops, by both engines."""

import msgspec
import pytest

from contracts.codes import Code
from contracts.vm import tree
from contracts.vm.operators import Op, Relation
from contracts.vm.program import TableDef
from contracts.vm.tree import Expr, Statement
from ledger.codec import encode
from tests.vm.kit import (
    CELL,
    COUNTED,
    DIGIT,
    HOLDER,
    I64,
    NAMED,
    OWN,
    PAIR,
    PARTS,
    Bytes,
    Int,
    List,
    Ran,
    Struct,
    Text,
    Type,
    Wide,
    add,
    function,
    get,
    num,
    pair,
    program,
    ran,
    run,
)

A, B, C = get(0), get(1), get(2)
TRUE = tree.Const(True)
OWN_KEY = OWN.to_bytes(4, "big")
THIRD = 42


def text(value: str) -> Expr:
    """A text."""
    return tree.Const(value)


# ── tables ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F20_entries_are_written_read_and_deleted():
    one, two = (tree.Load(NAMED, (text(name),)) for name in "ab")
    body = (
        tree.Store(NAMED, (text("a"),), pair(1, "one")),
        tree.Store(NAMED, (text("b"),), pair(2, "two")),
        tree.Delete(NAMED, (text("b"),)),
        tree.Delete(NAMED, (text("c"),)),
        tree.Store(CELL, (), tree.Make(HOLDER, (tree.Present(one), two))),
        tree.Return((tree.Present(tree.Load(CELL, ())),)),
    )
    found = ran(*body, result=Struct(HOLDER))
    assert found.value == [[1, "one"], None]
    assert found.changes == {
        OWN_KEY + b"\x01a": encode([1, "one"]),
        OWN_KEY + b"\x01b": None,
        OWN_KEY + b"\x01c": None,
        OWN_KEY + b"\x03": encode([[1, "one"], None]),
    }


def test_F20_a_failed_call_keeps_nothing():
    body = (tree.Store(NAMED, (text("a"),), pair(1)), tree.Emit(0, pair(1)), tree.Do(tree.Fail(999)))
    assert ran(*body) == Ran(40_999, None, ran(*body).gas, (), {})


LONGEST = "é" * 253
"""506 bytes: with contract and tag 511."""
KEYS: dict[str, tuple[tuple[Type, ...], tuple[object, ...], bytes | None]] = {
    "none": ((), (), b""),
    "a byte": ((Int(0, 255),), (200,), b"\xc8"),
    "two bytes": ((Int(0, 256),), (200,), b"\x00\xc8"),
    "four bytes": ((Int(0, 2**32 - 1),), (2**32 - 1,), b"\xff\xff\xff\xff"),
    "eight bytes": ((Int(5, 2**32),), (5,), bytes(7) + b"\x05"),
    "a text": ((Text(0, 9),), ("桩\0",), "桩\0".encode()),
    "bytes": ((Bytes(0, 9),), (b"\0a",), b"\0a"),
    "fixed bytes": ((Bytes(2, 2), DIGIT), (b"ab", 7), b"ab\x07"),
    "texts": ((Text(0, 9), Text(0, 9)), ("ä", "b\0"), "ä\0b\0".encode()),
    "an empty text first": ((Text(0, 9), Text(0, 9)), ("", ""), b"\0"),
    "NUL in a text first": ((Text(0, 9), Text(0, 9)), ("a\0", "b"), None),
    "all parts": ((Text(0, 9), DIGIT, Bytes(1, 1), Bytes(0, 9)), ("t", 3, b"x", b"yz"), b"t\0\x03xyz"),
    "the longest": ((Text(0, 300),), (LONGEST,), LONGEST.encode()),
    "a byte too long": ((Text(0, 300),), (LONGEST + "a",), None),
    "bytes of the longest": ((Bytes(0, 507),), (bytes(506),), bytes(506)),
    "bytes too long": ((Bytes(0, 507),), (bytes(507),), None),
    "parts too long": ((Text(0, 300), DIGIT), (LONGEST, 1), None),
}


@pytest.mark.parametrize("form", KEYS)
def test_F20_keys_are_bytes_that_sort_as_their_parts(form):
    types, values, expected = KEYS[form]
    parts = tuple(get(place) for place in range(len(types)))
    made = program(
        function(
            tree.Store(0, parts, pair(4)),
            tree.Walk(0, (), 9, tuple(range(len(types))), len(types), (tree.Store(1, (), get(len(types))),)),
            types=(*types, Struct(PAIR)),
            params=len(types),
        ),
        tables=(TableDef("T", 1, types, PAIR), TableDef("FOUND", 2, (), PAIR)),
    )
    found = run(made, *values)
    if expected is None:
        assert (found.code, found.changes) == (Code.KEY_MALFORMED, {})
    else:
        assert set(found.changes) == {OWN_KEY + b"\x01" + expected, OWN_KEY + b"\x02"}
    for other in (tree.Do(tree.Load(0, parts)), tree.Delete(0, parts)):
        only = program(function(other, types=types, params=len(types)), tables=made.tables)
        assert run(only, *values).code == (0 if expected is not None else Code.KEY_MALFORMED)


ENTRIES = sorted(
    [(name, number, rest) for name in ("", "a", "ab", "b", "桩") for number in (0, 255) for rest in ("", "x\0y")]
)


def walked(prefix: tuple[Expr, ...], keys: tuple[int, ...], limit: int = 1_000, *more: Statement) -> Ran:
    """Walk over entries of three parts; tells the last part of each key, or what `more` does."""
    fill = [
        tree.Store(PARTS, (text(name), num(number), text(rest)), pair(place % 10, str(place)))
        for place, (name, number, rest) in enumerate(ENTRIES)
    ]
    body = more or (tree.Emit(0, get(3)),)
    walk = tree.Walk(PARTS, prefix, limit, keys, 3, body)
    return ran(*reversed(fill), walk, types=(Text(0, 300), Int(0, 255), Text(0, 40), Struct(PAIR)))


def told(found: Ran) -> list[int]:
    """Numbers of the entries that a walk has told."""
    assert found.code == 0
    return [int(msgspec.msgpack.decode(each.data)[1]) for each in found.events]


def test_F20_a_walk_goes_through_the_entries_of_a_prefix_in_the_order_of_their_keys():
    assert told(walked((), (0, 1, 2))) == list(range(len(ENTRIES)))
    assert told(walked((), (0, 1, 2), 3)) == [0, 1, 2]
    for name in ("", "a", "ab", "z"):
        expected = [place for place, entry in enumerate(ENTRIES) if entry[0] == name]
        assert told(walked((text(name),), (1, 2))) == expected, "not those of names that begin so"
        expected = [place for place, entry in enumerate(ENTRIES) if entry[:2] == (name, 255)]
        assert told(walked((text(name), num(255)), (2,))) == expected
    assert walked((text("a\0"),), (1, 2)).code == Code.KEY_MALFORMED


def test_F20_a_walk_gives_the_other_parts_of_the_keys():
    again = tree.Store(NAMED, (tree.Concat(text("k"), C),), pair(tree.Arith(Op.MOD, B, num(10))))
    found = walked((text("ab"),), (1, 2), 1_000, again)
    assert {key[5:]: raw for key, raw in found.changes.items() if key[4] == 1} == {
        b"k": encode([5, ""]),
        b"kx\0y": encode([5, ""]),
    }
    whole = walked((), (0, 1, 2), 1_000, tree.Delete(PARTS, (A, B, C)))
    assert len(whole.changes) == len(ENTRIES)
    assert set(whole.changes.values()) == {None}, "each is found by what it gave, and those deleted were still walked"


def test_F20_a_walk_sees_the_entries_as_they_were_when_it_began():
    more = (tree.Store(COUNTED, (add(A, num(1)),), pair(1)), tree.Emit(0, pair(1)))
    body = (tree.Store(COUNTED, (num(0),), pair(0)), tree.Walk(COUNTED, (), 10, (0,), 1, more))
    found = ran(*body, types=(Int(0, 2**63 - 1), Struct(PAIR)))
    assert len(found.events) == 1


def test_F20_a_walk_leaves_by_break_and_return():
    once = walked((), (0, 1, 2), 1_000, tree.Emit(0, get(3)), tree.Break())
    assert len(once.events) == 1
    unless = tree.If(tree.Compare(Relation.EQ, B, num(0)), (tree.Continue(),), ())
    some = walked((), (0, 1, 2), 1_000, unless, tree.Emit(0, get(3)))
    assert len(some.events) == len(ENTRIES) // 2
    gone = walked((), (0, 1, 2), 1_000, tree.Emit(0, get(3)), tree.Return(()))
    assert len(gone.events) == 1


# ── loops ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_F20_loops_break_continue_and_return():
    def counting(*last: Statement) -> tuple[Statement, ...]:
        """Adds each number to the sum, then does something."""
        return (tree.Set(1, add(B, A)), *last)

    def over(*body: Statement) -> int:
        loop = tree.Count(0, num(0), num(5), body)
        whole = (tree.Set(1, num(0)), loop, tree.Return((add(B, num(100)),)))
        value = ran(*whole, types=(I64, I64), result=I64).value
        assert isinstance(value, int)
        return value

    third = tree.Compare(Relation.EQ, A, num(2))
    assert over(*counting()) == 110
    assert over(*counting(tree.If(third, (tree.Break(),), ()))) == 103
    assert over(tree.If(third, (tree.Continue(),), ()), *counting()) == 108
    assert over(*counting(tree.If(third, (tree.Return((B,)),), ()))) == 3
    inner = tree.Count(0, num(7), num(9), (tree.Break(),))
    assert over(*counting(inner)) == 110, "an inner loop's break leaves the outer one alone"
    assert over() == 100


def test_F20_loops_over_lists_and_ranges():
    rows = tree.For(0, tree.ListOf(DIGIT, (num(3), num(1))), (tree.Set(1, tree.Concat(B, tree.ListOf(DIGIT, (A,)))),))
    row, numbers = List(DIGIT, 0, 9), List(I64, 0, 9)
    start = tree.Set(1, tree.ListOf(DIGIT, ()))
    assert ran(start, rows, rows, tree.Return((B,)), types=(DIGIT, row), result=row).value == [3, 1, 3, 1]
    for begin, end in ((-2, 2), (5, 5), (9, -9)):
        count = tree.Count(0, num(begin), num(end), (tree.Set(1, tree.Concat(B, tree.ListOf(I64, (A,)))),))
        body = (tree.Set(1, tree.ListOf(I64, ())), count, tree.Return((B,)))
        assert ran(*body, types=(I64, numbers), result=numbers).value == list(range(begin, end))
    far = tree.Arith(Op.MUL, num(2**62), num(2**62))
    beyond = tree.Count(0, far, add(far, num(2)), (tree.Emit(0, pair(1)),))
    assert len(ran(beyond, types=(Wide(),)).events) == 2


def test_F20_a_loop_without_end_runs_out_of_gas():
    for body in ((), (tree.Continue(),), (tree.If(TRUE, (), ()),)):
        assert ran(tree.While(TRUE, body)).code == Code.OUT_OF_GAS
    assert ran(tree.Count(0, num(0), num(2**62), ()), types=(I64,)).code == Code.OUT_OF_GAS
