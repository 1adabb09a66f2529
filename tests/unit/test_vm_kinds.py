"""F20: type confusion. Each place of each node, with an expression of each kind: the verifier passes those that fit."""

from collections.abc import Callable
from itertools import product

import pytest

from contracts.vm import tree
from contracts.vm.functions import BY_NAME
from contracts.vm.kinds import arithmetic
from contracts.vm.operations import arith
from contracts.vm.operators import Op, Relation
from contracts.vm.tree import Expr, Statement
from contracts.vm.verifier import verify
from ledger.codec import encode
from ledger.errors import PeerError
from tests.vm.kit import (
    DIGIT,
    HOLDER,
    NAMED,
    OTHER,
    PAIR,
    Bool,
    Bytes,
    Int,
    List,
    Optional,
    Struct,
    Text,
    Wide,
    function,
    get,
    imports,
    method,
    num,
    pair,
    program,
    reason,
)

TYPES = (
    Bool(),
    Int(-9, 9),
    Wide(),
    Bytes(0, 40),
    Text(0, 40),
    List(DIGIT, 0, 6),
    List(Text(0, 40), 0, 6),
    List(Struct(PAIR), 0, 6),
    Struct(PAIR),
    Optional(PAIR),
    Struct(HOLDER),
    List(Bool(), 0, 6),
)
FLAG, NUMBER, WIDE, DATA, TEXT, DIGITS, TEXTS, PAIRS, STRUCT, MAYBE, HELD, FLAGS = (get(n) for n in range(len(TYPES)))
KINDS: dict[str, Expr] = {
    "flag": FLAG,
    "number": NUMBER,
    "wide": WIDE,
    "data": DATA,
    "text": TEXT,
    "digits": DIGITS,
    "texts": TEXTS,
    "pairs": PAIRS,
    "struct": STRUCT,
    "maybe": MAYBE,
    "holder": HELD,
    "flags": FLAGS,
    "failure": tree.Fail(1),
    "nothing": tree.Call(0, ()),
}
"""An expression of each kind."""
DIVIDING = (Op.DIV_FLOOR, Op.DIV_CEIL, Op.DIV_HALF_UP, Op.MOD)
LISTS = "digits texts pairs flags"
NUMBERS = "number wide"

