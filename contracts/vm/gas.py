"""What running costs: one unit is about a nanosecond of the generated code on the machine that the schedule was
measured on (`bench/gas.py`).

A block pays for its own statements when it is entered, whichever of their parts are then computed; blocks within it pay
for themselves. What depends on sizes is paid for when it happens, before it happens, by the host. So both engines
charge the same, at the same points.
"""

from msgspec import Struct as Plain

from contracts.vm import tree
from contracts.vm.functions import HOST_FUNCTIONS
from contracts.vm.tree import Block, Expr, Statement
from contracts.vm.walk import expressions, within


class Schedule(Plain, frozen=True):
    """A version of the prices. What is on a chain keeps its meaning: new prices are a new version."""

    version: int
    entry: int
    """Entering a block."""
    nodes: dict[type, int]
    """Of a node alone."""
    part: int
    """Of each field, item, argument, change, or part of a key."""
    nanogas_per_byte: int
    """Copying bytes, characters or items, in thousandths of a unit."""
    per_item: int
    """Looking at an item of a list in Contains; four times that in SortedSet."""


SCHEDULE_1 = Schedule(
    version=1,
    entry=20,
    nodes={
        tree.Const: 2,
        tree.Blob: 2,
        tree.Get: 2,
        tree.Arith: 20,
        tree.Compare: 20,
        tree.And: 7,
        tree.Or: 7,
        tree.Not: 5,
        tree.Choose: 7,
        tree.Len: 20,
        tree.Index: 50,
        tree.Slice: 200,
        tree.Concat: 100,
        tree.Contains: 75,
        tree.SortedSet: 200,
        tree.ListOf: 20,
        tree.WithItem: 200,
        tree.Make: 50,
        tree.Field: 10,
        tree.With: 150,
        tree.Absent: 2,
        tree.IsAbsent: 10,
        tree.OrElse: 12,
        tree.Present: 12,
        tree.Load: 100,
        tree.Decode: 1_000,
        tree.Call: 60,
        tree.Invoke: 250,
        tree.Host: 30,
        tree.Fail: 500,
        tree.Set: 5,
        tree.Do: 2,
        tree.Store: 100,
        tree.Delete: 50,
        tree.Emit: 50,
        tree.Schedule: 250,
        tree.Cancel: 50,
        tree.If: 7,
        tree.While: 7,
        tree.For: 30,
        tree.Count: 50,
        tree.Walk: 500,
        tree.Break: 2,
        tree.Continue: 2,
        tree.Return: 10,
    },
    part=15,
    nanogas_per_byte=250,
    per_item=40,
)


def block_gas(schedule: Schedule, block: Block, condition: Expr | None = None) -> int:
    """Gas at the entry of a block; of a While's body with the condition that is computed once more after it."""
    again = expr_gas(schedule, condition) if condition is not None else 0
    return schedule.entry + again + sum(_statement_gas(schedule, statement) for statement in block)


def expr_gas(schedule: Schedule, node: Expr) -> int:
    """Gas of an expression with all its parts."""
    parts, own = within(node), schedule.nodes[type(node)]
    if isinstance(node, tree.Host):
        own += HOST_FUNCTIONS[node.function].gas
    if isinstance(node, tree.Make | tree.ListOf | tree.With | tree.Load | tree.Call | tree.Invoke | tree.Host):
        own += schedule.part * len(parts)
    return own + sum(expr_gas(schedule, part) for part in parts)


def _statement_gas(schedule: Schedule, statement: Statement) -> int:
    parts = expressions(statement)
    return schedule.nodes[type(statement)] + sum(expr_gas(schedule, part) for part in parts)
