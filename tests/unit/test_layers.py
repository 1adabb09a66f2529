"""The state under blocks that are not sealed yet reads like a state into which all of them were written."""

from hypothesis import given
from hypothesis import strategies as st

from node.core.layers import Layer, LayeredState

KEYS = st.binary(min_size=1, max_size=3).map(lambda raw: bytes(byte % 3 for byte in raw))
CHANGES = st.dictionaries(KEYS, st.none() | st.binary(max_size=2))


class Plain:
    """A state in a dict."""

    def __init__(self, state):
        self.state = state

    def get(self, key):
        return self.state.get(key)

    def scan(self, prefix, after=b""):
        yield from ((k, v) for k, v in sorted(self.state.items()) if k.startswith(prefix) and k > after)

    def tile(self, path):
        return self.state.get(path)


@given(st.dictionaries(KEYS, st.binary(max_size=2)), st.lists(CHANGES, max_size=3), KEYS, KEYS | st.just(b""))
def test_F04_layers_read_like_one_state(state, blocks, prefix, after):
    layers = [Layer(height, changes, sorted(changes), changes) for height, changes in enumerate(blocks)]
    layered = LayeredState(Plain(state), layers)
    written = dict(state)
    for changes in blocks:
        written |= changes
    plain = Plain({key: value for key, value in written.items() if value is not None})
    for key in (prefix, after):
        assert layered.get(key) == layered.tile(key) == plain.get(key)
    for start in (b"", prefix[:1], prefix):
        assert list(layered.scan(start)) == list(plain.scan(start))
        assert list(layered.scan(start, after)) == list(plain.scan(start, after))
