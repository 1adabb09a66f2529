"""F20: what the forms of the language become, and that they do what they say, by both engines."""

import re

import pytest

from contracts.compiler.compiler import compile_source
from contracts.vm import tree
from contracts.vm.operators import Op, Relation
from contracts.vm.program import Program
from contracts.vm.tree import Statement
from tests.vm.kit import Ran, run

HEAD = '''"""A contract."""
from contracts.language import *

CONTRACT = Contract("own", Business.LOAD, Branch.CHARGING)
LIMIT = 2 ** 4 - 6 // 4 * 3
LEAST = -(2 ** 63)
NAME = "own"
ZEROS = b"\\0" * 32
Digit = Annotated[int, Range(0, 9)]
Row = Annotated[List[U8], Size(0, 9)]
Numbers = Annotated[List[I64], Size(0, 9)]
class State(Enum):
    OPEN = 1
    SHUT = 2
class Inner(Struct):
    """Within others."""
    a: U8 = 1
    """First."""
    b: U8 = 2
    rows: Row = []
    state: State = State.SHUT
class Outer(Struct):
    inner: Inner
    maybe: Inner | None = None
    n: U8 = LIMIT
Known = Inner | None
INNERS: Table[U8, Inner] = table("i")
PARTS: Table[tuple[Name, U8], Inner] = table("p")
LAST: Cell[Inner] = cell("l")
class Code(Codes):
    BAD = 1, "bad"
    WORSE = 2, "worse"
TOLD: Event[Inner] = event("own.told")
def tell(n: U8) -> U8:
    """Says that it was called."""
    emit(TOLD, Inner(n))
    return n
'''


def compiled(body: str, result: str = "U8", params: str = "x: U8, y: U8") -> Program:
    """A contract of one method."""
    lines = "\n    ".join(body.strip().splitlines())
    return compile_source(f"{HEAD}@method(Role.GRID)\ndef go({params}) -> {result}:\n    {lines}\n")


def go(body: str, *args: object, result: str = "U8", params: str = "x: U8, y: U8") -> Ran:
    """Compile and run it."""
    return run(compiled(body, result, params), *args)


def block(body: str, **changes: str) -> tuple[Statement, ...]:
    """The tree of a method's body."""
    return compiled(body, **changes).functions[-1].body


