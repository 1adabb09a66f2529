"""What the holder of a key signs to prove that it agrees to what a company registers it for: one definition for the
contracts and for the tools that make such proofs.
"""

from ledger.hashing import Tag, sm3


def own_key_digest(chain_id: bytes, company: str, key: bytes) -> bytes:
    """What the holder of a key signs so that a company may register it: as its own, an account's or a pile's."""
    return sm3(Tag.OWN_KEY, chain_id, len(key).to_bytes(1, "big") + key + company.encode())


def vote_key_digest(chain_id: bytes, company: str, vote_key: bytes) -> bytes:
    """What proves that a company holds the vote key that it registers."""
    return sm3(Tag.VOTE_KEY, chain_id, len(vote_key).to_bytes(1, "big") + vote_key + company.encode())


def node_key_digest(chain_id: bytes, company: str, node_key: bytes) -> bytes:
    """What proves that a company holds the TLS key that it names."""
    return sm3(Tag.NODE_KEY, chain_id, node_key + company.encode())