EXPRESSIONS: dict[str, tuple[Callable[[Expr], Expr], str]] = {
    "left of a sum": (lambda x: tree.Arith(Op.ADD, x, NUMBER), NUMBERS),
    "right of a sum": (lambda x: tree.Arith(Op.ADD, NUMBER, x), NUMBERS),
    "compared with a number": (lambda x: tree.Compare(Relation.LT, NUMBER, x), NUMBERS),
    "compared with a truth value": (lambda x: tree.Compare(Relation.NE, FLAG, x), "flag"),
    "ordered against a truth value": (lambda x: tree.Compare(Relation.GE, FLAG, x), ""),
    "compared with bytes": (lambda x: tree.Compare(Relation.EQ, DATA, x), "data"),
    "compared with a text": (lambda x: tree.Compare(Relation.LE, x, TEXT), "text"),
    "compared with a list": (lambda x: tree.Compare(Relation.EQ, DIGITS, x), ""),
    "compared with a struct": (lambda x: tree.Compare(Relation.EQ, STRUCT, x), ""),
    "compared with an optional": (lambda x: tree.Compare(Relation.EQ, x, MAYBE), ""),
    "left of and": (lambda x: tree.And(x, FLAG), "flag"),
    "right of and": (lambda x: tree.And(FLAG, x), "flag"),
    "left of or": (lambda x: tree.Or(x, FLAG), "flag"),
    "right of or": (lambda x: tree.Or(FLAG, x), "flag"),
    "operand of not": (tree.Not, "flag"),
    "condition of a choice": (lambda x: tree.Choose(x, NUMBER, NUMBER), "flag"),
    "chosen or a number": (lambda x: tree.Choose(FLAG, NUMBER, x), f"{NUMBERS} failure"),
    "chosen or a truth value": (lambda x: tree.Choose(FLAG, x, FLAG), "flag failure"),
    "chosen or bytes": (lambda x: tree.Choose(FLAG, x, DATA), "data failure"),
    "chosen or a text": (lambda x: tree.Choose(FLAG, x, TEXT), "text failure"),
    "chosen or a list": (lambda x: tree.Choose(FLAG, DIGITS, x), "digits failure"),
    "chosen or a struct": (lambda x: tree.Choose(FLAG, STRUCT, x), "struct maybe failure"),
    "chosen or a failure": (lambda x: tree.Choose(FLAG, tree.Fail(1), x), " ".join(KINDS)),
    "length of": (tree.Len, f"data text {LISTS}"),
    "indexed": (lambda x: tree.Index(x, NUMBER), f"data {LISTS}"),
    "index": (lambda x: tree.Index(DATA, x), NUMBERS),
    "sliced": (lambda x: tree.Slice(x, NUMBER, NUMBER), f"data text {LISTS}"),
    "begin of a slice": (lambda x: tree.Slice(DATA, x, NUMBER), NUMBERS),
    "end of a slice": (lambda x: tree.Slice(DATA, NUMBER, x), NUMBERS),
    "joined to bytes": (lambda x: tree.Concat(DATA, x), "data"),
    "joined to a text": (lambda x: tree.Concat(x, TEXT), "text"),
    "joined to a list": (lambda x: tree.Concat(DIGITS, x), "digits"),
    "searched for a number": (lambda x: tree.Contains(x, NUMBER), "digits"),
    "searched for a text": (lambda x: tree.Contains(x, TEXT), "texts"),
    "looked for": (lambda x: tree.Contains(DIGITS, x), NUMBERS),
    "sorted": (tree.SortedSet, "digits texts"),
    "item of a list": (lambda x: tree.ListOf(DIGIT, (x,)), f"{NUMBERS} failure"),
    "list with another number": (lambda x: tree.WithItem(x, NUMBER, NUMBER), "digits"),
    "place of another item": (lambda x: tree.WithItem(DIGITS, x, NUMBER), NUMBERS),
    "other item": (lambda x: tree.WithItem(DIGITS, NUMBER, x), f"{NUMBERS} failure"),
    "number of a struct": (lambda x: tree.Make(PAIR, (x, TEXT)), f"{NUMBERS} failure"),
    "text of a struct": (lambda x: tree.Make(PAIR, (NUMBER, x)), "text failure"),
    "struct of a struct": (lambda x: tree.Make(HOLDER, (x, MAYBE)), "struct failure"),
    "optional of a struct": (lambda x: tree.Make(HOLDER, (STRUCT, x)), "struct maybe failure"),
    "has a first field": (lambda x: tree.Field(x, 0), "struct holder"),
    "changed number": (lambda x: tree.With(8, (tree.Change(0, x),)), f"{NUMBERS} failure"),
    "asked for absence": (tree.IsAbsent, "maybe"),
    "with another": (lambda x: tree.OrElse(x, STRUCT), "maybe"),
    "other than nothing": (lambda x: tree.OrElse(MAYBE, x), "struct maybe failure"),
    "that must be there": (tree.Present, "maybe"),
    "key of a table": (lambda x: tree.Load(NAMED, (x,)), "text failure"),
    "decoded": (lambda x: tree.Decode(PAIR, x), "data"),
    "argument of a function": (lambda x: tree.Call(1, (x,)), f"{NUMBERS} failure"),
    "argument of another contract": (lambda x: tree.Invoke(0, (x,)), "data failure"),
    "argument of the host": (lambda x: tree.Host(BY_NAME["utf8"], (x,)), "text failure"),
    "a list for the host": (lambda x: tree.Host(BY_NAME["key_is_sound"], (DATA, x)), "failure"),
}
STATEMENTS: dict[str, tuple[Callable[[Expr], Statement], str]] = {
    "to a truth value": (lambda x: tree.Set(0, x), "flag failure"),
    "to a number": (lambda x: tree.Set(1, x), f"{NUMBERS} failure"),
    "to a wide number": (lambda x: tree.Set(2, x), f"{NUMBERS} failure"),
    "to bytes": (lambda x: tree.Set(3, x), "data failure"),
    "to a text": (lambda x: tree.Set(4, x), "text failure"),
    "to a list": (lambda x: tree.Set(5, x), "digits failure"),
    "to a struct": (lambda x: tree.Set(8, x), "struct failure"),
    "to an optional": (lambda x: tree.Set(9, x), "struct maybe failure"),
    "done": (tree.Do, " ".join(KINDS)),
    "stored": (lambda x: tree.Store(NAMED, (TEXT,), x), "struct failure"),
    "stored under": (lambda x: tree.Store(NAMED, (x,), STRUCT), "text failure"),
    "deleted under": (lambda x: tree.Delete(NAMED, (x,)), "text failure"),
    "told": (lambda x: tree.Emit(0, x), "struct failure"),
    "scheduled at": (lambda x: tree.Schedule(x, DATA, 1, (NUMBER,)), f"{NUMBERS} failure"),
    "scheduled as": (lambda x: tree.Schedule(NUMBER, x, 1, (NUMBER,)), "data failure"),
    "scheduled with": (lambda x: tree.Schedule(NUMBER, DATA, 1, (x,)), f"{NUMBERS} failure"),
    "cancelled at": (lambda x: tree.Cancel(x, DATA), f"{NUMBERS} failure"),
    "cancelled as": (lambda x: tree.Cancel(NUMBER, x), "data failure"),
    "if": (lambda x: tree.If(x, (), ()), "flag failure"),
    "while": (lambda x: tree.While(x, ()), "flag failure"),
    "for a number in": (lambda x: tree.For(1, x, ()), "digits"),
    "for a struct in": (lambda x: tree.For(8, x, ()), "pairs"),
    "from": (lambda x: tree.Count(2, x, NUMBER, ()), NUMBERS),
    "to": (lambda x: tree.Count(2, NUMBER, x, ()), NUMBERS),
    "walked under": (lambda x: tree.Walk(1, (x, num(3)), 5, (4,), 8, ()), "text failure"),
    "returned": (lambda x: tree.Return((x,)), f"{NUMBERS} failure"),
}