VALUES: dict[str, tuple[str, object]] = {
    "x = 5; x += y; return x": ("U8", 8),
    "x -= 1; x *= 4; x //= 3; x %= 3; return x": ("U8", 2),
    "return LIMIT + 1": ("U8", 14),
    "return LEAST": ("I64", -(2**63)),
    "return NAME": ("Name", "own"),
    "return ZEROS": ("Hash", bytes(32)),
    "return -x + 10": ("U8", 3),
    "return State.OPEN": ("State", 1),
    "return 1 < y < x <= 7": ("bool", True),
    "return 1 < y < y": ("bool", False),
    "return not x == 7 or y == 3 and x != 7": ("bool", False),
    "return True and x > 1 and y >= 4": ("bool", False),
    "return x if y == 3 else y": ("U8", 7),
    "return ceil_div(x, y) * 100 + round_half_up(x, y) * 10 + x // y": ("I64", 322),
    "return min(x, y, 5) * 10 + max(x, y, 5)": ("I64", 37),
    "return [x, y, x]": ("Row", [7, 3, 7]),
    "rows = [x, y, x]; return rows[-1] * 10 + rows[-2]": ("I64", 73),
    "rows = [x, y, x]; rows[-1] = 9; rows[0] += 1; rows[-2] += rows[-1]; return rows": ("Numbers", [8, 12, 9]),
    "rows = [x, y, x]; return rows[1:]": ("Numbers", [3, 7]),
    "rows = [x, y, x]; return rows[:1]": ("Numbers", [7]),
    "rows = [x, y, x]; return rows[0:2] + [1]": ("Numbers", [7, 3, 1]),
    "rows: Row = []; rows.append(x); rows.append(y); return [*rows, 1, *rows]": ("Row", [7, 3, 1, 7, 3]),
    "return sorted_set([x, y, x])": ("Row", [3, 7]),
    "return x in [7, 8] and y not in [7, 8]": ("bool", True),
    "return NAME + 'ed'": ("Name", "owned"),
    "return len(utf8('桩'))": ("U8", 3),
    "return Inner()": ("Inner", [1, 2, [], 2]),
    "return Inner(x, rows=[y])": ("Inner", [7, 2, [3], 2]),
    "return Outer(n=1, inner=Inner(state=State.OPEN, a=5))": ("Outer", [[5, 2, [], 1], None, 1]),
    "return Outer(Inner())": ("Outer", [[1, 2, [], 2], None, 13]),
    "i = Inner(); i.b = x; i.a = y; return i": ("Inner", [3, 7, [], 2]),
    "i = Inner(); i.b += i.a; i.a += i.b; return i": ("Inner", [4, 3, [], 2]),
    "i = Inner(); i.rows.append(x); i.rows.append(y); i.rows[0] += 1; i.rows[-1] = 2; return i": (
        "Inner", [1, 2, [8, 2], 2]
    ),
    "o = Outer(Inner()); o.inner.a = x; o.inner.rows.append(y); o.inner.b += 1; o.inner.rows[0] += 1; return o": (
        "Outer", [[7, 3, [4], 2], None, 13]
    ),
    "i = Inner(); j = i; j.a = 9; return i.a * 10 + j.a": ("U8", 19),
    "i = Inner(); return replace(i, b=x, a=y)": ("Inner", [3, 7, [], 2]),
    "i: Inner | None = None; return i is None": ("bool", True),
    "i: Inner | None = Inner(); return i is not None and i.a == 1": ("bool", True),
    "return (INNERS.get(x) or Inner(9)).a": ("U8", 9),
    "i = INNERS.get(x) or Inner(9); return i.a": ("U8", 9),
    "INNERS[x] = Inner(4); return INNERS[x].a + INNERS.get(x).a": ("U8", 8),
    "INNERS[x] = Inner(); del INNERS[x]; return x in INNERS or y in INNERS": ("bool", False),
    "PARTS['a', x] = Inner(5); return ('a', x) in PARTS and ('a', y) not in PARTS": ("bool", True),
    "PARTS['a', x] = Inner(5); return PARTS.get('a', x)": ("Inner", [5, 2, [], 2]),
    "LAST.write(Inner(6)); return LAST.read().a": ("U8", 6),
    "LAST.write(Inner(6)); LAST.clear(); return LAST.get() is None": ("bool", True),
    "return decode(Inner, ZEROS) is None": ("bool", True),
    "w: Wide = x; w = w * w; return w // 7": ("U8", 7),
    "b = x > y; return b": ("bool", True),
    "t = 'abc'; t = ''; return len(t)": ("U8", 0),
    "d = ZEROS; return len(d)": ("U8", 32),
    "return tell(n=x)": ("U8", 7),
    "return y == 3": ("bool", True),
    "pass; return call.company == '' and block.time_ms == 1_000 and block.height == 7": ("bool", True),
    "return len(call.id) + len(call.caller) + len(chain.id)": ("U8", 97),
    "if x == 1: return 1\nelif x == 7: return 2\nelse: return 3": ("U8", 2),
    "n = 0\nwhile n < 5: n += y\nreturn n": ("U8", 6),
    "n = 0\nfor i in range(y): n += i\nfor i in range(2, 4): n += i\nreturn n": ("U8", 8),
    "n = 0\nfor i in [x, y]:\n    if i == 7: continue\n    n += i\n    break\nreturn n": ("U8", 3),
    "n = 0\nfor k, r in INNERS.items(limit=9): n += k\nreturn n": ("U8", 0),
}  # fmt: skip


@pytest.mark.parametrize("text", VALUES, ids=lambda text: text.replace("\n", "⏎"))
def test_F20_forms_do_what_they_say(text):
    result, value = VALUES[text]
    found = go(re.sub("; ", "\n", text), 7, 3, result=result)
    assert (found.code, found.value) == (0, value)


def test_F20_forms_are_sugar_for_few_nodes():
    x, y = tree.Get(0), tree.Get(1)
    assert block("x += y\nreturn x")[0] == tree.Set(0, tree.Arith(Op.ADD, x, y))
    below = tree.And(tree.Compare(Relation.LT, tree.Const(1), x), tree.Compare(Relation.LE, x, y))
    assert block("return 1 < x <= y", result="bool") == (tree.Return((below,)),)
    fail = (tree.Do(tree.Fail(1)),)
    holds = tree.Compare(Relation.EQ, x, y)
    assert block("require(x == y, Code.BAD)\nreturn x")[0] == tree.If(tree.Not(holds), fail, ())
    assert block("require(not x == y, Code.BAD)\nreturn x")[0] == tree.If(holds, fail, ())
    last = tree.Index(tree.Get(2), tree.Arith(Op.SUB, tree.Len(tree.Get(2)), tree.Const(1)))
    assert block("r = [x]\nreturn r[-1]")[1] == tree.Return((last,))
    assert block("'''Prose.'''\npass\nreturn x") == (tree.Return((x,)),)
    assert block("return", result="None") == block("return None", result="None") == (tree.Return(()),)


