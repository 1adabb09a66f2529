"""F20: trees that the verifier refuses, and that it says why: limits, positions, flow, numbers on the way."""

import msgspec
import pytest

from contracts.vm import tree
from contracts.vm.functions import BY_NAME
from contracts.vm.operators import Op, Relation
from contracts.vm.program import FunctionDef, Program
from contracts.vm.tree import Block, Expr
from contracts.vm.verifier import verify
from ledger.codec import encode
from tests.vm.kit import (
    CELL,
    DIGIT,
    EMPTY,
    HASH,
    I64,
    NAMED,
    OTHER,
    PAIR,
    PARTS,
    Bool,
    Bytes,
    Int,
    List,
    Optional,
    Struct,
    Text,
    Wide,
    add,
    function,
    get,
    imports,
    method,
    nested,
    num,
    pair,
    program,
    reason,
)

TRUE = tree.Const(True)
LOCALS = (I64, Wide(), Text(0, 40_000), Struct(PAIR), Optional(PAIR), List(DIGIT, 0, 40_000), Bool(), Bytes(0, 1_025))
NUMBER, WIDE, TEXT, STRUCT, MAYBE, LIST, FLAG, DATA = (get(place) for place in range(len(LOCALS)))


def of(*body: tree.Statement) -> Program:
    """A program of one function whose locals are all set."""
    return program(function(*body, types=LOCALS, params=len(LOCALS)), methods=())


def do(node: Expr) -> Program:
    """The same, of one expression."""
    return of(tree.Do(node))


def unset(*body: tree.Statement) -> Program:
    """A program of one function whose only local is not set at first."""
    return program(function(*body, types=(DIGIT, List(DIGIT, 0, 3), Struct(PAIR), Text(1, 64))))


def deep(depth: int) -> Expr:
    """An expression so deep."""
    node: Expr = TRUE
    for _ in range(depth - 1):
        node = tree.Not(node)
    return node


def product(factors: int) -> Expr:
    """A product of so many numbers of 128 bits, but for one bit of sign each."""
    node: Expr = WIDE
    for _ in range(factors - 1):
        node = tree.Arith(Op.MUL, node, WIDE)
    return node


def chain(depth: int) -> tuple[FunctionDef, ...]:
    """Functions that call one another so deep."""
    return tuple(
        function(*([tree.Do(tree.Call(place - 1, ()))] if place else ()), name=f"f{place}") for place in range(depth)
    )


def calling(own: int, callee: int) -> Program:
    """Of three functions, one calls another."""
    return program(
        *(
            function(*((tree.Do(tree.Call(callee, ())),) if place == own else ()), name=f"f{place}")
            for place in range(3)
        )
    )


def passing_on(*body: tree.Statement) -> Block:
    """A loop around statements."""
    return (tree.While(TRUE, body),)


SET, READ = tree.Set(0, num(1)), tree.Do(get(0))
BREAK, CONTINUE, RETURN, FAIL = tree.Break(), tree.Continue(), tree.Return(()), tree.Do(tree.Fail(1))
WALK = tree.Walk(NAMED, (), 5, (3,), 2, ())
LONG = {place: tree.ListOf(DIGIT, (num(1),) * place) for place in (2, 3)}

