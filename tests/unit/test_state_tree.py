"""The state tree: its root follows from the content alone, changes stack, a damaged store is noticed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import OurError
from ledger.hashing import ZERO_HASH
from ledger.state_proof import verify_state
from ledger.state_tree import StateTree, TileOverlay
from tests.unit.state_model import MemoryTiles, crowding, keys, naive_root, states, stored, values

changes = st.dictionaries(keys, values | st.none(), max_size=30)


@pytest.fixture(autouse=True, scope="module")
def crowded():
    """Let the tests choose where keys lie."""
    for patched in crowding:
        patched.start()
    yield
    for patched in crowding:
        patched.stop()


def after(state, change):
    """Return a dict as a change leaves it."""
    return {key: value for key, value in (state | change).items() if value is not None}


@given(st.lists(changes, max_size=6))
def test_root_and_tiles_follow_from_the_content_alone(steps):
    tiles, root = MemoryTiles(), ZERO_HASH
    state: dict[bytes, bytes] = {}
    for step in steps:
        change = StateTree(tiles, root).apply(step)
        tiles.write(change)
        root, state = change.root, after(state, step)
        assert root == naive_root(state)
        rebuilt, rebuilt_tiles = stored(state)
        assert (rebuilt.root, rebuilt_tiles) == (root, tiles)


@given(states, st.randoms(use_true_random=False))
def test_order_does_not_matter(state, random):
    pairs = list(state.items())
    random.shuffle(pairs)
    tiles, root = MemoryTiles(), ZERO_HASH
    for key, value in pairs:
        change = StateTree(tiles, root).apply({key: value})
        tiles.write(change)
        root = change.root
    assert root == naive_root(state)
    assert StateTree(tiles, root).apply(dict.fromkeys(state)).root == ZERO_HASH


def test_many_keys_grow_and_go():
    state = {number.to_bytes(4, "big"): bytes([number % 7]) for number in range(3000)}
    tree, tiles = stored(state)
    assert tree.root == naive_root(state)
    gone = dict.fromkeys(list(state)[:2990])
    change = tree.apply(gone)
    tiles.write(change)
    assert change.root == naive_root(after(state, gone))
    assert len(tiles) < 20
    rest = StateTree(tiles, change.root).apply(dict.fromkeys(state))
    tiles.write(rest)
    assert (rest.root, tiles) == (ZERO_HASH, {})


@given(states, changes)
def test_what_changes_nothing_writes_nothing(state, change):
    tree, _ = stored(state)
    same = {key: state.get(key) for key in change} | state
    again = tree.apply(same)
    assert (again.root, again.tiles) == (tree.root, {})


@given(states, st.lists(changes, min_size=1, max_size=8))
def test_unsealed_changes_stack(state, steps):
    tree, tiles = stored(state)
    before = dict(tiles)
    versions, stacked = [(tree.root, state)], []
    source = tiles
    for step in steps:
        root, content = versions[-1]
        stacked.append(StateTree(source, root).apply(step))
        source = TileOverlay(source, stacked[-1].tiles)
        versions.append((stacked[-1].root, after(content, step)))
    assert tiles == before
    assert [root for root, _ in versions] == [naive_root(content) for _, content in versions]
    for change, (root, content) in zip(stacked, versions[1:], strict=True):
        tiles.write(change)  # the oldest goes to disk: the newest version still reads right over it
        assert_proves(StateTree(source, versions[-1][0]), versions[-1][1])
        assert_proves(StateTree(tiles, root), content)


def assert_proves(tree, content):
    """Prove some keys that are there and one that is not."""
    for key in [*list(content)[:3], b"absent"]:
        assert verify_state(tree.root, key, content.get(key), tree.prove(key))


def test_overlay_hides_what_its_change_took_out():
    tree, tiles = stored({b"key": b"value"})
    gone = tree.apply({b"key": None})
    assert TileOverlay(tiles, gone.tiles).tile(b"") is None
    assert TileOverlay(tiles, {}).tile(b"") == tiles[b""]


def test_update_comes_in_slices():
    tree, _ = stored({})
    state = {number.to_bytes(4, "big"): bytes(1000) for number in range(2000)}
    steps = tree.update(state | dict.fromkeys([b"nothing", b"there"]))
    slices = 0
    while (change := next_or_result(steps)) is None:
        slices += 1
    assert slices > 20
    assert change == tree.apply(state)


def next_or_result(steps):
    """Take one step; return the result once there is one."""
    try:
        return next(steps)
    except StopIteration as done:
        return done.value


def prove_all(tree, state):
    """Read each tile."""
    for key in state:
        tree.prove(key)


@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "longer", "bit", "older", "elsewhere"])
def test_damaged_store_is_noticed(damage):
    state = {number.to_bytes(2, "big"): b"value" for number in range(400)}
    tree, tiles = stored(state)
    change = tree.apply(dict.fromkeys(state, b"newer"))
    older = dict(tiles)
    tiles.write(change)
    tree = StateTree(tiles, change.root)
    for path, tile in list(tiles.items()):
        tiles[path] = {
            "missing": None,
            "empty": b"",
            "torn": tile[:-70],
            "longer": tile + bytes(64),
            "bit": tile[:777] + bytes([tile[777] ^ 4]) + tile[778:],
            "older": older[path],
            "elsewhere": next(other for place, other in tiles.items() if place != path),
        }[damage]
        with pytest.raises(OurError, match="store-damaged"):
            tree.apply(dict.fromkeys(state))
        with pytest.raises(OurError, match="store-damaged"):
            prove_all(tree, state)
        tiles[path] = tile
    assert tree.apply({}).tiles == {}


@given(st.integers(0), st.integers(0, 7))
def test_any_flipped_bit_is_noticed(at, bit):
    tree, tiles = stored({bytes([number]): b"" for number in range(5)})
    tile = bytearray(tiles[b""])
    tile[at % len(tile)] ^= 1 << bit
    tiles[b""] = bytes(tile)
    with pytest.raises(OurError, match="store-damaged"):
        tree.prove(b"")
