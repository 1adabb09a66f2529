"""Contract 6, governance: nodes and vote keys, decisions of the companies, and evidence of equivocation.

A company with a node has a **seat**: it follows the chain as an observer, votes as a validator, or is suspended. Every
new set is a new epoch and takes the fresh vote key of each member that has registered one, so that keys of former
epochs can be erased; who registered none keeps its key, for nobody's silence may stop a decision. What is decided in
block n rules from n + K + 1 on (`ledger.terms`).

Whoever proposes approves; two thirds of the companies and a regulator decide. A company that a suspension, a removal or
new keys are about has no voice in it. A suspension needs no single company's consent, so not the regulator's either.
Suspended companies keep their business and have no voice. Where no other regulator can be asked, two thirds give a
regulator its vote back, and all other companies together its keys. What is not approved in time lapses by schedule.

Two votes of one key that contradict each other prove themselves, so any company may bring them (F12). The key's company
pays a part of its collateral, once for each key, for a liar usually lies many times.
"""

from contracts.language import *

CONTRACT = Contract("governance", Business.IDENTITY, Branch.GOVERNANCE)

VALIDATORS_MIN = 4
VALIDATORS_MAX = 100
OBSERVERS_MAX = 200
PROPOSALS_MAX = 8
"""Of one company at a time."""
COMPANIES_MAX = 1_000
BLOCK_GAS_MIN = 100_000_000
"""Ten times what a call of governance may take."""
TRANSACTION_BYTES_MAX = 65_536
ED25519 = 1
"""The scheme of TLS keys."""

NodeKey = Annotated[bytes, Size(32, 32)]
"""Raw Ed25519 key of a node's TLS certificate."""
Address = Annotated[str, Size(0, 255)]
"""host:port for the other members to dial; empty where the node only dials itself."""
Roles = Annotated[List[Role], Size(0, 9)]
Names = Annotated[List[Name], Size(0, COMPANIES_MAX)]


# ── what rules (shapes of the ledger) ─────────────────────────────────────────────────────────────────────────────────


class Validator(Struct):
    """A voting company."""

    name: Name
    company_key: PublicKey
    vote_key: PublicKey
    node_key: NodeKey


class ValidatorSet(Struct):
    """The voters of an epoch, sorted by name."""

    epoch: U32
    validators: Annotated[List[Validator], Size(VALIDATORS_MIN, VALIDATORS_MAX)]


class Observer(Struct):
    """A company whose node may follow the chain."""

    name: Name
    node_key: NodeKey


class Parameters(Struct):
    """Limits of blocks, of their times and of idle time."""

    time_ahead_max_ms: Span
    expiry_max_ms: Span
    device_expiry_max_ms: Span
    idle_interval_ms: Span
    session_start_max_ms: Span
    block_transactions_max: Annotated[int, Range(1, 16_384)]
    block_bytes_max: Annotated[int, Range(1, 2 * 1024 * 1024)]
    block_gas_max: U63


class Terms(Struct):
    """What members agree by, from a height on."""

    height: U63
    validators: ValidatorSet
    observers: Annotated[List[Observer], Size(0, OBSERVERS_MAX)]
    parameters: Parameters


Members = Annotated[List[Validator], Size(0, VALIDATORS_MAX + 1)]
Observers = Annotated[List[Observer], Size(0, OBSERVERS_MAX + VALIDATORS_MAX)]


# ── seats and keys ────────────────────────────────────────────────────────────────────────────────────────────────────


class Seat(Struct):
    """A company's node. Key: the company's name."""

    node_key: NodeKey
    address: Address
    suspended: bool
    renewed_ms: U63
    """When the company last changed keys by itself."""


class NextKey(Struct):
    """A vote key that waits for the next epoch."""

    company: Name
    vote_key: PublicKey


Waiting = Annotated[List[NextKey], Size(0, VALIDATORS_MAX + OBSERVERS_MAX)]


class NextKeys(Struct):
    """All of them, sorted by company: one record, so that a decision costs the same for any number of members."""

    keys: Waiting


