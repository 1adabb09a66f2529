"""What a gateway refuses before it costs anything."""

import pytest

from ledger.errors import PeerError
from node.gateway.admission import (
    BURST_MESSAGES,
    MESSAGES_PER_MINUTE,
    STRANGERS_MAX,
    WINDOW,
    Admission,
)


def test_F40_a_device_may_send_so_much():
    door = Admission()
    for _ in range(BURST_MESSAGES):
        door.charge("Pile-1", 1_000)
    with pytest.raises(PeerError, match="device-too-fast"):
        door.charge("Pile-1", 1_000)
    assert not door.charge("Pile-1", 1_000), "told once: an answer to each would double the flood"
    assert door.charge("Pile-2", 1_000)
    for _ in range(MESSAGES_PER_MINUTE):
        door.charge("Pile-1", 61_000)
    with pytest.raises(PeerError, match="device-too-fast"):
        door.charge("Pile-1", 61_000)


def test_F40_a_message_is_done_once_in_any_order():
    door = Admission()
    door.charge("Pile-1", 0)
    first = 10_000
    for message_id in (first, first + 5, first + 3, first + 1, first + 40):
        assert door.first_time("Pile-1", message_id)
        assert not door.first_time("Pile-1", message_id)
    assert not door.first_time("Pile-1", first + 3)
    assert door.first_time("Pile-1", first + 40 - WINDOW + 1)
    with pytest.raises(PeerError, match="message-old"):
        door.first_time("Pile-1", first + 40 - WINDOW)
    assert door.first_time("Pile-1", first + 10_000_000)
    with pytest.raises(PeerError, match="message-old"):
        door.first_time("Pile-1", first + 40)


def test_F40_a_stranger_is_logged_once():
    door = Admission()
    assert door.stranger("X")
    assert not door.stranger("X")
    for at in range(STRANGERS_MAX):
        door.stranger(f"Y{at}")
    assert door.stranger("X"), "forgotten in the flood, and bounded"
