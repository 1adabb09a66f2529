"""Median and tail of a measurement."""

from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile (nearest rank), zero without values."""
    ordered = sorted(values)
    return {
        f"p{percent}": round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 1) if ordered else 0
        for percent in (50, 99)
    }