class VoteKey(Struct):
    """A vote key that waits, votes or has voted. Key: the public key."""

    company: Name
    fined: bool
    """Whether its company has paid for its lies."""


class Settings(Struct):
    """From genesis."""

    fine_ppm: Annotated[int, Range(0, 1_000_000)]
    """Part of the collateral that an equivocation costs."""
    margin_lock_ms: Span
    """How long the margin of a company that left stays locked."""
    proposal_ms: Span
    """How long a proposal may be approved."""
    renewal_ms: Span
    """Time between two changes of keys that a company makes by itself: each is a new epoch, which every light client
    must follow.
    """


SEATS: Table[Name, Seat] = table("s")
NEXT_KEYS: Cell[NextKeys] = cell("n")
VOTE_KEYS: Table[PublicKey, VoteKey] = table("k")
SETTINGS: Cell[Settings] = cell("p")


# ── what can be decided ───────────────────────────────────────────────────────────────────────────────────────────────


class Kind(Enum):
    """Kinds of change."""

    ADMIT = 1
    """A company joins: with a voice and its business, not yet with a node (`set_node`) or a vote."""
    GIVE_VOTE = 2
    """An observer, or a suspended company, votes from now on, with the vote key that it has registered."""
    SUSPEND = 3
    """A company votes no more until it is given its vote again; its node may follow the chain."""
    REMOVE = 4
    """A company that has settled everything leaves; its margin stays locked for a while."""
    REPLACE_KEYS = 5
    """A company's keys are lost or stolen: one takes the place of all of them."""
    SET_PARAMETERS = 6
    """Other limits."""
    INSTALL = 7
    """A contract's code rules under a number from a height on: a new contract, or a new version of one."""


class Admission(Struct):
    """What a company joins with."""

    display_name: Name
    roles: Roles
    company_key: PublicKey


class NewKey(Struct):
    """The key that replaces all others."""

    company_key: PublicKey


class Installation(Struct):
    """A code, which is kept on the chain with its text while its proposal waits."""

    number: U32
    code_hash: Hash
    from_height: U63
    """The next block's if that is later."""


class Change(Struct):
    """One of them, with what it needs."""

    kind: Kind
    company: Annotated[str, Size(0, 64)]
    """Whom it is about; empty for parameters and codes."""
    admission: Admission | None = None
    key: NewKey | None = None
    parameters: Parameters | None = None
    installation: Installation | None = None


class Proposal(Struct):
    """What waits for approval. Key: id of the transaction that proposed it."""

    proposer: Name
    change: Change
    ends_ms: U63
    approved: Names
    """Sorted."""


class OpenProposals(Struct):
    """How many proposals of a company wait. Key: its name."""

    count: Annotated[int, Range(1, PROPOSALS_MAX)]


class Replaced(Struct):
    """When a company's keys were replaced last. Key: its name."""

    at_ms: U63


PROPOSALS: Table[Hash, Proposal] = table("o")
OPEN: Table[Name, OpenProposals] = table("c")
REPLACED: Table[Name, Replaced] = table("r")


# ── evidence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Phase(Enum):
    """The phases of which a member gives one vote per height and view."""

    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    VIEW_CHANGE = 4


class Statement(Struct):
    """A vote with all that its signature is over but the chain."""

    phase: Phase
    set_hash: Hash
    height: U63
    view: U32
    content: Annotated[bytes, Size(0, 24 * 1024)]
    signature: Signature


class Equivocation(Struct):
    """Two statements of one vote key, the one with the greater content last."""

    vote_key: PublicKey
    first: Statement
    second: Statement


# ── codes and events ──────────────────────────────────────────────────────────────────────────────────────────────────


