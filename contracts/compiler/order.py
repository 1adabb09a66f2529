"""Whether it shows in which order expressions are computed."""

from contracts.vm import tree
from contracts.vm.operators import Op

_QUIET = (
    tree.Const,
    tree.Blob,
    tree.Get,
    tree.Compare,
    tree.And,
    tree.Or,
    tree.Not,
    tree.Choose,
    tree.Len,
    tree.ListOf,
    tree.Make,
    tree.Field,
    tree.Change,
    tree.With,
    tree.Absent,
    tree.IsAbsent,
    tree.OrElse,
)
_NUMBERS = (Op.ADD, Op.SUB, Op.MUL, Op.MIN, Op.MAX)


def is_quiet(node: object) -> bool:
    """Whether an expression does nothing, sees nothing of what others do, and fails, if at all, with OUT_OF_RANGE."""
    if isinstance(node, tuple):
        return all(map(is_quiet, node))
    if isinstance(node, tree.Arith):
        return node.op in _NUMBERS and is_quiet((node.left, node.right))
    if not isinstance(node, _QUIET):
        # Types, numbers and names within a node are no expressions.
        return not isinstance(node, tree.Expr)
    return all(is_quiet(getattr(node, name)) for name in node.__struct_fields__)
