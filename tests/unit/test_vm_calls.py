"""F20: calls: of functions, of other contracts, of the host, and as deep as they may go, by both engines."""

import pytest

from contracts.codes import Code
from contracts.host import SCHEDULE, schedule_key
from contracts.memory import MemoryState
from contracts.vm import tree
from contracts.vm.operators import Op
from contracts.vm.tree import Expr, Statement
from ledger.block import Event
from ledger.codec import encode
from tests.vm.kit import (
    COUNTED,
    DIGIT,
    GAS,
    HASH,
    HOLDER,
    I64,
    NAMED,
    OTHER,
    OWN,
    PAIR,
    Bool,
    Bytes,
    Int,
    List,
    Optional,
    Ran,
    Struct,
    Text,
    Type,
    add,
    evaluated,
    function,
    get,
    imports,
    method,
    nested,
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


# ── calls within the contract ─────────────────────────────────────────────────────────────────────────────────────────


def test_F20_functions_call_those_before_them_eight_deep():
    chain = [function(tree.Return((A,)), name="f0", types=(DIGIT,), params=1, result=I64)]
    for place in range(1, 8):
        more = tree.Return((add(tree.Call(place - 1, (A,)), num(1)),))
        chain.append(function(more, name=f"f{place}", types=(DIGIT,), params=1, result=I64))
    assert run(program(*chain), 2).value == 9
    inner = function(tree.Set(0, num(9)), types=(DIGIT,), params=1, name="inner")
    outer = function(tree.Do(tree.Call(0, (A,))), tree.Return((A,)), types=(DIGIT,), params=1, result=DIGIT)
    assert run(program(inner, outer), 4).value == 4, "arguments copy"


DEEP = 64


def deepest(kind: str) -> tuple[Expr, Type]:
    """An expression 64 deep of one kind of node with a check at each argument."""
    node: Expr = A
    result: Type = I64
    match kind:
        case "calls":
            for _ in range(DEEP - 1):
                node = tree.Call(0, (node,))
        case "other contracts":
            for _ in range(DEEP - 1):
                node = tree.Invoke(0, (node,))
        case "items of lists":
            for _ in range((DEEP - 1) // 2):
                node = tree.Index(tree.ListOf(DIGIT, (node,)), num(0))
        case "fields":
            for _ in range((DEEP - 1) // 2):
                node = tree.Field(tree.Make(PAIR, (node, text(""))), 0)
        case "changes":
            node = B
            for _ in range((DEEP - 2) // 2):
                node = tree.With(1, (tree.Change(0, tree.Field(node, 0)),))
            node = tree.Field(node, 0)
        case "divisions":
            for _ in range(DEEP - 1):
                node = tree.Arith(Op.DIV_HALF_UP, node, A)
        case "least":
            for _ in range(DEEP - 1):
                node = tree.Arith(Op.MIN, node, A)
        case "calls of divisions":
            for _ in range((DEEP - 1) // 2):
                node = tree.Call(0, (tree.Arith(Op.DIV_CEIL, node, A),))
        case "alternatives":
            node, result = get(3), Struct(PAIR)
            for _ in range(DEEP - 2):
                node = tree.OrElse(node, get(3))
            node = tree.Present(node)
        case "records":
            for _ in range((DEEP - 1) // 3):
                node = tree.Field(tree.Present(tree.Load(COUNTED, (node,))), 0)
        case "slices":
            node, result = tree.Blob(b"ab"), Bytes(0, 9)
            for _ in range(DEEP - 1):
                node = tree.Slice(node, num(0), num(1))
        case "other items":
            for _ in range((DEEP - 1) // 2):
                node = tree.Index(tree.WithItem(get(4), num(0), node), num(0))
    return node, result


DEEPEST = [
    "calls", "other contracts", "items of lists", "fields", "changes", "divisions", "least", "calls of divisions",
    "alternatives", "records", "slices", "other items",
]  # fmt: skip


@pytest.mark.parametrize("kind", DEEPEST)
def test_F20_expressions_64_deep_run_within_blocks_16_deep(kind):
    node, result = deepest(kind)
    taking = function(tree.Return((A,)), types=(DIGIT,), params=1, result=I64, name="taking")
    types = (I64, Struct(PAIR), Bytes(0, 40), Optional(PAIR), List(DIGIT, 1, 1))
    key = tree.Store(COUNTED, (node,), pair(1)) if result == I64 else tree.Do(node)
    body = nested((key, tree.Return((node,))), 15)
    start: list[Statement] = [
        tree.Set(1, pair(1)),
        tree.Set(4, tree.ListOf(DIGIT, (num(1),))),
        tree.Store(COUNTED, (num(1),), pair(1)),
    ]
    fill = [tree.Set(2, tree.Blob(b"")), tree.Set(3, pair(1, "y"))]
    last = tree.Do(tree.Fail(1))
    made = program(
        taking,
        function(*start, *fill, *body, last, types=types, params=1, result=result),
        imports=imports((OTHER, "go", (DIGIT,), (I64,))),
    )
    echo = program(function(tree.Return((A,)), types=(DIGIT,), params=1, result=I64))
    found = run(made, 1, others=[(OTHER, echo)])
    assert found.code == 0
    assert found.value == {"alternatives": [1, "y"], "slices": b"a"}.get(kind, 1)


# ── other contracts ───────────────────────────────────────────────────────────────────────────────────────────────────


def across(
    callee: tuple[tuple[Type, ...], tuple[Type, ...], Expr | None],
    seen: tuple[tuple[Type, ...], tuple[Type, ...]],
    args: tuple[Expr, ...],
    kept: Type | None = None,
) -> Ran:
    """Call a method of another contract, which is not quite what this one takes it for."""
    params, result, given = callee
    body = () if given is None else (tree.Return((given,)),)
    other = program(function(*body, types=params, params=len(params), result=result[0] if result else None))
    invoked = tree.Invoke(0, args)
    done = (tree.Do(invoked),) if kept is None else (tree.Return((invoked,)),)
    own = program(function(*done, result=kept), imports=imports((OTHER, "go", *seen)))
    return run(own, others=[(OTHER, other)])


SAME = Struct(PAIR)


def test_F20_arguments_and_results_cross_by_their_shape():
    struct = ((SAME,), (SAME,), A)
    assert across(struct, ((SAME,), (SAME,)), (pair(3, "x"),), SAME).value == [3, "x"]
    wider = ((Int(-5, 50),), (Int(-5, 50),), A)
    assert across(wider, ((DIGIT,), (Int(-9, 90),)), (num(9),), I64).value == 9
    assert across(wider, ((DIGIT,), (DIGIT,)), (num(9),), I64).value == 9, "the value fits, whatever the type"
    shifted = ((DIGIT,), (I64,), add(A, num(1)))
    assert across(shifted, ((DIGIT,), (DIGIT,)), (num(9),), I64).code == Code.RESULT_MALFORMED
    narrow = ((DIGIT,), (), None)
    assert across(narrow, ((I64,), ()), (num(9),)).code == 0
    assert across(narrow, ((I64,), ()), (num(10),)).code == Code.ARGS_MALFORMED
    assert across(narrow, ((Text(0, 9),), ()), (text("9"),)).code == Code.ARGS_MALFORMED
    assert across(narrow, ((), ()), ()).code == Code.ARGS_MALFORMED
    assert across(narrow, ((DIGIT, DIGIT), ()), (num(1), num(1))).code == Code.ARGS_MALFORMED
    assert across(narrow, ((DIGIT,), (DIGIT,)), (num(1),), I64).code == Code.RESULT_MALFORMED, "nothing comes back"
    assert across(((), (DIGIT,), num(1)), ((), ()), ()).code == Code.RESULT_MALFORMED, "something comes back"
    maybe = ((), (Optional(PAIR),), tree.Absent(PAIR))
    assert across(maybe, ((), (Optional(PAIR),)), (), Optional(PAIR)).code == 0
    assert across(maybe, ((), (SAME,)), (), SAME).code == Code.RESULT_MALFORMED
    alike = ((Struct(HOLDER),), (SAME,), tree.Field(A, 0))
    assert across(alike, ((SAME,), (SAME,)), (pair(1),), SAME).code == Code.ARGS_MALFORMED


def two(
    own_body: tuple[Statement, ...], *others: tuple[int, tuple[Statement, ...]], callers: tuple[int, ...] = ()
) -> Ran:
    """Contracts that call one another: import 0 is OWN, 1 OTHER, 2 THIRD, 3 nobody, 4 a method that there is not."""
    named = imports(
        (OWN, "go", (), ()), (OTHER, "go", (), ()), (THIRD, "go", (), ()), (99, "go", (), ()), (OTHER, "gone", (), ())
    )
    allowed = callers or (OWN, OTHER, THIRD)
    made = [
        (number, program(function(*body), imports=named, methods=(method(callers=allowed),)))
        for number, body in ((OWN, own_body), *others)
    ]
    return run(made[0][1], others=made[1:])


def invoke(place: int) -> Statement:
    """Call one of the imports of `two`."""
    return tree.Do(tree.Invoke(place, ()))


def test_F20_contracts_call_one_another_but_none_twice():
    tell, done = tree.Emit(0, pair(1)), (tree.Emit(0, pair(2)),)
    found = two((tell, invoke(1), tell), (OTHER, (invoke(2), tell)), (THIRD, done))
    expected = [OWN, THIRD, OTHER, OWN]
    assert [event.contract for event in found.events] == expected
    assert found.events[1] == Event(THIRD, "own.e", encode([2, ""]))
    assert two((invoke(0),)).code == Code.CALL_REENTRANT
    assert two((invoke(1),), (OTHER, (invoke(2),)), (THIRD, (invoke(0),))).code == Code.CALL_REENTRANT
    assert two((invoke(3),)).code == Code.METHOD_UNKNOWN
    assert two((invoke(4),), (OTHER, done)).code == Code.METHOD_UNKNOWN
    assert two((invoke(1),), (OTHER, done), callers=(THIRD,)).code == Code.METHOD_INTERNAL


def test_F20_a_contract_that_waits_is_not_called_even_by_another_of_its_methods():
    idle = function(name="idle")
    going = function(invoke(0))
    own = program(
        idle,
        going,
        imports=imports((OTHER, "go", (), ())),
        methods=(method(1), method(0, name="idle")),
    )
    other = program(function(invoke(0)), imports=imports((OWN, "idle", (), ())))
    assert run(own, others=[(OTHER, other)]).code == Code.CALL_REENTRANT


def test_F20_codes_are_those_of_the_contract_that_fails_and_all_is_undone():
    store = tree.Store(NAMED, (text("a"),), pair(1))
    for code in (1, 999):
        fail = tree.Do(tree.Fail(code))
        found = two((store, invoke(1)), (OTHER, (store, invoke(2))), (THIRD, (store, fail)))
        assert (found.code, found.changes, found.events) == (THIRD * 1_000 + code, {}, ())
        assert two((store, invoke(1), fail), (OTHER, (store,))).code == OWN * 1_000 + code
    kept = two((store, invoke(1)), (OTHER, (store,)))
    assert sorted(int.from_bytes(key[:4], "big") for key in kept.changes) == [OWN, OTHER]


def test_F20_contracts_call_eight_deep():
    def chain(length: int) -> int:
        numbers = [OWN, *range(OTHER, OTHER + length - 1)]
        made = []
        for place, number in enumerate(numbers):
            further = numbers[place + 1 : place + 2]
            named = imports(*((each, "go", (), ()) for each in further))
            body = tuple(tree.Do(tree.Invoke(0, ())) for _ in further)
            made.append((number, program(function(*body), imports=named, methods=(method(callers=tuple(numbers)),))))
        return run(made[0][1], others=made[1:]).code

    assert chain(8) == 0
    assert chain(9) == Code.CALL_TOO_DEEP


# ── the host ──────────────────────────────────────────────────────────────────────────────────────────────────────────

CALL_ID = tree.Blob(b"\x07" * 32)


def scheduling(due_ms: Expr) -> Ran:
    """Schedule the method `later` of a number; the block's time is 1,000."""
    later = function(types=(DIGIT,), params=1, name="later")
    made = program(
        later,
        function(tree.Schedule(due_ms, CALL_ID, 1, (num(7),))),
        methods=(method(1), method(0, ["n"], name="later", scheduled_gas=5_000)),
    )
    return run(made)


def test_F20_scheduled_calls():
    entry = SCHEDULE.prefix + schedule_key(1_001, OWN, b"\x07" * 32)
    assert scheduling(num(1_001)).changes == {entry: encode(["later", encode([7]), 5_000])}
    assert [scheduling(num(due)).code for due in (0, 1_000)] == [Code.SCHEDULE_PAST] * 2
    assert scheduling(num(-1)).code == Code.OUT_OF_RANGE
    assert ran(tree.Cancel(num(1_001), CALL_ID)).changes == {entry: None}
    assert ran(tree.Cancel(num(-1), CALL_ID)).code == Code.OUT_OF_RANGE
    short = tree.Slice(CALL_ID, num(0), A)
    assert [ran(tree.Cancel(num(5), short), types=(I64,), args=(n,)).code for n in (32, 31)] == [0, Code.OUT_OF_RANGE]


FACTS = {0: bytes([1]) * 33, 1: "", 2: bytes(32), 3: bytes(32), 4: 7, 5: 1_000}


@pytest.mark.parametrize("fact", FACTS)
def test_F20_what_the_host_knows_of_a_call(fact):
    kind: Type = I64 if fact > 3 else Text(0, 64) if fact == 1 else Bytes(0, 65)
    assert evaluated(tree.Host(fact, ()), kind).value == FACTS[fact]


def test_F20_another_contract_is_seen_by_its_number():
    other = program(function(tree.Return((tree.Host(0, ()),)), result=Bytes(0, 65)))
    own = program(
        function(tree.Return((tree.Invoke(0, ()),)), result=Bytes(0, 65)),
        imports=imports((OTHER, "go", (), (Bytes(0, 65),))),
    )
    assert run(own, others=[(OTHER, other)]).value == OWN.to_bytes(4, "big")


LENT: dict[str, tuple[int, tuple[Expr, ...], object]] = {
    "utf8": (13, (text("桩"),), "桩".encode()),
    "one byte": (14, (num(255),), b"\xff"),
    "four bytes": (15, (num(2**32 - 1),), b"\xff" * 4),
    "eight bytes": (16, (num(258),), bytes(6) + b"\x01\x02"),
    "printable": (17, (text("桩 1"),), True),
    "empty": (17, (text(""),), False),
    "control": (17, (text("a\n"),), False),
    "a signature that does not hold": (6, (tree.Blob(bytes(33)), tree.Blob(bytes(32)), tree.Blob(bytes(64))), False),
    "a key that is none": (7, (tree.Blob(bytes(33)), tree.ListOf(Int(1, 2), (num(1),))), False),
}


@pytest.mark.parametrize("lent", LENT)
def test_F20_what_the_host_lends(lent):
    place, args, expected = LENT[lent]
    kind: Type = Bool() if isinstance(expected, bool) else Bytes(0, 40)
    assert evaluated(tree.Host(place, args), kind).value == expected


def test_F20_digests_differ_by_their_purpose_and_cost_by_the_byte():
    data = (tree.Blob(bytes(32)),)
    company = (text("Grid"), tree.Blob(bytes(33)))
    node_key = (text("Grid"), *data)
    purposes = {8: data, 9: company, 10: company, 11: node_key, 12: data}
    nodes = [tree.Host(place, args) for place, args in purposes.items()]
    assert len({evaluated(node, HASH).value for node in nodes}) == len(nodes)
    long, short = (tree.Host(8, (A,)) for _ in range(2))
    kind = (Bytes(0, 9_000),)
    assert evaluated(long, HASH, kind, (bytes(1_000),)).gas - evaluated(short, HASH, kind, (b"",)).gas == 6_000


def test_F20_reading_costs_by_the_record():
    state = MemoryState({OWN_KEY + b"\x01a": encode([1, "x" * 9])})
    made = program(function(tree.Do(tree.Load(NAMED, (A,))), types=(Text(1, 64),), params=1))
    there, away = run(made, "a", state=state).gas, run(made, "b", state=state).gas
    assert there - away == 5 * len(encode([1, "x" * 9]))
    assert run(made, "a", state=state, gas=there - 1).code == Code.OUT_OF_GAS
    assert there < GAS