class Code(Codes):
    """Why a call changed nothing."""

    NODE_KEY_TAKEN = 1, "the TLS key is that of a node already"
    NODE_UNKNOWN = 2, "the company has no node yet; it names one by governance.set_node"
    VOTE_KEY_USED = 3, "the vote key votes or has voted; each epoch takes a new one"
    VOTE_KEY_UNPROVEN = 4, "the proof is not the vote key's own signature"
    VOTE_KEY_MISSING = 5, "the company has registered no vote key for the next epoch"
    VOTE_KEY_UNKNOWN = 6, "no company ever voted with this key or is about to"
    NO_VALIDATOR = 7, "the company does not vote"
    VOTES_ALREADY = 8, "the company votes already"
    RENEWED_LATELY = 9, "the company has changed its keys lately; each change is a new epoch"
    SET_SIZE = 10, "with that there would be fewer than four validators, or more than a hundred"
    OBSERVERS_TOO_MANY = (
        11,
        "with the members that may be suspended there are as many observers as each can connect to",
    )
    PROPOSAL_UNKNOWN = 12, "no such proposal waits: it is decided, or has lapsed"
    PROPOSALS_TOO_MANY = 13, "the company has eight proposals waiting"
    APPROVED_ALREADY = 14, "the company has approved the proposal; others must"
    NO_VOICE = (
        15,
        "the sender's company is suspended, or concerned, or has new keys since: then propose the same again",
    )
    PARAMETER_FIXED = 16, "limits of expiry and the start limit of sessions are fixed at genesis"
    EVIDENCE_INVALID = 17, "the two votes do not contradict each other, or the key did not sign both"
    FINED_ALREADY = 18, "an equivocation of this vote key has been fined; a key is fined once"
    NODE_KEY_UNPROVEN = 19, "the proof is not the TLS key's own signature"
    PARAMETER_UNFIT = 20, "with these limits no block could hold a call of governance that changes them back"
    SENDER_NO_COMPANY = 21, "only companies decide, whatever the permission table says"


class TermsDecided(Struct):
    """Event: a decision stands."""

    height: U63
    """The first block that it rules."""
    epoch: U32
    validators: U32
    observers: U32


class Proposed(Struct):
    """Events of a proposal's life."""

    proposal: Hash
    company: Name
    """Who proposed it."""


class Approved(Struct):
    """Event: a company approves."""

    proposal: Hash
    company: Name


class Equivocated(Struct):
    """Event: proven for good."""

    company: Name
    vote_key: PublicKey
    phase: Phase
    height: U63
    view: U32
    fine_fen: U63


class Installed(Struct):
    """Event: a code will rule."""

    number: U32
    code_hash: Hash
    from_height: U63


INSTALLED: Event[Installed] = event("governance.installed")
TERMS_DECIDED: Event[TermsDecided] = event("governance.terms-decided")
PROPOSED: Event[Proposed] = event("governance.proposed")
DECIDED: Event[Proposed] = event("governance.decided")
LAPSED: Event[Proposed] = event("governance.lapsed")
APPROVED: Event[Approved] = event("governance.approved")
EQUIVOCATED: Event[Equivocated] = event("governance.equivocated")


# ── other contracts ───────────────────────────────────────────────────────────────────────────────────────────────────


class Voice(Struct):
    """A company that has not left."""

    company: Name
    roles: Roles


class Identity(Interface):
    """Companies and keys."""

    def voices(self) -> Annotated[List[Voice], Size(0, COMPANIES_MAX)]: ...

    def fine_payee(self, company: Name) -> Name: ...

    def company_key(self, company: Name) -> PublicKey: ...

    def check_free_key(self, key: PublicKey) -> None: ...

    def check_admission(self, company: Name, display_name: Name, roles: Roles, company_key: PublicKey) -> None: ...

    def admit_company(self, company: Name, display_name: Name, roles: Roles, company_key: PublicKey) -> None: ...

    def check_replacement(self, company: Name, company_key: PublicKey) -> None: ...

    def replace_keys(self, company: Name, company_key: PublicKey) -> None: ...

    def remove_company(self, company: Name) -> None: ...


class Money(Interface):
    """Books."""

    def open_book(self, company: Name) -> None: ...

    def close_book(self, company: Name, locked_until_ms: U63) -> None: ...

    def fine(self, company: Name, payee: Name, part_ppm: U32) -> U63: ...


