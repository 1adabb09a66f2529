"""What the tests of the state tree share: the root as it is defined, a store in memory, keys whose places collide."""

from unittest.mock import patch

from hypothesis import strategies as st

from ledger.hashing import ZERO_HASH, Tag, sm3
from ledger.state_tree import StateTree, TreeChange


def naive_root(state):
    """Compute the root of a dict by the definition, bit by bit."""
    return subtree({place_of(key): value for key, value in state.items()}, 0)


def subtree(values, depth):
    """Compute the root of {place: value} whose places agree in the first `depth` bits."""
    if not values:
        return ZERO_HASH
    if len(values) == 1:
        [(place, value)] = values.items()
        return sm3(Tag.STATE_LEAF, place, sm3(Tag.STATE_VALUE, value))
    halves: tuple[dict, dict] = ({}, {})
    for place, value in values.items():
        halves[place[depth // 8] >> (7 - depth % 8) & 1][place] = value
    return sm3(Tag.STATE_INNER, subtree(halves[0], depth + 1), subtree(halves[1], depth + 1))


class MemoryTiles(dict):
    """Tiles in a dict."""

    def tile(self, path):
        """Return the tile under a path."""
        return self.get(path)

    def write(self, change: TreeChange):
        """Make a change's version the stored one."""
        for path, tile in change.tiles.items():
            if tile is None:
                del self[path]
            else:
                self[path] = tile


def stored(state):
    """Return the tree of a dict and its store, built in one go."""
    tiles = MemoryTiles()
    change = StateTree(tiles).apply(state)
    tiles.write(change)
    return StateTree(tiles, change.root), tiles


CROWDED = b"crowded"


def place_of(key):
    """Place a key by its hash, or, if it starts with CROWDED, by what follows: so that tests reach deep tiles."""
    if key.startswith(CROWDED):
        return key.removeprefix(CROWDED).ljust(32, b"\x55")
    return sm3(Tag.STATE_KEY, key)


crowding = (
    patch.multiple("ledger.state_tree", hash_key=place_of),
    patch.multiple("ledger.state_proof", hash_key=place_of),
)
"""Start both, and crowded keys lie beside each other."""

crowded_keys = st.lists(st.sampled_from(b"\x00\x01\x10\x80\xff"), min_size=1, max_size=5).map(
    lambda places: CROWDED + bytes(places)
)
keys = crowded_keys | st.binary(max_size=3)
values = st.binary(max_size=4)
states = st.dictionaries(keys, values, max_size=60)