REFUSED: dict[str, tuple[Program, str]] = {
    # ── sizes on the way ──
    "an expression 65 deep": (do(deep(65)), "deeper than 64"),
    "arguments 65 deep": (do(tree.Slice(TEXT, num(0), tree.Choose(deep(63), num(1), num(2)))), "deeper than 64"),
    "a key 65 deep": (do(tree.Load(NAMED, (tree.Choose(deep(64), TEXT, TEXT),))), "deeper than 64"),
    "blocks 17 deep": (of(*nested((), 16)), "blocks nested deeper than 16"),
    "blocks 17 deep in a loop": (of(*nested(passing_on(), 15)), "blocks nested deeper than 16"),
    "calls 9 deep": (program(*chain(9)), "calls of functions 9 deep, at most 8"),
    "a number beyond 255 bits": (do(product(3)), "beyond 255 bits"),
    "a negative number beyond 255 bits": (
        do(tree.Arith(Op.SUB, tree.Arith(Op.SUB, num(-(2**63)), product(2)), product(2))),
        "beyond 255 bits",
    ),
    "a text of 80,000": (do(tree.Concat(TEXT, TEXT)), "longer than 65536"),
    "a list of 80,000": (do(tree.Len(tree.Concat(LIST, LIST))), "longer than 65536"),
    "a constant of 65,537 characters": (do(tree.Const("a" * 65_537)), "longer than 65536"),
    "constant bytes of 65,537": (do(tree.Blob(bytes(65_537))), "longer than 65536"),
    "a text of 40,000 compared": (do(tree.Compare(Relation.EQ, TEXT, tree.Const("a"))), "compared"),
    "bytes of 1,025 compared": (do(tree.Compare(Relation.EQ, tree.Blob(b""), DATA)), "compared"),
    "long texts searched": (do(tree.Contains(tree.ListOf(Text(0, 1_025), ()), tree.Const("a"))), "compared"),
    "a long text looked for": (do(tree.Contains(tree.ListOf(Text(0, 9), ()), TEXT)), "compared"),
    "long texts sorted": (do(tree.SortedSet(tree.ListOf(Text(0, 1_025), ()))), "compared"),
    "a character of a text": (do(tree.Index(TEXT, num(0))), "a character of a text"),
    # ── positions ──
    "a local that is not there": (do(get(len(LOCALS))), "local 8 is read"),
    "a local set that is not there": (of(tree.Set(len(LOCALS), num(1))), "no local 8"),
    "a struct that is not there": (do(tree.Make(3, ())), "no struct 3"),
    "nothing of a struct that is not there": (do(tree.Absent(3)), "no struct 3"),
    "a struct decoded that is not there": (do(tree.Decode(3, DATA)), "no struct 3"),
    "a list of structs that are not there": (do(tree.ListOf(Struct(3), ())), "struct 3: not known here"),
    "a field that is not there": (do(tree.Field(STRUCT, 2)), "no field 2"),
    "a change of a field that is not there": (do(tree.With(3, (tree.Change(2, num(1)),))), "no field 2"),
    "a table that is not there": (do(tree.Load(4, ())), "no table 4"),
    "a table stored to that is not there": (of(tree.Store(4, (), STRUCT)), "no table 4"),
    "a table walked that is not there": (unset(tree.Walk(4, (), 5, (), 2, ())), "no table 4"),
    "an event that is not there": (of(tree.Emit(1, STRUCT)), "no event 1"),
    "an import that is not there": (do(tree.Invoke(0, ())), "no import 0"),
    "a function of the host that is not there": (do(tree.Host(999, ())), "no host function 999"),
    "a method scheduled that is not there": (of(tree.Schedule(num(1), tree.Blob(bytes(32)), 0, ())), "no method 0"),
    "a method scheduled that must not be": (
        program(function(tree.Schedule(num(1), tree.Blob(bytes(32)), 0, ()))),
        "method go is not for the schedule",
    ),
    "a loop's local that is not there": (of(tree.For(8, LIST, ())), "no local 8"),
    "a function that calls itself": (calling(1, 1), "no function before this one 1"),
    "a function that calls a later one": (calling(0, 2), "no function before this one 2"),
    "a function that calls none": (calling(2, 9), "no function before this one 9"),
    # ── numbers of parts ──
    "too few fields": (do(tree.Make(PAIR, (num(1),))), "1 values where 2 are needed"),
    "too many fields": (do(tree.Make(EMPTY, (num(1),))), "1 values where 0 are needed"),
    "a key too short": (do(tree.Load(NAMED, ())), "a key of 0 parts for a table of 1"),
    "a key too long": (do(tree.Load(CELL, (num(1),))), "a key of 1 parts for a table of 0"),
    "a key deleted too short": (of(tree.Delete(PARTS, (TEXT,))), "a key of 1 parts for a table of 3"),
    "a walk under too long a key": (unset(tree.Walk(CELL, (num(1),), 5, (), 2, ())), "a key of 1 parts for a table"),
    "too many arguments": (
        program(function(name="f"), function(tree.Do(tree.Call(0, (num(1),))))),
        "1 values where 0 are needed",
    ),
    "too few arguments for the host": (do(tree.Host(BY_NAME["utf8"], ())), "0 values"),
    "changes of nothing": (do(tree.With(3, ())), "changes of fields"),
    "changes out of order": (do(tree.With(3, (tree.Change(1, TEXT), tree.Change(0, num(1))))), "changes of fields"),
    "a change twice": (do(tree.With(3, (tree.Change(0, num(1)), tree.Change(0, num(1))))), "changes of fields"),
    "changes of what is no struct": (do(tree.With(0, (tree.Change(0, num(1)),))), "where a struct is"),
    "changes of an optional": (do(tree.With(4, (tree.Change(0, num(1)),))), "where a struct is"),
    "changes of an unset local": (unset(tree.Do(tree.With(2, (tree.Change(0, num(1)),)))), "may not be set"),
    # ── types within expressions ──
    "an empty type": (do(tree.ListOf(Int(1, 0), ())), "a number from 1 to 0: nothing"),
    "a list of lists": (do(tree.ListOf(List(DIGIT, 0, 3), ())), "a list of lists"),
    # ── flow ──
    "an unset local": (unset(READ), "local 0 is read where it may not be set"),
    "set by its own value": (unset(tree.Set(0, get(0))), "local 0 is read"),
    "set on one way": (unset(tree.If(TRUE, (SET,), ()), READ), "local 0 is read"),
    "set on the other way": (unset(tree.If(TRUE, (), (SET,)), READ), "local 0 is read"),
    "set where the way ends": (unset(tree.If(TRUE, (SET, RETURN), ()), READ), "local 0 is read"),
    "set where the other way ends": (unset(tree.If(TRUE, (), (SET, FAIL)), READ), "local 0 is read"),
    "set in a loop": (unset(*passing_on(SET, BREAK), READ), "local 0 is read"),
    "set by a loop": (unset(tree.For(0, tree.ListOf(DIGIT, ()), ()), READ), "local 0 is read"),
    "set by a count": (unset(tree.Count(0, num(0), num(3), ()), READ), "local 0 is read"),
    "set by a walk": (unset(WALK, tree.Do(get(3))), "local 3 is read"),
    "set after the condition": (unset(tree.While(tree.Compare(Relation.EQ, get(0), num(1)), (SET,))), "local 0 is"),
    "after a return": (of(RETURN, SET), "never reached"),
    "after a failure": (of(FAIL, SET), "never reached"),
    "after a choice of failures": (of(tree.Do(tree.Choose(TRUE, tree.Fail(1), tree.Fail(2))), SET), "never reached"),
    "after two ends": (of(tree.If(TRUE, (RETURN,), (FAIL,)), SET), "never reached"),
    "after a break": (of(*passing_on(BREAK, SET)), "never reached"),
    "after a continue": (of(*passing_on(CONTINUE, SET)), "never reached"),
    "a break outside": (of(BREAK), "outside of a loop"),
    "a continue outside": (of(tree.If(TRUE, (CONTINUE,), ())), "outside of a loop"),
    "a break after a loop": (of(*passing_on(), BREAK), "outside of a loop"),
    "no result": (program(function(result=DIGIT)), "may end without a result"),
    "no result on one way": (
        program(function(tree.If(TRUE, (tree.Return((num(1),)),), ()), result=DIGIT)),
        "may end without a result",
    ),
    "no result after a loop": (
        program(function(*passing_on(tree.Return((num(1),))), result=DIGIT)),
        "may end without a result",
    ),
    "a return without result": (program(function(RETURN, result=DIGIT)), "0 results of 1"),
    "a result of none": (program(function(tree.Return((num(1),)))), "1 results of 0"),
    "two results": (program(function(tree.Return((num(1), num(1))), result=DIGIT)), "2 results of 1"),
    "another result": (program(function(tree.Return((TRUE,)), result=DIGIT)), "a truth value where"),
    # ── loops' locals ──
    "a local too small for the items": (
        unset(tree.For(0, tree.ListOf(Int(0, 10), ()), ())),
        "a number from 0 to 10 in a loop's local",
    ),
    "a local of another kind": (unset(tree.For(3, tree.ListOf(DIGIT, ()), ())), "where a text"),
    "a local too small for the count": (unset(tree.Count(0, num(0), num(11), ())), "a number from 0 to 10 in a loop"),
    "a local too small for where a count begins": (unset(tree.Count(0, num(-1), num(5), ())), "a number from -1 to 4"),
    "a local too small for a key": (unset(tree.Walk(PARTS, (TEXT,), 5, (0, 3), 2, ())), "is read"),
    "too few locals for a key": (unset(tree.Walk(NAMED, (), 5, (), 2, ())), "0 locals for 1 parts of a key"),
    "too many locals for a key": (unset(tree.Walk(CELL, (), 5, (3,), 2, ())), "1 locals for 0 parts of a key"),
    "one local twice for a key": (unset(tree.Walk(PARTS, (), 5, (3, 0, 3), 2, ())), "one local twice"),
    "the record in the key's local": (unset(tree.Walk(NAMED, (), 5, (3,), 3, ())), "one local twice"),
    "a record in another's local": (unset(tree.Walk(CELL, (), 5, (), 2, ())), "struct 1 where struct 0 is needed"),
}