class Tariffs(Interface):
    """Regions."""

    def check_no_region(self, company: Name) -> None: ...


IDENTITY = Identity(1)
MONEY = Money(2)
TARIFF = Tariffs(4)


# ── nodes and vote keys ───────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def set_node(node_key: NodeKey, address: Address, proof: Signature) -> None:
    """A company says which node is its own, and where: a first one becomes an observer, another takes its place."""
    name = sender()
    terms = present_terms()
    known = SEATS.get(name)
    if known is not None and known.node_key == node_key:
        moved: Seat = known
        moved.address = address
        SEATS[name] = moved
        return
    require(not is_known_node_key(node_key), Code.NODE_KEY_TAKEN)  # also of one that is about to be replaced
    require(verify(big_endian_1(ED25519) + node_key, node_key_digest(name, node_key), proof), Code.NODE_KEY_UNPROVEN)
    if known is None:
        SEATS[name] = Seat(node_key, address, False, block.time_ms)
    else:
        seat = renewed(known)
        seat.node_key = node_key
        seat.address = address
        SEATS[name] = seat
    members: Members = []
    for member in terms.validators.validators:
        if member.name == name:
            member.node_key = node_key
        members.append(member)
    observers = without_observer(terms.observers, name)
    votes = is_voting(terms, name)
    if not votes:
        observers.append(Observer(name, node_key))
    change_terms(terms, members, observers, terms.parameters, votes)


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def register_vote_key(vote_key: PublicKey, proof: Signature) -> None:
    """A company names the vote key that its node will use from the next epoch on."""
    register(sender(), vote_key, proof)


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def renew_vote_key(vote_key: PublicKey, proof: Signature) -> None:
    """The same, and the next epoch begins at once: for a validator whose key is lost, or must not vote again."""
    name = sender()
    terms = present_terms()
    seat = SEATS.get(name) or fail(Code.NO_VALIDATOR)
    require(is_voting(terms, name), Code.NO_VALIDATOR)
    SEATS[name] = renewed(seat)
    register(name, vote_key, proof)
    change_terms(terms, terms.validators.validators, terms.observers, terms.parameters, True)


def sender() -> Name:
    """The company that calls. No row of the permission table may let anybody else in."""
    require(len(call.company) > 0, Code.SENDER_NO_COMPANY)
    return call.company


def renewed(seat: Seat) -> Seat:
    """The seat with a change of keys noted."""
    require(block.time_ms >= seat.renewed_ms + SETTINGS.read().renewal_ms, Code.RENEWED_LATELY)
    return replace(seat, renewed_ms=block.time_ms)


def register(name: Name, vote_key: PublicKey, proof: Signature) -> None:
    """A vote key waits for the next epoch."""
    require(name in SEATS, Code.NODE_UNKNOWN)
    waiting = waiting_keys()
    if waiting_key(waiting, name) == vote_key:
        return  # registered before, and not in force yet
    IDENTITY.check_free_key(vote_key)
    require(vote_key not in VOTE_KEYS, Code.VOTE_KEY_USED)
    require(verify(vote_key, vote_key_digest(name, vote_key), proof), Code.VOTE_KEY_UNPROVEN)
    drop_next_key(name)
    VOTE_KEYS[vote_key] = VoteKey(name, False)
    kept: Waiting = []
    placed = False
    for each in waiting:
        if not placed and name < each.company:
            kept.append(NextKey(name, vote_key))
            placed = True
        if each.company != name:
            kept.append(each)
    if not placed:
        kept.append(NextKey(name, vote_key))
    NEXT_KEYS.write(NextKeys(kept))


def waiting_keys() -> Waiting:
    """The vote keys that wait, by company."""
    found = NEXT_KEYS.get() or NextKeys([])
    return found.keys


def waiting_key(waiting: Waiting, name: Name) -> Annotated[bytes, Size(0, 65)]:
    """The vote key that a company has registered for the next epoch; empty if none."""
    for each in waiting:
        if each.company == name:
            return each.vote_key
    return b""