def done(make: Callable[[Expr], Expr]) -> Callable[[Expr], Statement]:
    """The statement that computes an expression."""
    return lambda x: tree.Do(make(x))


PLACES = {name: (done(make), fitting) for name, (make, fitting) in EXPRESSIONS.items()} | STATEMENTS


def judged(statement: Statement) -> str:
    """Why the verifier refuses a function of one statement; nothing if it passes."""
    ending = (tree.Do(tree.Fail(1)), tree.Do(tree.Choose(FLAG, tree.Fail(1), tree.Fail(1))))
    last = () if isinstance(statement, tree.Return) or statement in ending else (tree.Return((num(0),)),)
    functions = (
        function(name="nothing"),
        function(types=(Int(-5, 5),), params=1, name="taking"),
        function(statement, *last, types=TYPES, params=len(TYPES), result=DIGIT),
    )
    made = program(
        *functions,
        imports=imports((OTHER, "take", (Bytes(1, 3),), ())),
        methods=(method(), method(1, ["n"], name="later", scheduled_gas=1)),
    )
    return reason(encode(made))


@pytest.mark.parametrize("place", PLACES)
def test_F20_the_verifier_passes_what_fits_a_place_and_refuses_every_other_kind(place):
    make, fitting = PLACES[place]
    passed = {kind for kind, node in KINDS.items() if not judged(make(node))}
    assert passed == set(fitting.split())