@pytest.mark.parametrize("flaw", REFUSED)
def test_F20_the_verifier_refuses(flaw):
    made, why = REFUSED[flaw]
    said = reason(encode(made))
    assert why in said, said
    assert said.startswith("function "), "it says where"


HALF = tree.If(TRUE, (SET,), (RETURN,))
PASSED: dict[str, Program] = {
    "an expression 64 deep": do(deep(64)),
    "blocks 16 deep": of(*nested((), 15)),
    "calls 8 deep": program(*chain(8)),
    "a product of 254 bits": do(product(2)),
    "sums up to 255 bits": do(add(product(2), add(product(2), num(-1)))),
    "a text of 65,536": do(tree.Concat(TEXT, tree.Const("a" * 25_536))),
    "bytes of 1,024 compared": do(tree.Compare(Relation.EQ, tree.Blob(bytes(1_024)), tree.Blob(b""))),
    "set on both ways": unset(tree.If(TRUE, (SET,), (SET,)), READ),
    "set unless it ends": unset(HALF, READ),
    "set unless it fails": unset(tree.If(TRUE, (FAIL,), (SET,)), READ),
    "set before, broken off": unset(SET, *passing_on(BREAK), READ),
    "set by a loop, within": unset(tree.For(0, tree.ListOf(DIGIT, ()), (READ,))),
    "set by a walk, within": unset(tree.Walk(NAMED, (), 5, (3,), 2, (tree.Do(get(3)), tree.Do(get(2))))),
    "set by a count that never runs": unset(tree.Count(0, num(5), num(-50), (READ,))),
    "a call without result, done": program(function(name="f"), function(tree.Do(tree.Call(0, ())))),
    "a result on every way": program(
        function(tree.If(TRUE, (tree.Return((num(1),)),), (FAIL,)), result=DIGIT),
    ),
    "a failure as the result": program(function(tree.Return((tree.Fail(1),)), result=DIGIT)),
    "nothing after a failure": program(function(FAIL, result=DIGIT)),
    "no function": program(methods=()),
    "a struct of nothing": do(tree.Make(EMPTY, ())),
    "an optional for a walk": program(
        function(tree.Walk(NAMED, (), 5, (0,), 1, ()), types=(Text(0, 99), Optional(PAIR)))
    ),
    "a method scheduled": program(
        function(tree.Schedule(num(1), tree.Blob(bytes(32)), 0, ())),
        methods=(method(scheduled_gas=10_000_000),),
    ),
    "a method of another contract": program(
        function(tree.Do(tree.Invoke(0, (tree.Blob(bytes(32)),)))), imports=imports((OTHER, "m", (HASH,), (DIGIT,)))
    ),
}


@pytest.mark.parametrize("sound", PASSED)
def test_F20_the_verifier_passes(sound):
    made = PASSED[sound]
    assert reason(encode(made)) == ""
    verified = verify(encode(made))
    assert verified.program == made
    assert len(verified.hash) == 32


def test_F20_two_programs_are_two_hashes():
    one = program(function(name="one"))
    two = program(function(name="two"))
    renamed = msgspec.structs.replace(one, summary="says more")
    assert len({verify(encode(each)).hash for each in (one, two, renamed)}) == 3


def test_F20_a_walk_under_a_whole_key_is_refused():
    # Its last part, a text, is not ended within the key: the walk would also find the longer ones that begin so.
    walk = tree.Walk(NAMED, (tree.Const("a"),), 5, (), 0, ())
    assert "a walk under a whole key" in reason(encode(program(function(walk, types=(Struct(PAIR),)))))
    assert reason(encode(program(function(tree.Store(NAMED, (tree.Const("a"),), pair(1)))))) == ""
