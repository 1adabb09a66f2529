"""Contract 6, governance, its first part: nodes and vote keys, and how a decision becomes the chain's terms.

A company with a node has a **seat**: it follows the chain as an observer, votes as a validator, or is suspended. Every
new set is a new epoch and takes the fresh vote key of each member that has registered one, so that keys of former
epochs can be erased; who registered none keeps its key, for nobody's silence may stop a decision. What is decided in
block n rules from n + K + 1 on (`ledger.terms`).

Proposals and approvals are `contracts.governance`, what they decide is `contracts.changes`, evidence
`contracts.accusations`.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from contracts.contract import COMPANY_ROLES, Business
from contracts.digests import node_key_digest, vote_key_digest
from contracts.host import Host
from contracts.numbers import GOVERNANCE, IDENTITY
from contracts.records.governance import (
    NEXT_KEYS,
    SEATS,
    SETTINGS,
    VOTE_KEYS,
    Address,
    NextKey,
    NextKeys,
    NodeKey,
    Seat,
    Settings,
    VoteKey,
)
from ledger.codec import Wire
from ledger.errors import OurError
from ledger.genesis import Parameters
from ledger.keys import Scheme
from ledger.terms import OBSERVERS_MAX, Observer, Terms, Timeline
from ledger.transaction import Branch
from ledger.units import U32, U63, PublicKey, Signature
from ledger.validators import VALIDATORS_MAX, VALIDATORS_MIN, Validator
from tests.oracles.codes import Code
from tests.oracles.contract import Contract, fail
from tests.oracles.identity import KeyArgs

CONTRACT = Contract(GOVERNANCE, "governance", Business.IDENTITY, Branch.GOVERNANCE)
COMPANIES_MAY = tuple(sorted(COMPANY_ROLES))


# ── state ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


# ── arguments and events ──────────────────────────────────────────────────────────────────────────────────────────────


class NodeArgs(Wire):
    """`governance.set_node`: the TLS key and address of the sender's node."""

    node_key: NodeKey
    address: Address
    proof: Signature
    """By the node key, over `node_key_digest`: nobody claims the node of another."""


class VoteKeyArgs(Wire):
    """`governance.register_vote_key`, `governance.renew_vote_key`."""

    vote_key: PublicKey
    proof: Signature
    """By the vote key, over `vote_key_digest`: nobody registers a key that another holds."""


class TermsDecided(Wire):
    """Event `governance.terms-decided`."""

    height: U63
    """The first block that they rule."""
    epoch: U32
    validators: U32
    observers: U32


_TERMS_DECIDED = CONTRACT.event("governance.terms-decided", TermsDecided)


# ── methods ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@CONTRACT.method(NodeArgs, COMPANIES_MAY)
def set_node(host: Host, args: NodeArgs) -> None:
    """A company says which node is its own, and where: a first one becomes an observer, another takes its place."""
    name = sender(host)
    timeline = host.timeline
    terms = timeline[-1]
    seat = host.get(SEATS, name.encode())
    if seat is not None and seat.node_key == args.node_key:
        host.put(SEATS, name.encode(), replace(seat, address=args.address))
        return
    if any(args.node_key in each.node_keys for each in timeline):  # also of one that is about to be replaced
        fail(Code.NODE_KEY_TAKEN)
    proven = bytes([Scheme.ED25519]) + args.node_key
    if not host.verify(proven, node_key_digest(host.chain_id, name, args.node_key), args.proof):
        fail(Code.NODE_KEY_UNPROVEN)
    if seat is None:
        host.put(SEATS, name.encode(), Seat(args.node_key, args.address, False, host.now_ms))
    else:
        seat = _renewed(host, seat)
        host.put(SEATS, name.encode(), replace(seat, node_key=args.node_key, address=args.address))
    members = [
        replace(member, node_key=args.node_key) if member.name == name else member
        for member in terms.validators.validators
    ]
    observers = [observer for observer in terms.observers if observer.name != name]
    if not is_voting(terms, name):
        observers.append(Observer(name, args.node_key))
    decide(host, timeline, members, observers)


@CONTRACT.method(VoteKeyArgs, COMPANIES_MAY)
def register_vote_key(host: Host, args: VoteKeyArgs) -> None:
    """A company names the vote key that its node will use from the next epoch on."""
    _register(host, sender(host), args)