WALK = """
PARTS["a", 1] = Inner(1)
PARTS["a", 2] = Inner(2)
PARTS["b", 1] = Inner(3)
found: Row = []
n: U8 = 0
{}
return found
"""
WALKS = {
    "for (name, n), r in PARTS.items(limit=9):\n    found.append(len(name) * 10 + n)\n    found.append(r.a)": [
        11, 1, 12, 2, 11, 3
    ],
    "for n, r in PARTS.items('a', limit=9): found += [n, r.a]": [1, 1, 2, 2],
    "for (n,), r in PARTS.items('a', limit=1): found += [n, r.a]": [1, 1],
    "for _, r in PARTS.items('b', limit=9): found.append(r.a)": [3],
    "for (_, _), _ in PARTS.items(limit=9): found.append(1)": [1, 1, 1],
    "for n, _ in PARTS.items('c', limit=9): found.append(n)": [],
}  # fmt: skip


@pytest.mark.parametrize("walk", WALKS)
def test_F20_walks_give_what_is_left_of_the_keys(walk):
    found = go(WALK.format(walk), 7, 3, result="Row")
    assert (found.code, found.value) == (0, WALKS[walk])


MERGED = {
    "i.a = x\ni.b = y": 1,
    "i.b = y\ni.a = x": 1,
    "i.a = x\ni.state = State.OPEN\ni.b = y": 1,
    "i.a = x\ni.b = i.a": 2,
    "i.a = x\ni.a = y": 2,
    "i.a = x\ni.b = Outer(i).inner.a": 2,
    "i.a = x\ni.b = replace(i, rows=[]).a": 2,
    "i.a = x\ni.rows = [i.b]": 1,
    "i.a = x\ni.rows = [i.a, 2]": 2,
    "i.a = tell(x)\ni.b = tell(y)": 1,
    # What is written first is done first.
    "i.b = tell(x)\ni.a = tell(y)": 2,
    "i.b = x\ni.a = INNERS[y].a": 2,
    "i.b = x // y\ni.a = y": 2,
    "i.b = x + y\ni.a = y * x": 1,
    "i.state = 3 * x\ni.a = 1 if x == 7 else 0": 1,
}


@pytest.mark.parametrize("changes", MERGED, ids=lambda text: text.replace("\n", "⏎"))
def test_F20_changes_of_one_struct_in_a_row_become_one_but_do_the_same(changes):
    start, end = "i = Inner(3, 4, [5])\n", "\nreturn i"
    merged = start + changes + end
    # A statement between them keeps them apart.
    apart = start + changes.replace("\n", "\nz = 0\n") + end
    assert sum(isinstance(each, tree.Set) for each in block(merged, result="Inner")[1:]) == MERGED[changes]
    for args in ((7, 3), (0, 0), (255, 255)):
        one, other = go(merged, *args, result="Inner"), go(apart, *args, result="Inner")
        assert (one.code, one.value, one.events) == (other.code, other.value, other.events)
        assert one.gas <= other.gas or one.code != 0


def test_F20_codes_end_calls():
    assert go("require(x == 7, Code.BAD)\nfail(Code.WORSE)", 7, 3).code == 40_002
    assert go("require(x == 6, Code.BAD)\nfail(Code.WORSE)", 7, 3).code == 40_001
    assert go("i = INNERS.get(x) or fail(Code.WORSE)\nreturn i.a", 7, 3).code == 40_002
    assert go("return INNERS[x].a", 7, 3).code == 18
    assert go("return x - 8", 7, 3).code == 16
    assert go("rows = [x]\nreturn rows[-2]", 7, 3).code == 19


def test_F20_methods_say_who_may_call_them():
    text = (
        HEAD
        + '''class Money(Interface):
    """Another contract."""
    def pay(self, name: Name, n: U8) -> U8: ...
MONEY = Money(2)
MAKERS = 3
@method(Role.OWNER, Role.GRID, business=Business.PAYMENT)
def open_(n: U8) -> U8:
    """Opens.

    And more.
    """
    return MONEY.pay(n=n, name="a")
@internal(MAKERS, 2)
def close() -> None:
    schedule(2_000, ZEROS, end, 3)
    cancel(2_000, ZEROS)
@scheduled(gas=9_000)
def end(n: U8) -> None:
    pass
@method(Role.PILE, device=True)
def read(counter: U63) -> None:
    pass
'''
    )
    program = compile_source(text)
    opened, close, end, read = program.methods
    assert (opened.name, opened.roles, opened.business, opened.summary) == ("open", (4, 7), 2, "Opens.")
    assert (close.roles, close.callers, close.scheduled_gas) == ((), (2, 3), 0)
    assert (end.scheduled_gas, end.callers, end.business, read.device) == (9_000, (), 6, True)
    assert (program.name, program.branch, program.summary) == ("own", 1, "A contract.")
    assert [code.name for code in program.codes] == ["BAD", "WORSE"]
    (imported,) = program.imports
    assert (imported.contract, imported.method, len(imported.params)) == (2, "pay", 2)