def drop_next_key(name: Name) -> None:
    """Forget the vote key that a company has registered, if any: it never votes, so nobody answers for it."""
    waiting = waiting_keys()
    dropped = waiting_key(waiting, name)
    if len(dropped) == 0:
        return
    del VOTE_KEYS[dropped]
    kept: Waiting = []
    for each in waiting:
        if each.company != name:
            kept.append(each)
    NEXT_KEYS.write(NextKeys(kept))


# ── terms ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def change_terms(terms: Terms, members: Members, observers: Observers, parameters: Parameters, new_epoch: bool) -> None:
    """Make these the terms from K + 1 blocks on. A new epoch takes the registered vote keys."""
    require(VALIDATORS_MIN <= len(members) <= VALIDATORS_MAX, Code.SET_SIZE)
    # With room for all who vote: observers in every place would keep a liar from being suspended, who needs one.
    require(len(members) + len(observers) <= OBSERVERS_MAX, Code.OBSERVERS_TOO_MANY)
    voting = members
    if new_epoch:
        voting = with_fresh_keys(members)
    decided = decide(voting, observers, parameters)
    epoch = decided.validators.epoch
    emit(TERMS_DECIDED, TermsDecided(decided.height, epoch, len(members), len(observers)))


def with_fresh_keys(members: Members) -> Members:
    """The members, sorted by name, with the vote keys that they have registered, which wait no more."""
    waiting = waiting_keys()
    kept: Waiting = []
    fresh: Members = []
    place = 0
    for member in members:
        while place < len(waiting) and waiting[place].company < member.name:
            kept.append(waiting[place])
            place += 1
        if place < len(waiting) and waiting[place].company == member.name:
            member.vote_key = waiting[place].vote_key
            place += 1
        fresh.append(member)
    kept = [*kept, *waiting[place:]]
    if len(kept) < len(waiting):
        NEXT_KEYS.write(NextKeys(kept))
    return fresh


def is_voting(terms: Terms, company: Name) -> bool:
    """Whether a company votes under these terms."""
    for member in terms.validators.validators:
        if member.name == company:
            return True
    return False


def without_member(members: Members, company: Name) -> Members:
    """The members but one."""
    kept: Members = []
    for member in members:
        if member.name != company:
            kept.append(member)
    return kept


def without_observer(observers: Observers, company: Name) -> Observers:
    """The observers but one."""
    kept: Observers = []
    for observer in observers:
        if observer.name != company:
            kept.append(observer)
    return kept


def with_member(members: Members, added: Validator) -> Members:
    """The members and one more, by name."""
    together: Members = []
    placed = False
    for member in members:
        if not placed and added.name < member.name:
            together.append(added)
            placed = True
        together.append(member)
    if not placed:
        together.append(added)
    return together


# ── proposals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_admit(company: Name, display_name: Name, roles: Roles, company_key: PublicKey) -> None:
    """Propose that a company joins."""
    propose(Change(Kind.ADMIT, company, admission=Admission(display_name, roles, company_key)))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_vote(company: Name) -> None:
    """Propose that a company with a node votes, for the first time or again."""
    propose(Change(Kind.GIVE_VOTE, company))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_suspend(company: Name) -> None:
    """Propose that a company votes no more."""
    propose(Change(Kind.SUSPEND, company))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_remove(company: Name) -> None:
    """Propose that a company leaves."""
    propose(Change(Kind.REMOVE, company))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_keys(company: Name, company_key: PublicKey) -> None:
    """Propose a new key for a company in place of all that it has."""
    propose(Change(Kind.REPLACE_KEYS, company, key=NewKey(company_key)))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_parameters(parameters: Parameters) -> None:
    """Propose other limits of blocks, of their times and of idle time."""
    propose(Change(Kind.SET_PARAMETERS, "", parameters=parameters))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def propose_contract(
    number: U32, code: Annotated[bytes, Size(1, 60_000)], source: Annotated[str, Size(0, 60_000)], from_height: U63
) -> None:
    """Propose that a contract's code, made of this text, rules under a number from a height on."""
    code_hash = keep_code(number, code, source)
    propose(Change(Kind.INSTALL, "", installation=Installation(number, code_hash, from_height)))


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def approve(proposal: Hash) -> None:
    """A company approves a proposal; the one that makes it two thirds decides it."""
    count_approval(proposal, PROPOSALS.get(proposal) or fail(Code.PROPOSAL_UNKNOWN))


