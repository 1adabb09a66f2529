"""What a gateway tells devices, read from one snapshot of the ledger: heads, receipts with proofs, set changes, open
sessions.
"""

from collections.abc import Iterator
from itertools import islice

from contracts.records.registry import PILES, STATES, Pile
from contracts.records.session import SESSIONS, State
from devices.wire import OldBlock, ReceiptProof, SessionOpen, SetChange, StateEntry, trim_seal
from devices.wire import Receipt as ReceiptMessage
from ledger.block import Header, Result, SealedHeader
from ledger.codec import decode_trusted
from ledger.errors import ClientError
from ledger.transaction import decode_transaction
from node.edge.blocks import Blocks
from node.storage.reader import Snapshot

SET_CHANGES_MAX = 32
"""Hand-overs told in one go: 64 KiB of a device's link."""


def registered(snapshot: Snapshot, device: str) -> Pile | None:
    """Registry record of a pile."""
    return PILES.read(snapshot, device.encode())


def session_pile(snapshot: Snapshot, session: bytes) -> str | None:
    """Which pile serves a session."""
    record = SESSIONS.read(snapshot, session)
    return record.agreed.pile if record else None


def waiting_opens(snapshot: Snapshot, device: str) -> list[bytes]:
    """Sessions that are open at a pile and wait for its start."""
    state = STATES.read(snapshot, device.encode())
    found = [connector.session for connector in state.connectors if connector.session] if state else []
    records = [(session, SESSIONS.read(snapshot, session)) for session in found]
    return [session for session, record in records if record and record.state is State.OPEN]


def sealed_head(snapshot: Snapshot) -> SealedHeader | None:
    """The newest sealed block, its seal no longer than it must be; None before the first."""
    return _sealed(snapshot, snapshot.height) if snapshot.height else None


def prove_receipt(snapshot: Snapshot, blocks: Blocks, tx_id: bytes) -> tuple[bytes, ReceiptProof] | None:
    """A sealed transaction and the proof of its receipt; None if it is not sealed.

    The block comes from `blocks`, with its trees built once: a proof for each of a full block's transactions would
    otherwise cost its square.
    """
    place = snapshot.locate(tx_id)
    if place is None or place.height < snapshot.first_whole:
        return None  # not sealed, or its receipt is with nodes that keep more
    height, index = place
    block = blocks.get(height)
    sealed = _sealed(snapshot, height)
    old = None
    newest = _sealed(snapshot, snapshot.height)
    if _set_of(sealed) != _set_of(newest):
        # Its validators have been replaced: the device believes them no more, only the history of the chain.
        old = OldBlock(sealed.header, sealed.result, snapshot.prove_history(height))
        sealed = newest
    proof = ReceiptProof(
        sealed,
        old,
        block.transaction_proof(index),
        block.receipts_raw[index],
        block.receipt_proof(index),
    )
    return block.raws[index], proof


def answer_receipt(
    snapshot: Snapshot, blocks: Blocks, tx_id: bytes, public_key: bytes
) -> ReceiptMessage | SessionOpen | None:
    """The receipt of a device's own transaction, or of a driver's open with the transaction itself; None if it is
    not sealed.
    """
    found = prove_receipt(snapshot, blocks, tx_id)
    if found is None:
        return None
    raw, proof = found
    if decode_transaction(raw).body.sender == public_key:
        return ReceiptMessage(tx_id, proof)
    return SessionOpen(raw, proof)


def state_entries(snapshot: Snapshot, keys: tuple[bytes, ...]) -> tuple[StateEntry, ...]:
    """What the state holds under some keys, proven."""
    return tuple(StateEntry(key, snapshot.get(key), snapshot.prove_state(key)) for key in keys)


def set_changes(snapshot: Snapshot, after: int) -> Iterator[SetChange]:
    """Hand-overs at heights from `after` on, oldest first, at most 32."""
    heights = (height for _, height in snapshot.hand_overs() if height >= after)
    for height in islice(heights, SET_CHANGES_MAX):
        sealed = _sealed(snapshot, height)
        next_set = snapshot.validator_set(decode_trusted(Result, sealed.result).next_set_hash)
        if next_set is None:
            return
        yield SetChange(sealed, next_set)


def first_height_after(snapshot: Snapshot, time_ms: int) -> int:
    """The first height, of the blocks that are here, with a later time; one above the newest if there is none."""
    low, high = snapshot.first_block - 1, snapshot.height + 1
    while high - low > 1:
        middle = (low + high) // 2
        if decode_trusted(Header, _stored(snapshot, middle).header).time_ms > time_ms:
            high = middle
        else:
            low = middle
    return high


def _stored(snapshot: Snapshot, height: int) -> SealedHeader:
    sealed = snapshot.sealed(height)
    if sealed is None:
        raise ClientError("height-unknown", f"height {height} is not sealed here")
    return sealed


def _sealed(snapshot: Snapshot, height: int) -> SealedHeader:
    sealed = _stored(snapshot, height)
    members = snapshot.validator_set(_set_of(sealed))
    return trim_seal(sealed, members.quorum) if members else sealed


def _set_of(sealed: SealedHeader) -> bytes:
    return decode_trusted(Header, sealed.header).set_hash
