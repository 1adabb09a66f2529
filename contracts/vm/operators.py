"""The operators of arithmetic and comparison."""

from enum import IntEnum


class Op(IntEnum):
    """Arithmetic."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV_FLOOR = 3
    """Rounded down. The divisor of these four must be positive."""
    DIV_CEIL = 4
    """Rounded up."""
    DIV_HALF_UP = 5
    """Rounded to the nearest, halves up."""
    MOD = 6
    """What DIV_FLOOR leaves: from 0 to below the divisor."""
    MIN = 7
    MAX = 8


class Relation(IntEnum):
    """Comparisons: of two numbers, byte strings or texts, in their natural order; of two booleans, EQ and NE
    only.
    """

    EQ = 0
    NE = 1
    LT = 2
    LE = 3
    GT = 4
    GE = 5
