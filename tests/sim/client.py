"""A client that asks one member, any of them, and believes nothing but a seal (trap 23)."""

from collections.abc import Callable

from msgspec.structs import replace

from ledger.block import Header, Result, SealedHeader, Vote, check_sealed, header_hash, result_digest
from ledger.codec import decode, encode
from ledger.errors import PeerError
from ledger.validators import ValidatorSet
from tests.sim.checker import Checker, InvariantError
from tests.sim.liar import Conspiracy
from tests.sim.node import SimNode

Verifier = Callable[[bytes, bytes, bytes], bool]


def ask(node: SimNode, conspiracy: Conspiracy, checker: Checker, verify: Verifier) -> None:
    """Ask a member for its last block. Raises InvariantError if the client believes one that is not on the chain."""
    if not node.store.blocks:
        return
    last = node.store.blocks[-1]
    sealed, validators = last.sealed, last.validators
    assert validators is not None
    if not node.is_honest:
        sealed = _forged(sealed, validators, conspiracy)
    try:
        header, result = check_sealed(sealed, validators, node._genesis.hash(), verify)
    except PeerError as error:
        if node.is_honest:
            raise InvariantError(f"I2: {node.name} holds a seal that nobody believes: {error}") from error
        return
    if checker.hashes[header.height - 1] != result.header_hash:
        raise InvariantError(f"I2: a client believes {node.name} a block of height {header.height} that nobody has")


def _forged(sealed: SealedHeader, validators: ValidatorSet, conspiracy: Conspiracy) -> SealedHeader:
    """Another block of that height, sealed by all conspirators with the vote keys that they had first."""
    header = decode(Header, sealed.header)
    header = replace(header, time_ms=header.time_ms + 1)
    raw = encode(header)
    result = replace(decode(Result, sealed.result), header_hash=header_hash(raw), time_ms=header.time_ms)
    digest = result_digest(encode(result))
    places = {validators.index_of(name): signer for name, signer in conspiracy.signers.items()}
    votes = [Vote(at, signer.sign(digest)) for at, signer in places.items() if at is not None]
    return SealedHeader(raw, encode(result), tuple(sorted(votes, key=lambda vote: vote.voter)))
