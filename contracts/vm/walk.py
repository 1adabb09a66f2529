"""What is directly within each node of a tree."""

from collections.abc import Sequence

from contracts.vm import tree
from contracts.vm.tree import Block, Expr, Statement

Node = Statement | Expr


def blocks(statement: Statement) -> Sequence[Block]:
    """The blocks within a statement."""
    match statement:
        case tree.If(_, then, otherwise):
            return (then, otherwise)
        case tree.While(_, body) | tree.For(_, _, body) | tree.Count(_, _, _, body) | tree.Walk(_, _, _, _, _, body):
            return (body,)
    return ()


def within(node: Expr) -> Sequence[Expr]:
    """The expressions directly within an expression, in the order in which they are computed."""
    match node:
        case tree.Arith(_, left, right) | tree.Compare(_, left, right):
            return (left, right)
        case tree.And(left, right) | tree.Or(left, right) | tree.Concat(left, right):
            return (left, right)
        case tree.Contains(left, right) | tree.Index(left, right) | tree.OrElse(left, right):
            return (left, right)
        case tree.Choose(first, second, third) | tree.Slice(first, second, third) | tree.WithItem(first, second, third):
            return (first, second, third)
        case tree.Not(operand) | tree.Len(operand) | tree.SortedSet(operand) | tree.IsAbsent(operand):
            return (operand,)
        case tree.Present(operand) | tree.Field(operand, _) | tree.Decode(_, operand):
            return (operand,)
        case tree.ListOf(_, parts) | tree.Make(_, parts) | tree.Load(_, parts) | tree.Call(_, parts):
            return parts
        case tree.Invoke(_, parts) | tree.Host(_, parts):
            return parts
        case tree.With(_, changes):
            return tuple(change.value for change in changes)
    return ()


def expressions(statement: Statement) -> Sequence[Expr]:
    """The expressions directly within a statement, without those of its blocks."""
    match statement:
        case tree.Set(_, value) | tree.Do(value) | tree.Emit(_, value):
            return (value,)
        case tree.Store(_, key, value):
            return (*key, value)
        case tree.Delete(_, key):
            return key
        case tree.Schedule(due_ms, call_id, _, args):
            return (due_ms, call_id, *args)
        case tree.Cancel(first, second) | tree.Count(_, first, second, _):
            return (first, second)
        case tree.If(condition, _, _) | tree.While(condition, _):
            return (condition,)
        case tree.For(_, items, _):
            return (items,)
        case tree.Walk(_, prefix, _, _, _, _):
            return prefix
        case tree.Return(value):
            return value
    return ()
