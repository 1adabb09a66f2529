"""Numeric codes of receipts: why a call changed nothing.

0 means done. 1…99 are given by the host and the executor, contract·1000 + n by a contract. A number, once used on a
chain, keeps its meaning. `docs/codes.md` is printed from this table by `markdown()`.
"""

from enum import IntEnum


class Code(IntEnum):
    """A code with the sentence that tells people what it means and what would help."""

    sentence: str

    def __new__(cls, number: int, sentence: str) -> "Code":
        """Take the number as the value and keep the sentence beside it."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.sentence = sentence
        return code

    @property
    def label(self) -> str:
        """The name for programs, in kebab-case."""
        return self.name.lower().replace("_", "-")

    DONE = 0, "done"

    OUT_OF_GAS = 1, "the call needs more gas than its limit; send it again with a higher gas_limit"
    CONTRACT_UNKNOWN = 2, "there is no contract with this number"
    METHOD_UNKNOWN = 3, "the contract has no method of this name"
    BRANCH_WRONG = 4, "the method's records belong to another branch"
    CLASS_WRONG = 5, "the method belongs to the other expiry class"
    ARGS_MALFORMED = 6, "the arguments are not of the method's type"
    ARGS_NOT_CANONICAL = 7, "the arguments are not in canonical encoding"
    SENDER_UNKNOWN = 8, "the sender's key belongs to no company, and the method is for companies"
    ROLE_MISSING = 9, "the sender has none of the roles that may call the method"
    BUSINESS_MISSING = 10, "the company has not given this key the method's type of business"
    METHOD_INTERNAL = 11, "only other contracts or the schedule may call the method"
    COUNTER_STALE = 12, "the device's counter is not larger than in its last record: the record has run before"
    CALL_TOO_DEEP = 13, "contracts call one another more than eight deep"
    CALL_REENTRANT = 14, "a contract is called while it waits for its own call"
    NAME_MALFORMED = 15, "a name must not hold control characters"
    OUT_OF_RANGE = 16, "a number or a length does not fit the type that the contract gives it"
    DIVISOR_NOT_POSITIVE = 17, "the contract divides by zero or by a negative number"
    VALUE_MISSING = 18, "the contract relies on a record that is not there"
    INDEX_OUT_OF_RANGE = 19, "the contract asks for a place that a list, text or byte string does not have"
    KEY_MALFORMED = 20, "a name in a record's key holds a NUL character, or the key is longer than 511 bytes"
    SCHEDULE_PAST = 21, "the contract schedules a call for a time that is not in the future"
    RESULT_MALFORMED = 22, "another contract's method returns something else than this contract expects"
    NOT_GOVERNANCE = 23, "who votes and within which limits only the governance contract may ask and decide"
    CODE_REFUSED = 24, "the verifier refuses the contract's code; `pilechain contract verify` says why"
    CODE_UNKNOWN = 25, "no such code is kept: it was never proposed, or its proposal has lapsed"
    TABLES_CHANGED = (
        26,
        "the code leaves out a table of the contract or gives it other types; a new layout takes a new mark",
    )

    NUMBER_FIXED = (
        27,
        "contracts 1 to 6 are those of genesis and not replaced yet; others have numbers up to 4,000,000",
    )

    ACCOUNT_EXISTS = 1001, "the account is registered already"
    ACCOUNT_UNKNOWN = 1002, "no such account"
    KEY_INVALID = 1003, "the public key is malformed, of a scheme that this chain does not allow, or an unsafe point"
    KEY_TAKEN = 1004, "the key is in use by a company or an account"
    KEY_UNKNOWN = 1005, "the company has no such key"
    KEY_LAST = 1006, "the company would be left without a key for identity business"
    PERMISSION_UNKNOWN = 1007, "the permission table has no row for this method"
    PERMISSION_FIXED = (
        1008,
        "who may change the permission table, and who may decide, no single company changes",
    )

    ROLES_INVALID = 1009, "a company needs a role, and only roles of companies"
    COMPANY_EXISTS = 1010, "a company has or had this name"
    COMPANIES_TOO_MANY = 1011, "there are or were as many companies as decisions can walk through"
    KEY_UNPROVEN = 1012, "the proof is not the key's own signature for this company; `pilechain keys prove` makes one"
    MEMBER_UNKNOWN = 1013, "no such company"
    COMPANY_NAME_MALFORMED = 1014, "a name must not hold control characters"
    HOME_LEFT = 1015, "the account's home operator has left the consortium"

    WALLET_UNKNOWN = 2001, "the sender has no wallet"
    PAYEE_UNKNOWN = 2002, "the payee has no wallet"
    OVERSPENT = 2003, "the wallet holds less than the amount"
    NO_HEADROOM = (
        2004,
        "the operator that would owe has no headroom: its collateral is taken up by what it owes and reserves",
    )
    PILE_OPERATOR_NO_HEADROOM = 2005, "the pile's operator has no headroom for the energy that it would owe"
    AMOUNT_ZERO = 2006, "the amount must be positive"
    NOT_HOME_OPERATOR = 2007, "only the wallet's home operator may do this"
    PAYOUT_UNKNOWN = 2008, "no such pay-out waits"
    AMOUNT_TOO_LARGE = 2009, "the amount would take a company's books over their limit"
    CLAIM_TOO_SMALL = 2010, "the debtor owes less than the amount"
    COMPANY_UNKNOWN = 2011, "no such company"
    MARGIN_TOO_SMALL = 2012, "the margin holds less, or the rest would not cover what the company owes and reserves"
    PAY_SELF = 2013, "payer and payee are the same wallet"

    MARGIN_LOCKED = 2014, "the company has left; its margin is locked for some time"
    NOT_SETTLED = 2015, "the company has wallets, claims, reservations or debts that must be settled first"
    COMPANY_LEFT = 2016, "a company that keeps a wallet of this, or operates the pile, has left the consortium"

    PILE_EXISTS = 3001, "a pile of this name is registered"
    PILE_UNKNOWN = 3002, "no such pile"
    DEVICE_KEY_TAKEN = 3003, "the key belongs to a pile"
    NOT_PILE_OPERATOR = 3004, "only the pile's operator may do this"
    PILE_OUT_OF_SERVICE = 3005, "the pile is out of service"
    CONNECTOR_UNKNOWN = 3006, "the pile has no such connector; they are numbered from 1"
    CONNECTOR_TAKEN = 3007, "the connector has a session"
    METER_UNVERIFIED = 3008, "no lab has verified the meter; a private pile may be used if the opening accepts it"
    READING_GAP = 3010, "the meter does not begin where its last reading ended"
    PILE_MALFORMED = 3011, "the pile's record contradicts itself"
    NOT_PILE_OWNER = 3012, "only the pile's owner may do this"
    PILE_NAME_MALFORMED = 3013, "a name must not hold control characters"

    TARIFF_MALFORMED = 4001, "the tariff's periods do not form a day, or a purchase price is above its energy price"
    TARIFF_NOTICE = 4002, "a tariff must be published earlier than this before it begins"
    REGION_UNKNOWN = 4003, "the region has no tariff in force"
    PRICE_ABOVE_CAP = 4004, "the price is above the regulator's cap"
    FEE_UNKNOWN = 4005, "the operator has published no service fee"
    NOT_GRID_COMPANY = 4006, "a grid company publishes tariffs in its own name only"
    REGION_OF_ANOTHER = 4007, "the region's tariffs are another grid company's; the regulator gives regions away"
    GRID_COMPANY_UNKNOWN = 4008, "the tariff names no grid company of the consortium"
    REGIONS_TOO_MANY = 4009, "there are as many regions as decisions can walk through"
    GRID_COMPANY_NEEDED = 4010, "the company has a region's tariffs; the regulator gives the region to another first"
    REGION_NAME_MALFORMED = 4011, "a name must not hold control characters"

    SESSION_UNKNOWN = 5001, "no such session"
    SESSION_STATE = 5002, "the session is not in a state that allows this"
    START_LATE = 5003, "the session was not started within the start limit"
    TIME_IMPLAUSIBLE = 5004, "the device's time is before the session or ahead of the chain"
    BORDER_MISMATCH = 5005, "the readings do not stand exactly at the tariff borders of the stay"
    REGISTER_BACKWARDS = 5006, "the register runs backwards"
    ENERGY_IMPLAUSIBLE = 5007, "more energy than the pile can deliver in the time"
    REPUTATION_LOW = 5008, "the driver's reputation is below the threshold"
    UNPAID_BILL = 5009, "the driver has an unpaid bill"
    NOT_PARTY = 5010, "only the session's driver, its pile or the pile's operator may do this"
    READING_FORGED = 5011, "the reading is not signed by the pile"
    READING_MISMATCH = 5012, "the reading is of another session, or older than the one claimed"
    DEVICE_WRONG = 5013, "the sender is not the pile's key"

    NODE_KEY_TAKEN = 6001, "the TLS key is that of a node already"
    NODE_UNKNOWN = 6002, "the company has no node yet; it names one by governance.set_node"
    VOTE_KEY_USED = 6003, "the vote key votes or has voted; each epoch takes a new one"
    VOTE_KEY_UNPROVEN = 6004, "the proof is not the vote key's own signature"
    VOTE_KEY_MISSING = 6005, "the company has registered no vote key for the next epoch"
    VOTE_KEY_UNKNOWN = 6006, "no company ever voted with this key or is about to"
    NO_VALIDATOR = 6007, "the company does not vote"
    VOTES_ALREADY = 6008, "the company votes already"
    RENEWED_LATELY = 6009, "the company has changed its keys lately; each change is a new epoch"
    SET_SIZE = 6010, "with that there would be fewer than four validators, or more than a hundred"
    OBSERVERS_TOO_MANY = (
        6011,
        "with the members that may be suspended there are as many observers as each can connect to",
    )
    PROPOSAL_UNKNOWN = 6012, "no such proposal waits: it is decided, or has lapsed"
    PROPOSALS_TOO_MANY = 6013, "the company has eight proposals waiting"
    APPROVED_ALREADY = 6014, "the company has approved the proposal; others must"
    NO_VOICE = (
        6015,
        "the sender's company is suspended, or concerned, or has new keys since: then propose the same again",
    )
    PARAMETER_FIXED = 6016, "limits of expiry and the start limit of sessions are fixed at genesis"
    EVIDENCE_INVALID = 6017, "the two votes do not contradict each other, or the key did not sign both"
    FINED_ALREADY = 6018, "an equivocation of this vote key has been fined; a key is fined once"
    NODE_KEY_UNPROVEN = 6019, "the proof is not the TLS key's own signature"
    PARAMETER_UNFIT = 6020, "with these limits no block could hold a call of governance that changes them back"
    SENDER_NO_COMPANY = 6021, "only companies decide, whatever the permission table says"


_BY_NUMBER = {code.value: code for code in Code}


def describe(number: int) -> tuple[str, str]:
    """Label and sentence of a receipt's code; ("code-unknown", …) for a number that this release does not know."""
    code = _BY_NUMBER.get(number)
    if code is None:
        return "code-unknown", f"code {number} is newer than this program"
    return code.label, code.sentence


def markdown() -> str:
    """The text of `docs/codes.md`."""
    rows = "\n".join(f"| {code.value} | `{code.label}` | {code.sentence} |" for code in Code)
    return (
        "# Codes of receipts\n\n"
        "Printed from `contracts/codes.py` by its function `markdown()`; a test says when this page is stale.\n"
        "1…99: executor and host. 1xxx identity, 2xxx money, 3xxx registry, 4xxx tariff, 5xxx session,\n"
        "6xxx governance. "
        "Whatever the code, nothing changed; the gas is charged.\n\n"
        f"| code | name | meaning |\n|---|---|---|\n{rows}\n"
    )
