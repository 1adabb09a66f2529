"""Numeric codes of receipts that the host and the executor give: why a call changed nothing.

0 means done, and so do 1…99 what stands here, whichever contract was called; a contract's own codes are 1,000 times its
number and what its text declares. A number, once used on a chain, keeps its meaning.
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
    LAYOUT_CHANGED = (
        26,
        "the code leaves out a table or an event of the contract or gives it other types; "
        "a new layout takes a new mark or name",
    )

    NUMBER_INVALID = 27, "contracts have numbers from 1 to 4,000,000"
    TEXT_DIFFERS = 28, "the code is kept with another text; propose it with that one, or after it has lapsed"


_BY_NUMBER = {code.value: code for code in Code}


def describe(number: int) -> tuple[str, str]:
    """Label and sentence of a receipt's code; ("code-unknown", …) for a number that this release does not know."""
    code = _BY_NUMBER.get(number)
    if code is None:
        return "code-unknown", f"code {number} is newer than this program"
    return code.label, code.sentence