@CONTRACT.method(VoteKeyArgs, COMPANIES_MAY)
def renew_vote_key(host: Host, args: VoteKeyArgs) -> None:
    """The same, and the next epoch begins at once: for a validator whose key is lost, or must not vote again."""
    name = sender(host)
    timeline = host.timeline
    terms = timeline[-1]
    seat = host.get(SEATS, name.encode())
    if seat is None or not is_voting(terms, name):
        fail(Code.NO_VALIDATOR)
    host.put(SEATS, name.encode(), _renewed(host, seat))
    _register(host, name, args)
    decide(host, timeline, terms.validators.validators, terms.observers, new_epoch=True)


# ── for the contract's other parts ────────────────────────────────────────────────────────────────────────────────────


def sender(host: Host) -> str:
    """The company that calls. No row of the permission table may let anybody else in."""
    return host.company or fail(Code.SENDER_NO_COMPANY)


def decide(
    host: Host,
    timeline: Timeline,
    members: Sequence[Validator],
    observers: Sequence[Observer],
    parameters: Parameters | None = None,
    *,
    new_epoch: bool = False,
) -> None:
    """Make members, observers and, if given, parameters the terms from K + 1 blocks on. A set that differs is a new
    epoch, and takes the registered vote keys. Fails with SET_SIZE, OBSERVERS_TOO_MANY.
    """
    terms = timeline[-1]
    if not VALIDATORS_MIN <= len(members) <= VALIDATORS_MAX:
        fail(Code.SET_SIZE)
    # With room for all who vote: observers in every place would keep a liar from being suspended, who needs one.
    if len(members) + len(observers) > OBSERVERS_MAX:
        fail(Code.OBSERVERS_TOO_MANY)
    if new_epoch or sorted(members, key=lambda member: member.name) != list(terms.validators.validators):
        members = _with_fresh_keys(host, members)
    decided = host.decide(timeline, members, observers, parameters or terms.parameters)
    validators = decided.validators
    host.emit(_TERMS_DECIDED, TermsDecided(decided.height, validators.epoch, validators.size, len(observers)))


def next_keys(host: Host) -> dict[str, bytes]:
    """Company → the vote key that it has registered for the next epoch."""
    found = host.get(NEXT_KEYS)
    return {key.company: key.vote_key for key in found.keys} if found else {}


def keep_next_keys(host: Host, keys: dict[str, bytes]) -> None:
    """Write them."""
    host.put(NEXT_KEYS, b"", NextKeys(tuple(NextKey(company, keys[company]) for company in sorted(keys))))


def drop_next_key(host: Host, company: str) -> None:
    """Forget the vote key that a company has registered, if any: it never votes, so nobody answers for it."""
    waiting = next_keys(host)
    dropped = waiting.pop(company, None)
    if dropped is not None:
        host.delete(VOTE_KEYS, dropped)
        keep_next_keys(host, waiting)


def settings_of(host: Host) -> Settings:
    """The contract's limits."""
    found = host.get(SETTINGS)
    if found is None:
        raise OurError("settings-missing", "the governance contract has no settings in this state")
    return found


def is_voting(terms: Terms, company: str) -> bool:
    """Whether a company votes under these terms."""
    return terms.validators.index_of(company) is not None


def _with_fresh_keys(host: Host, members: Sequence[Validator]) -> list[Validator]:
    fresh = next_keys(host)
    taken = {member.name: fresh.pop(member.name) for member in members if member.name in fresh}
    if taken:
        keep_next_keys(host, fresh)
    return [replace(member, vote_key=taken.get(member.name, member.vote_key)) for member in members]


def _register(host: Host, name: str, args: VoteKeyArgs) -> None:
    if host.get(SEATS, name.encode()) is None:
        fail(Code.NODE_UNKNOWN)
    if next_keys(host).get(name) == args.vote_key:
        return  # registered before, and not in force yet
    host.call(IDENTITY, "check_free_key", KeyArgs(args.vote_key))
    if host.get(VOTE_KEYS, args.vote_key) is not None:
        fail(Code.VOTE_KEY_USED)
    if not host.verify(args.vote_key, vote_key_digest(host.chain_id, name, args.vote_key), args.proof):
        fail(Code.VOTE_KEY_UNPROVEN)
    drop_next_key(host, name)
    host.put(VOTE_KEYS, args.vote_key, VoteKey(name, False))
    keep_next_keys(host, next_keys(host) | {name: args.vote_key})


def _renewed(host: Host, seat: Seat) -> Seat:
    """The seat with a change of keys noted. Fails with RENEWED_LATELY."""
    if host.now_ms < seat.renewed_ms + settings_of(host).renewal_ms:
        fail(Code.RENEWED_LATELY)
    return replace(seat, renewed_ms=host.now_ms)
