"""What a gateway does with one message of a registered device. Reads one snapshot; what takes time is returned, not
done.
"""

from collections.abc import Iterator

from msgspec import Struct

from contracts.records.registry import Pile
from devices.wire import (
    AskHead,
    AskReceipt,
    AskSetChanges,
    AskState,
    DownPayload,
    Genesis,
    Head,
    Hello,
    Readings,
    SessionOpen,
    State,
    Submit,
    UpPayload,
    is_device_name,
)
from ledger.errors import PeerError
from ledger.transaction import Transaction, decode_transaction
from node.edge.blocks import Blocks
from node.gateway import proofs as gateway_proofs
from node.gateway.archive import Batch
from node.storage.reader import Snapshot


class Submission(Struct, frozen=True):
    """A device's transaction on its way to core."""

    device: str
    message_id: int
    transaction: Transaction


class Storing(Struct, frozen=True):
    """Readings on their way to the archive."""

    device: str
    message_id: int
    batch: Batch


Work = Submission | Storing


def known_device(snapshot: Snapshot, device: str) -> Pile:
    """Registry record of the device that a topic names. Raises PeerError `device-unknown`, before anything is
    decoded.
    """
    record = gateway_proofs.registered(snapshot, device) if is_device_name(device) else None
    if record is None:
        raise PeerError("device-unknown", "no such pile is registered on this chain")
    return record


def serve(
    snapshot: Snapshot, blocks: Blocks, device: str, public_key: bytes, message_id: int, payload: UpPayload
) -> Iterator[DownPayload | Work]:
    """Answers to one message, and the work that it asks for. Raises PeerError where the device asks for what is not
    its own.
    """
    match payload:
        case Hello(height, know_set):
            if not know_set:
                yield Genesis(snapshot.genesis.summary())
            yield from gateway_proofs.set_changes(snapshot, height)
            yield from _head(snapshot, height)
            for session in gateway_proofs.waiting_opens(snapshot, device):
                if found := gateway_proofs.prove_receipt(snapshot, blocks, session):
                    yield SessionOpen(*found)
        case AskHead():
            yield from _head(snapshot, 0)
        case AskSetChanges(height):
            yield from gateway_proofs.set_changes(snapshot, height)
        case AskReceipt(tx_id, _):
            if answer := gateway_proofs.answer_receipt(snapshot, blocks, tx_id, public_key):
                yield answer
        case AskState(keys):
            if head := gateway_proofs.sealed_head(snapshot):
                yield State(head, gateway_proofs.state_entries(snapshot, keys))
        case Submit(raw):
            transaction = decode_transaction(raw)
            if transaction.body.sender != public_key:
                raise PeerError("sender-other", "a device submits its own transactions only")
            # Sent again because the answer was lost: it is sealed already.
            answer = gateway_proofs.answer_receipt(snapshot, blocks, transaction.id, public_key)
            yield answer or Submission(device, message_id, transaction)
        case Readings(session, readings):
            if gateway_proofs.session_pile(snapshot, session) != device:
                raise PeerError("reading-session", "that session is not at this pile")
            yield Storing(device, message_id, Batch(session, device, public_key, readings))


def _head(snapshot: Snapshot, known: int) -> Iterator[Head]:
    head = gateway_proofs.sealed_head(snapshot)
    if head and snapshot.height > known:
        yield Head(head)