@scheduled(gas=2_000_000)
def lapse(proposal: Hash) -> None:
    """The schedule: time is over for a proposal."""
    found = PROPOSALS.get(proposal)
    if found is not None:
        close(proposal, found.proposer)
        installation = found.change.installation
        if installation is not None:
            drop_code(installation.code_hash)
        emit(LAPSED, Proposed(proposal, found.proposer))


def propose(change: Change) -> None:
    """A change waits for approval, and its proposer approves."""
    name = sender()
    check(change)
    count = 0
    already = OPEN.get(name)
    if already is not None:
        count = already.count
    require(count < PROPOSALS_MAX, Code.PROPOSALS_TOO_MANY)
    ends_ms = block.time_ms + SETTINGS.read().proposal_ms
    OPEN[name] = OpenProposals(count + 1)
    schedule(ends_ms, call.id, lapse, call.id)
    emit(PROPOSED, Proposed(call.id, name))
    count_approval(call.id, Proposal(name, change, ends_ms, []))


def count_approval(proposal_id: Hash, proposal: Proposal) -> None:
    """Count the sender's approval, and decide if it is the last that is needed."""
    name = sender()
    change = proposal.change
    require(block.time_ms < proposal.ends_ms, Code.PROPOSAL_UNKNOWN)
    made_ms = proposal.ends_ms - SETTINGS.read().proposal_ms
    voices = IDENTITY.voices()
    electorate = who_decides(change, voices)
    require(name in electorate.voices and not was_replaced(name, made_ms), Code.NO_VOICE)
    again = name in proposal.approved
    if not again:
        proposal.approved = sorted_set([*proposal.approved, name])
        emit(APPROVED, Approved(proposal_id, name))
    # Whoever has been suspended or has got new keys since has no voice.
    counted = 0
    asked = electorate.any_regulator
    for each in proposal.approved:
        if each in electorate.voices and not was_replaced(each, made_ms):
            counted += 1
            asked = asked or each in electorate.regulators
    if counted >= electorate.needed and asked:
        close(proposal_id, proposal.proposer)
        cancel(proposal.ends_ms, proposal_id)
        enact(change)
        emit(DECIDED, Proposed(proposal_id, proposal.proposer))
        return
    require(not again, Code.APPROVED_ALREADY)  # not before: the voices that decide may have become fewer since
    PROPOSALS[proposal_id] = proposal


class Electorate(Struct):
    """Who decides a change."""

    voices: Names
    needed: U32
    """So many of them must approve."""
    regulators: Names
    """One of these among them …"""
    any_regulator: bool
    """… unless none is asked."""


def who_decides(change: Change, voices: Annotated[List[Voice], Size(0, COMPANIES_MAX)]) -> Electorate:
    """The voices that count, and how many must approve."""
    concerned: Annotated[str, Size(0, 64)] = ""
    if change.kind == Kind.SUSPEND or change.kind == Kind.REMOVE or change.kind == Kind.REPLACE_KEYS:
        concerned = change.company
    others: Names = []
    heard: Names = []
    regulators: Names = []
    of_regulator = False
    for voice in voices:
        if voice.company == change.company:
            of_regulator = Role.REGULATOR in voice.roles
        if voice.company == concerned:
            continue
        others.append(voice.company)
        seat = SEATS.get(voice.company)
        if seat is None or not seat.suspended:
            heard.append(voice.company)
            if Role.REGULATOR in voice.roles:
                regulators.append(voice.company)
    two_thirds = ceil_div(2 * len(heard), 3)
    if change.kind == Kind.SUSPEND:
        return Electorate(heard, two_thirds, [], True)
    if len(regulators) == 0 and of_regulator:
        if change.kind == Kind.GIVE_VOTE:
            return Electorate(heard, two_thirds, [], True)
        if change.kind == Kind.REPLACE_KEYS:
            # Two thirds, who may suspend any dissenter, would take the regulator's voice by a key of their own.
            return Electorate(others, len(others), [], True)
    return Electorate(heard, two_thirds, regulators, False)


