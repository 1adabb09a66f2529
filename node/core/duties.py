"""What core does on chain by itself, in its company's name: it registers fresh vote keys ahead of each epoch, lets them
take over, and brings evidence against members that contradict themselves.

It signs with the company key if that lies in the home. A company that keeps its key elsewhere finds in the log what it
has to sign.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from contracts import digests, views
from contracts.abi import abi_at
from contracts.numbers import GOVERNANCE
from ledger.block import Receipt
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError
from ledger.keys import SoftSigner
from ledger.terms import Terms, terms_at
from ledger.transaction import decode_transaction
from node.calls import signed_call
from node.clock import ChainClock
from node.core.admission import Admission
from node.core.key_plan import KeyFacts, KeyStep, next_step
from node.core.vote_keys import VoteKeys
from node.effects import Accuse
from node.engine import Engine
from node.keystore import load_key
from node.storage.reader import LedgerReader

RESUBMIT_S = 30.0
"""Before a call without a receipt is submitted again: a block takes a second, an overloaded chain some."""
EVIDENCE_MAX = 16
"""Calls under way at once: a consortium of liars must not fill the memory; what is beyond is in the log."""
NEXT_KEY = "the next vote key"


class OwnCall:
    """A call of governance that this node makes in its company's name."""

    def __init__(self, method: str, args: dict[str, Any]) -> None:
        self.method = method
        self.args = args
        self.submitted_s = -RESUBMIT_S
        self.transaction_id = b""
        """Of the last submission."""


