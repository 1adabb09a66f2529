"""A small honest consortium for tests: keys by seed, transactions, blocks and seals made with the ledger's own code."""

from collections.abc import Sequence

from ledger.block import (
    Block,
    BranchHead,
    Header,
    Result,
    SealedHeader,
    Vote,
    branch_table,
    header_hash,
    receipt_leaf,
    receipts_root,
    result_digest,
    sort_by_branch,
)
from ledger.codec import decode, encode
from ledger.genesis import Genesis, Parameters, Profile
from ledger.hashing import ZERO_HASH
from ledger.keys import Scheme, SoftSigner
from ledger.transaction import Body, Branch, ExpiryClass, Transaction, decode_transaction, sign_transaction
from ledger.validators import Validator, ValidatorSet

START_MS = 1_800_000_000_000


def signer(label: str, scheme: Scheme = Scheme.ED25519) -> SoftSigner:
    """The same key for the same label, always."""
    return SoftSigner.from_seed(scheme, label.encode().ljust(32, b"."))


def names(n: int) -> list[str]:
    """Company names in sorted order."""
    return [f"Company {i:02d}" for i in range(n)]


def vote_signers(n: int, scheme: Scheme = Scheme.ED25519) -> list[SoftSigner]:
    """Vote keys of the members, by position."""
    return [signer(f"vote {name}", scheme) for name in names(n)]


def validator_set(n: int, scheme: Scheme = Scheme.ED25519) -> ValidatorSet:
    """Set of n members with distinct keys."""
    members = (
        Validator(
            name=name,
            company_key=signer(f"company {name}", scheme).public_key,
            vote_key=signer(f"vote {name}", scheme).public_key,
            node_key=signer(f"node {name}").public_key[1:],
        )
        for name in names(n)
    )
    return ValidatorSet(0, tuple(members))


def genesis(n: int = 4, profile: Profile = Profile.MIXED, scheme: Scheme = Scheme.ED25519) -> Genesis:
    """Genesis document of n members and no contracts' records."""
    return Genesis(1, "test", profile, START_MS, Parameters(), validator_set(n, scheme), b"")


def transaction(
    label: str,
    sender: SoftSigner | None = None,
    chain_id: bytes = ZERO_HASH,
    branch: Branch = Branch.SERVICE,
    valid_until_ms: int = START_MS + 60_000,
) -> Transaction:
    """A signed transaction; the label makes it unlike others."""
    key = sender or signer("driver")
    body = Body(
        chain_id=chain_id,
        sender=key.public_key,
        branch=branch,
        expiry_class=ExpiryClass.ORDINARY,
        contract=2,
        method="pay",
        args=encode(label),
        gas_limit=100_000,
        valid_until_ms=valid_until_ms,
        salt=bytes(8),
    )
    return decode_transaction(sign_transaction(body, key))


def block(
    document: Genesis,
    height: int,
    transactions: Sequence[Transaction] = (),
    parent: bytes | None = None,
    heads: dict[Branch, BranchHead] | None = None,
) -> Block:
    """A well-formed block, proposed in view 0 by the member whose turn it is."""
    ordered = sort_by_branch(transactions)
    rows, root = branch_table([(tx.body.branch, tx.leaf) for tx in ordered], heads or {})
    members = document.validators.validators
    header = Header(
        chain_id=document.hash(),
        height=height,
        view=0,
        time_ms=document.time_ms + height * 1000,
        parent=document.hash() if parent is None else parent,
        tx_root=root,
        tx_count=len(ordered),
        set_hash=document.validators.hash(),
        proposer=members[height % len(members)].name,
        branches=rows,
    )
    raw = encode(header)
    return Block(raw, header, header_hash(raw), ordered)


def result(
    document: Genesis,
    of: Block,
    state_root: bytes = ZERO_HASH,
    receipts: Sequence[bytes] = (),
    history_root: bytes = ZERO_HASH,
    next_set: ValidatorSet | None = None,
) -> Result:
    """Result of a block, as all members would sign it."""
    return Result(
        chain_id=document.hash(),
        height=of.header.height,
        header_hash=of.hash,
        time_ms=of.header.time_ms,
        set_hash=of.header.set_hash,
        next_set_hash=(next_set or document.validators).hash(),
        state_root=state_root,
        receipts_root=receipts_root([receipt_leaf(raw) for raw in receipts]),
        history_root=history_root,
    )


def seal(of: Block, outcome: Result, signers: Sequence[SoftSigner], voters: Sequence[int]) -> SealedHeader:
    """Header, result and the signatures of the members at these positions."""
    raw = encode(outcome)
    digest = result_digest(raw)
    return SealedHeader(of.header_raw, raw, tuple(Vote(voter, signers[voter].sign(digest)) for voter in voters))


def reread(sealed: SealedHeader) -> SealedHeader:
    """The same object from its bytes."""
    return decode(SealedHeader, encode(sealed))
