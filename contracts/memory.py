"""A state in memory, for genesis, tests, benchmarks and tools."""

from collections.abc import Iterator, Mapping


class MemoryState:
    """State reader over a dict. A scan sorts all keys: for states of some ten thousand entries, not for a validator."""

    def __init__(self, entries: Mapping[bytes, bytes] | None = None) -> None:
        self.entries: dict[bytes, bytes] = dict(entries or {})

    def get(self, key: bytes) -> bytes | None:
        """Value of a key, None if it is absent."""
        return self.entries.get(key)

    def scan(self, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Pairs whose key begins with `prefix` and is greater than `after`, in key order."""
        keys = sorted(key for key in self.entries if key.startswith(prefix) and key > after)
        return ((key, self.entries[key]) for key in keys)

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Take over a block's changes."""
        for key, value in changes.items():
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value