def was_replaced(company: Name, made_ms: Time) -> bool:
    """Whether a company's keys were replaced since a proposal was made, or in its block: what it said on it may be the
    word of a thief. So many voices as before are needed all the same.
    """
    replaced = REPLACED.get(company)
    return replaced is not None and made_ms <= replaced.at_ms


def close(proposal_id: Hash, proposer: Name) -> None:
    """A proposal waits no more."""
    del PROPOSALS[proposal_id]
    already = OPEN.get(proposer)
    if already is not None and already.count > 1:
        OPEN[proposer] = OpenProposals(already.count - 1)
    else:
        del OPEN[proposer]


# ── changes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def check(change: Change) -> None:
    """Whether a change can be made at all: its last approval would find out too late. What may still come (a vote key,
    a settled claim) only that asks.
    """
    if change.kind == Kind.ADMIT:
        admission = change.admission or fail(Code.PROPOSAL_UNKNOWN)
        IDENTITY.check_admission(change.company, admission.display_name, admission.roles, admission.company_key)
    elif change.kind == Kind.REPLACE_KEYS:
        new = change.key or fail(Code.PROPOSAL_UNKNOWN)
        IDENTITY.check_replacement(change.company, new.company_key)
    elif change.kind == Kind.SET_PARAMETERS:
        check_parameters(change.parameters or fail(Code.PROPOSAL_UNKNOWN))
    elif change.kind != Kind.INSTALL:  # whose code is judged already
        IDENTITY.company_key(change.company)


def check_parameters(parameters: Parameters) -> None:
    """The replay window rests on the limits of expiry: with other ones a transaction could run twice. The start limit
    of sessions is the session contract's since genesis.
    """
    present = present_terms().parameters
    require(parameters.expiry_max_ms == present.expiry_max_ms, Code.PARAMETER_FIXED)
    require(parameters.device_expiry_max_ms == present.device_expiry_max_ms, Code.PARAMETER_FIXED)
    require(parameters.session_start_max_ms == present.session_start_max_ms, Code.PARAMETER_FIXED)
    # A block that holds no transaction of governance would be for ever.
    require(parameters.block_gas_max >= BLOCK_GAS_MIN, Code.PARAMETER_UNFIT)
    require(parameters.block_bytes_max >= TRANSACTION_BYTES_MAX, Code.PARAMETER_UNFIT)


def enact(change: Change) -> None:
    """Make a change that was decided. Fails where it has become impossible."""
    company = change.company
    if change.kind == Kind.ADMIT:
        admission = change.admission or fail(Code.PROPOSAL_UNKNOWN)
        IDENTITY.admit_company(company, admission.display_name, admission.roles, admission.company_key)
        MONEY.open_book(company)
    elif change.kind == Kind.GIVE_VOTE:
        give_vote(company)
    elif change.kind == Kind.SUSPEND:
        suspend(company)
    elif change.kind == Kind.REMOVE:
        remove(company)
    elif change.kind == Kind.REPLACE_KEYS:
        new = change.key or fail(Code.PROPOSAL_UNKNOWN)
        replace_keys(company, new.company_key)
    elif change.kind == Kind.INSTALL:
        new_code = change.installation or fail(Code.PROPOSAL_UNKNOWN)
        from_height = install_code(new_code.number, new_code.code_hash, new_code.from_height)
        emit(INSTALLED, Installed(new_code.number, new_code.code_hash, from_height))
    else:
        terms = present_terms()
        parameters = change.parameters or fail(Code.PROPOSAL_UNKNOWN)
        change_terms(terms, terms.validators.validators, terms.observers, parameters, False)


