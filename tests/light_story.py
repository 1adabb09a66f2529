"""A chain with a hand-over of its validator set, and clients that know parts of it: for tests of the light client."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from msgspec import structs

from devices.light_client import LightClient
from devices.light_state import LightState
from devices.wire import ReceiptProof
from ledger.block import Header, Result, SealedHeader, Vote, check_sealed, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.transaction import Transaction
from ledger.validators import ValidatorSet
from node.gateway import proofs as gateway_proofs
from node.storage.reader import Snapshot
from tests.device_chain import DeviceChain, validator_set, vote_signer

HEIGHTS = 40
HAND_OVER = 20


class Story:
    """A chain of 40 blocks with a hand-over at 20, read-only for all tests."""

    def __init__(self) -> None:
        self.chain = DeviceChain(Path(mkdtemp()), ("Pile-1", "Pile-2"), drivers=8, n=8)
        self.first_set = self.chain.set
        self.second_set = validator_set(self.chain.names, epoch=1)
        self.early = self.chain.open("d0", "Pile-1")
        self.late = self.chain.open("d1", "Pile-2")
        for height in range(1, HEIGHTS + 1):
            txs = {5: [self.early], 30: [self.late, self.chain.open("d2", "Pile-1"), self.chain.open("d3", "Pile-1")]}
            self.chain.seal(*txs.get(height, []), next_set=self.second_set if height == HAND_OVER else None)
        with self.chain.store.snapshot() as snapshot:
            self.sealed = [gateway_proofs._sealed(snapshot, height) for height in range(1, HEIGHTS + 1)]
            (self.change,) = gateway_proofs.set_changes(snapshot, 0)
            self.early_proof = self.proof(snapshot, self.early)
            self.late_proof = self.proof(snapshot, self.late)
            self.pile_key = next(k for k, _ in snapshot.scan((3).to_bytes(4, "big")))
            self.present = gateway_proofs.state_entries(snapshot, (self.pile_key,))[0]
            self.state = dict(snapshot.scan(b""))
            self.absent = gateway_proofs.state_entries(snapshot, (b"no such key",))[0]

    def proof(self, snapshot: Snapshot, tx: Transaction) -> ReceiptProof:
        """Proof of a transaction's receipt."""
        found = gateway_proofs.prove_receipt(snapshot, self.chain.blocks, tx.id)
        assert found is not None
        return found[1]

    def at(self, height: int) -> SealedHeader:
        """A sealed header."""
        return self.sealed[height - 1]

    def cold(self, owner_key: bytes = b"") -> LightClient:
        """Knows the chain's id alone."""
        return LightClient(self.chain.anchor(owner_key))

    def early_client(self) -> LightClient:
        """Knows the genesis set."""
        client = self.cold()
        assert client.learn_genesis(self.chain.genesis.summary()).true
        return client

    def client(self) -> LightClient:
        """Stands at height 35 under the second set."""
        return LightClient(standing())

    def walked(self) -> LightClient:
        """The same, by walking there."""
        client = self.early_client()
        assert client.follow(self.change.sealed, self.change.next_set).true
        assert client.see_head(self.at(35)).true
        return client


@cache
def story() -> Story:
    """Made once."""
    return Story()


@cache
def standing() -> LightState:
    """State of a client at height 35."""
    return story().walked().state


def forge(it: Story, of_height: int, by: ValidatorSet, epoch: int = 0, **changes: object) -> SealedHeader:
    """A block with changed fields, sealed anew by the members of a set (or by whoever holds such keys)."""
    of = it.at(of_height)
    header, result = decode(Header, of.header), decode(Result, of.result)
    both = {k: v for k, v in changes.items() if k in ("time_ms", "set_hash", "height", "chain_id")}
    header = structs.replace(header, **both)
    raw = encode(header)
    rest = {k: v for k, v in changes.items() if k in Result.__struct_fields__}
    result_raw = encode(structs.replace(result, **rest | {"header_hash": header_hash(raw)}))
    digest = result_digest(result_raw)
    votes = (Vote(i, vote_signer(m.name, epoch).sign(digest)) for i, m in enumerate(by.validators))
    return SealedHeader(raw, result_raw, tuple(votes))


@pytest.fixture
def checked_seals(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Seals that light clients have looked at, one entry each time."""
    seen: list[object] = []

    def counted(sealed: SealedHeader, *rest: Any) -> tuple[Header, Result]:
        seen.append(sealed)
        return check_sealed(sealed, *rest)

    monkeypatch.setattr("devices.light_client.check_sealed", counted)
    return seen