def test_F20_refusals_name_the_kinds():
    said = {kind: judged(tree.If(node, (), ())) for kind, node in KINDS.items()}
    assert {kind: message.split(": ", 1)[1] for kind, message in said.items() if message} == {
        "number": "a number from -9 to 9 where a truth value is needed",
        "wide": f"a number from {-(2**127)} to {2**127 - 1} where a truth value is needed",
        "data": "bytes of length 0 to 40 where a truth value is needed",
        "text": "a text of 0 to 40 characters where a truth value is needed",
        "digits": "a list of 0 to 6 items, each a number from 0 to 9 where a truth value is needed",
        "texts": "a list of 0 to 6 items, each a text of 0 to 40 characters where a truth value is needed",
        "pairs": "a list of 0 to 6 items, each struct 0 where a truth value is needed",
        "struct": "struct 0 where a truth value is needed",
        "maybe": "struct 0 or nothing where a truth value is needed",
        "holder": "struct 1 where a truth value is needed",
        "flags": "a list of 0 to 6 items, each a truth value where a truth value is needed",
        "nothing": "no value where a truth value is needed",
    }
    assert judged(tree.Set(2, STRUCT)).endswith("struct 0 where a number of 128 bits is needed")
    assert judged(tree.Do(tree.Not(tree.Fail(1)))).endswith("a failure where a truth value is needed")


ITEMS: dict[str, tuple[Expr, bool]] = {
    "narrower items": (tree.ListOf(Text(1, 3), (tree.Const("ab"),)), True),
    "longer items": (tree.ListOf(Text(0, 41), (tree.Const("ab"),)), False),
    "items of another kind": (tree.ListOf(DIGIT, (num(1),)), False),
    "none, of another kind": (tree.ListOf(DIGIT, ()), True),
    "none or some": (tree.Choose(FLAG, tree.ListOf(DIGIT, ()), TEXTS), True),
    "some or none": (tree.Choose(FLAG, TEXTS, tree.ListOf(DIGIT, ())), True),
    "joined to none": (tree.Concat(tree.ListOf(DIGIT, ()), TEXTS), True),
    "too many, which is asked when it runs": (tree.Concat(TEXTS, TEXTS), True),
}


@pytest.mark.parametrize("items", ITEMS)
def test_F20_lists_fit_by_their_items(items):
    node, fits = ITEMS[items]
    assert (judged(tree.Set(6, node)) == "") is fits


def test_F20_a_list_of_structs_serves_where_some_may_be_nothing():
    some = tree.ListOf(Struct(PAIR), (pair(1),))
    row = List(Optional(PAIR), 0, 3)
    verify(encode(program(function(tree.Set(0, some), types=(row,)))))
    maybe = tree.ListOf(Optional(PAIR), (tree.Absent(PAIR),))
    with pytest.raises(PeerError, match="struct 0 or nothing where struct 0 is needed"):
        verify(encode(program(function(tree.Set(0, maybe), types=(List(Struct(PAIR), 0, 3),)))))


@pytest.mark.parametrize("op", Op, ids=lambda op: op.name)
def test_F20_a_result_lies_within_the_bounds_that_the_verifier_finds(op):
    # All intervals of small numbers: what is wrong at an end or at a change of sign shows here.
    span = range(-4, 6)
    values = {(one, other): arith(op, one, other) for one in span for other in span if other > 0 or op not in DIVIDING}
    for low, high, least, most in product(span, repeat=4):
        if low > high or least > most:
            continue
        bounds = arithmetic(op, Int(low, high), Int(least, most))
        found = [
            values[one, other]
            for one in range(low, high + 1)
            for other in range(least, most + 1)
            if (one, other) in values
        ]
        assert all(bounds.min <= each <= bounds.max for each in found), (low, high, least, most)