def give_vote(company: Name) -> None:
    """An observer or a suspended company votes."""
    terms = present_terms()
    seat = SEATS.get(company) or fail(Code.NODE_UNKNOWN)
    require(not is_voting(terms, company), Code.VOTES_ALREADY)
    vote_key = waiting_key(waiting_keys(), company)
    require(len(vote_key) > 0, Code.VOTE_KEY_MISSING)
    if seat.suspended:
        seat.suspended = False
        SEATS[company] = seat
    member = Validator(company, IDENTITY.company_key(company), vote_key, seat.node_key)
    observers = without_observer(terms.observers, company)
    change_terms(terms, with_member(terms.validators.validators, member), observers, terms.parameters, True)


def suspend(company: Name) -> None:
    """A validator votes no more."""
    terms = present_terms()
    seat = SEATS.get(company) or fail(Code.NO_VALIDATOR)
    require(is_voting(terms, company), Code.NO_VALIDATOR)
    seat.suspended = True
    SEATS[company] = seat
    observers: Observers = terms.observers
    observers.append(Observer(company, seat.node_key))
    change_terms(terms, without_member(terms.validators.validators, company), observers, terms.parameters, True)


def remove(company: Name) -> None:
    """A company leaves."""
    terms = present_terms()
    TARIFF.check_no_region(company)
    MONEY.close_book(company, block.time_ms + SETTINGS.read().margin_lock_ms)
    IDENTITY.remove_company(company)
    if company not in SEATS:
        return
    del SEATS[company]
    drop_next_key(company)
    members = without_member(terms.validators.validators, company)
    observers = without_observer(terms.observers, company)
    change_terms(terms, members, observers, terms.parameters, is_voting(terms, company))


def replace_keys(company: Name, company_key: PublicKey) -> None:
    """One key in place of all. What a thief of the former keys has prepared goes with them: its approvals, its vote key
    that waits, and the company's own wait until it may change the vote and TLS keys that are in force.
    """
    IDENTITY.replace_keys(company, company_key)
    REPLACED[company] = Replaced(block.time_ms)
    known = SEATS.get(company)
    if known is None:
        return
    seat: Seat = known
    seat.renewed_ms = 0
    SEATS[company] = seat
    drop_next_key(company)
    terms = present_terms()
    if is_voting(terms, company):
        members: Members = []
        for member in terms.validators.validators:
            if member.name == company:
                member.company_key = company_key
            members.append(member)
        change_terms(terms, members, terms.observers, terms.parameters, True)


# ── evidence ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@method(Role.OPERATOR, Role.LAB, Role.MAINTENANCE, Role.GRID, Role.REGULATOR)
def accuse(evidence: Equivocation) -> None:
    """Prove that a vote key signed two values for one height, view and phase; its company is fined, once a key."""
    sender()
    record = VOTE_KEYS.get(evidence.vote_key) or fail(Code.VOTE_KEY_UNKNOWN)
    # Nor for one that only waits: whoever gets hold of a company key registers any number of them one after the other,
    # lies with each, and would have the company fined for all.
    require(waiting_key(waiting_keys(), record.company) != evidence.vote_key, Code.VOTE_KEY_UNKNOWN)
    # Once, whatever the statements name: whoever gets hold of a former key could sign for any number of heights and
    # invented sets, and have the company fined for each.
    require(not record.fined, Code.FINED_ALREADY)
    # Votes of another chain (a testnet with the same keys) do not verify: the digest binds the chain.
    require(proves_equivocation(evidence), Code.EVIDENCE_INVALID)
    VOTE_KEYS[evidence.vote_key] = VoteKey(record.company, True)
    payee = IDENTITY.fine_payee(record.company)
    fine_fen = MONEY.fine(record.company, payee, SETTINGS.read().fine_ppm)
    first = evidence.first
    emit(EQUIVOCATED, Equivocated(record.company, evidence.vote_key, first.phase, first.height, first.view, fine_fen))
