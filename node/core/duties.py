"""What core does on chain by itself, in its company's name: it registers fresh vote keys ahead of each epoch, lets them
take over, and brings evidence against members that contradict themselves.

It signs with the company key if that lies in the home. A company that keeps its key elsewhere finds in the log what it
has to sign.
"""

import asyncio
import time
from pathlib import Path
from typing import Any

from contracts import abi, seats, views
from ledger.codec import encode
from ledger.errors import ClientError
from ledger.keys import SoftSigner
from ledger.terms import Terms, terms_at
from node.calls import signed_call
from node.clock import ChainClock
from node.core.admission import Admission
from node.core.key_plan import KeyFacts, KeyStep, next_step
from node.core.vote_keys import VoteKeys
from node.effects import Accuse
from node.engine import Engine
from node.keystore import load_key
from node.storage.reader import LedgerReader

REGISTER_PAUSE_S = 30.0
"""Before a key that is still not registered is registered again: a block takes a second, an overloaded chain some."""


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
        self._registered_s = -REGISTER_PAUSE_S
        self._tasks: set[asyncio.Task[None]] = set()

    async def keep_keys(self) -> None:
        """Do what is due about the vote keys, each second. A key that cannot be written now is tried again."""
        if self._keys is not None:
            try:
                await self._keep_keys(self._keys)
            except (OSError, ClientError) as error:
                self._log.warning("vote_key_not_kept", error=str(error), hint="see to the folder of the key files")

    async def _keep_keys(self, keys: VoteKeys) -> None:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(None, keys.find_waiting)
        if found:
            self._engine.use_key(found)
        step = next_step(self._facts(keys))
        if step is KeyStep.PROMOTE:
            former = await loop.run_in_executor(None, keys.promote)
            self._engine.drop_key(former)
            self._log.info("vote_key_in_force", vote_key=keys.present.public_key.hex(), erased=former.hex())
        elif step is KeyStep.REGISTER and time.monotonic() >= self._registered_s + REGISTER_PAUSE_S:
            self._registered_s = time.monotonic()
            waiting = await loop.run_in_executor(None, keys.make_waiting)
            self._engine.use_key(waiting)
            args = vote_key_args(self._chain_id, self._company, waiting)
            await self._call("register_vote_key", args, "the next vote key")

    def accuse(self, effect: Accuse) -> None:
        """Bring evidence on chain."""
        text = encode(effect.evidence).hex()
        self._log.warning("equivocation_proven", company=effect.company, evidence=text)
        args = {"evidence": effect.evidence}
        task = asyncio.get_running_loop().create_task(self._call("accuse", args, f"evidence against {effect.company}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _facts(self, keys: VoteKeys) -> KeyFacts:
        with self._reader.snapshot() as snapshot:
            timeline = snapshot.head.timeline
            present = terms_at(timeline, snapshot.height + 1)
            return KeyFacts(
                has_seat=views.seat(snapshot, self._company) is not None,
                present=_vote_key(present, self._company),
                decided=_vote_key(timeline[-1], self._company),
                registered=views.next_vote_key(snapshot, self._company),
                held=keys.present.public_key if keys.may_vote else None,
                waiting=keys.waiting.public_key if keys.waiting else None,
            )

    async def _call(self, method: str, args: dict[str, Any], what: str) -> None:
        if self._signer is None:
            self._log.warning("company_key_missing", what=what, hint=f"sign governance.{method} where the key is")
            return
        call = abi.encode_call("governance", method, **args)
        [(code, message)] = await self._admission.submit([signed_call(call, self._signer, self._chain_id, self._clock)])
        if code:
            self._log.warning("own_call_refused", what=what, code=code, message=message)
        else:
            self._log.info("own_call_submitted", what=what)


def vote_key_args(chain_id: bytes, company: str, signer: SoftSigner) -> dict[str, Any]:
    """Arguments of `governance.register_vote_key` and `renew_vote_key`."""
    proof = signer.sign(seats.vote_key_digest(chain_id, company, signer.public_key))
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
