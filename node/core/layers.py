"""The state as the next block sees it: the store's snapshot under the changes of blocks that are executed but not
sealed yet.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple, Protocol


class Base(Protocol):
    """The state at a sealed height: a snapshot of the store."""

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries under a prefix in key order."""

    def tile(self, path: bytes) -> bytes | None:
        """Tile of the state tree."""


class Layer(NamedTuple):
    """What one block changed."""

    height: int
    changes: Mapping[bytes, bytes | None]
    keys: Sequence[bytes]
    """Of the changes, sorted."""
    tiles: Mapping[bytes, bytes | None]


class LayeredState:
    """A StateReader and TileSource. At most 2 K layers, so each read costs at most 2 K look-ups before the store's."""

    def __init__(self, base: Base, layers: Sequence[Layer]) -> None:
        """`layers` are the blocks right above the base, in order of height."""
        self._base = base
        self._layers = layers
        self._changes = [layer.changes for layer in reversed(layers)]
        self._tiles = [layer.tiles for layer in reversed(layers)]

    def get(self, key: bytes) -> bytes | None:
        """Value of a key."""
        for changes in self._changes:
            if key in changes:
                return changes[key]
        return self._base.get(key)

    def tile(self, path: bytes) -> bytes | None:
        """Tile under a path."""
        for tiles in self._tiles:
            if path in tiles:
                return tiles[path]
        return self._base.tile(path)

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Entries whose keys begin with `prefix` and lie behind `after`, in key order."""
        changed: dict[bytes, bytes | None] = {}
        first = max(prefix, after + b"\0") if after else prefix
        for layer in self._layers:
            for key in islice(layer.keys, bisect_left(layer.keys, first), None):
                if not key.startswith(prefix):
                    break
                changed[key] = layer.changes[key]
        keys = sorted(changed)
        at = 0
        for key, value in self._base.scan(prefix, after):
            while at < len(keys) and keys[at] < key:
                newer = changed[keys[at]]
                if newer is not None:
                    yield keys[at], newer
                at += 1
            if key not in changed:
                yield key, value
        for key in keys[at:]:
            newer = changed[key]
            if newer is not None:
                yield key, newer