class Duties:
    """One node's. Lives on the event loop; keys are read and written in a thread."""

    def __init__(
        self,
        company: str,
        chain_id: bytes,
        clock: ChainClock,
        keys: VoteKeys | None,
        company_signer: SoftSigner | None,
        reader: LedgerReader,
        engine: Engine,
        admission: Admission,
        log: Any,
    ) -> None:
        """`keys` is None for an observer that shall never vote."""
        self._company = company
        self._chain_id = chain_id
        self._clock = clock
        self._keys = keys
        self._signer = company_signer
        self._reader = reader
        self._engine = engine
        self._admission = admission
        self._log = log
        self._calls: dict[str, OwnCall] = {}
        """What is under way, by what it is for: the next vote key, and evidence, at most `EVIDENCE_MAX`."""
        self._missed = b""
        """A vote key in force that this node does not hold, once it has been said."""

    async def tick(self) -> None:
        """Do what is due, each second. A key that cannot be written now is tried again."""
        try:
            if self._keys is not None:
                await self._keep_keys(self._keys)
        except (OSError, ClientError) as error:
            self._log.warning("vote_key_not_kept", error=str(error), hint="see to the folder of the key files")
        for what, call in list(self._calls.items()):
            await self._pursue(what, call)

    def accuse(self, effect: Accuse) -> None:
        """Bring evidence on chain, until some member's is there."""
        self._log.warning("equivocation_proven", company=effect.company, evidence=encode(effect.evidence).hex())
        if len(self._calls) < EVIDENCE_MAX:
            what = f"evidence against {effect.company}, key {effect.evidence.vote_key.hex()[:16]}"
            self._calls[what] = OwnCall("accuse", {"evidence": effect.evidence})

    async def _keep_keys(self, keys: VoteKeys) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, keys.find_waiting)
        if found:
            self._engine.use_key(found)
        facts = self._facts(keys)
        self._say_if_missed(facts)
        step = next_step(facts)
        if step is not KeyStep.REGISTER:
            self._calls.pop(NEXT_KEY, None)
        if step is KeyStep.PROMOTE:
            former = await loop.run_in_executor(None, keys.promote)
            self._engine.drop_key(former)
            self._log.info("vote_key_in_force", vote_key=keys.present.public_key.hex(), erased=former.hex())
        elif step is KeyStep.REPLACE:
            self._engine.drop_key(await loop.run_in_executor(None, keys.drop_waiting))
        elif step is KeyStep.REGISTER and NEXT_KEY not in self._calls:
            waiting = await loop.run_in_executor(None, keys.make_waiting)
            self._engine.use_key(waiting)
            args = vote_key_args(self._chain_id, self._company, waiting)
            self._calls[NEXT_KEY] = OwnCall("register_vote_key", args)

    def _facts(self, keys: VoteKeys) -> KeyFacts:
        waiting = keys.waiting.public_key if keys.waiting else None
        with self._reader.snapshot() as snapshot:
            timeline = snapshot.head.timeline
            present = terms_at(timeline, snapshot.height + 1)
            return KeyFacts(
                has_seat=views.seat(snapshot, self._company) is not None,
                present=_vote_key(present, self._company),
                decided=_vote_key(timeline[-1], self._company),
                registered=views.next_vote_key(snapshot, self._company),
                held=keys.present.public_key if keys.may_vote else None,
                waiting=waiting,
                waiting_known=waiting is not None and views.vote_key(snapshot, waiting) is not None,
            )

    def _say_if_missed(self, facts: KeyFacts) -> None:
        """Say once that the company votes with a key that this node does not hold, or must not use."""
        missed = facts.present if facts.present not in (None, facts.held, facts.waiting) else None
        if missed and missed != self._missed:
            hint = "this node only observes; have a key of its own take over: pilechain keys renew"
            self._log.warning("vote_key_not_held", vote_key=missed.hex(), hint=hint)
        self._missed = missed or b""

    async def _pursue(self, what: str, call: OwnCall) -> None:
        """Submit a call, look for its receipt, and submit it again where it has none."""
        if self._signer is None:
            self._log.warning("company_key_missing", what=what, hint=f"sign governance.{call.method} where the key is")
            del self._calls[what]
            return
        if call.transaction_id:
            with self._reader.snapshot() as snapshot:
                place = snapshot.locate(call.transaction_id)
                receipt = decode_trusted(Receipt, snapshot.receipts(place.height)[place.position]) if place else None
                abi = abi_at(snapshot, place.height if place else snapshot.height)
            if receipt is not None:
                code, sentence = abi.describe_code(receipt.code)
                self._log.info("own_call_done", what=what, code=code, meaning=sentence)
                del self._calls[what]
        if what in self._calls and time.monotonic() >= call.submitted_s + RESUBMIT_S:
            with self._reader.snapshot() as snapshot:
                abi = abi_at(snapshot, snapshot.height + 1)
            call.submitted_s = time.monotonic()
            try:
                encoded = abi.encode_call(str(GOVERNANCE), call.method, **call.args)
            except ClientError as error:  # a vote has made another contract of it
                hint = "make the call by hand: pilechain tx --list shows how it is called now"
                self._log.error("own_call_impossible", what=what, error=error.message, hint=hint)
                return
            raw = signed_call(encoded, self._signer, self._chain_id, self._clock)
            call.transaction_id = decode_transaction(raw).id
            [(code, message)] = await self._admission.submit([raw])
            if code:
                self._log.warning("own_call_refused", what=what, code=code, message=message)


def vote_key_args(chain_id: bytes, company: str, signer: SoftSigner) -> dict[str, Any]:
    """Arguments of `governance.register_vote_key` and `renew_vote_key`."""
    proof = signer.sign(digests.vote_key_digest(chain_id, company, signer.public_key))
    return {"vote_key": signer.public_key, "proof": proof}


def load_company_signer(key_file: Path, passphrase: bytes) -> SoftSigner | None:
    """The company key; None if it is kept elsewhere. Raises ClientError for a file that cannot be opened."""
    try:
        return load_key(key_file, passphrase)
    except ClientError as error:
        if error.code != "keystore-missing":
            raise
        return None


def _vote_key(terms: Terms, company: str) -> bytes | None:
    index = terms.validators.index_of(company)
    return None if index is None else terms.validators.validators[index].vote_key
