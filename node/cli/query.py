"""What `pilechain query` shows of a snapshot of the ledger."""

from typing import Any

from contracts import views
from contracts.abi import Abi, abi_at
from ledger.block import Event, Header, Receipt, Result
from ledger.codec import decode_trusted, encode
from ledger.errors import ClientError, PileChainError
from ledger.readable import readable
from ledger.transaction import Transaction, decode_transaction
from node.storage.reader import Snapshot


def block_at(snapshot: Snapshot, height: int) -> dict[str, Any]:
    """A sealed block; the newest for height 0. Raises ClientError `height-unknown`."""
    height = height or snapshot.height
    sealed = snapshot.sealed(height)
    if sealed is None:
        raise ClientError("height-unknown", f"sealed blocks are 1 to {snapshot.height}; there is no {height}")
    header = decode_trusted(Header, sealed.header)
    voters = snapshot.validator_set(header.set_hash)
    receipts = [decode_trusted(Receipt, raw) for raw in snapshot.receipts(height)]
    abi = abi_at(snapshot, height)
    return {
        "header": readable(header),
        "result": readable(decode_trusted(Result, sealed.result)),
        "sealed_by": [voters.validators[vote.voter].name for vote in sealed.seal] if voters else [],
        "transactions": [
            {"id": tx.id.hex(), "call": _call_name(abi, tx), "code": abi.describe_code(receipt.code)[0]}
            for tx, receipt in zip(map(decode_transaction, snapshot.transactions(height)), receipts, strict=False)
        ],
    }


def shown_event(abi: Abi, event: Event) -> dict[str, Any]:
    """An event with its fields."""
    return {"event": event.name, **readable(abi.decode_event(event))}


def transaction_of(snapshot: Snapshot, transaction_id: bytes) -> dict[str, Any]:
    """A sealed transaction and what came of it. Raises ClientError `transaction-unknown`."""
    place = snapshot.locate(transaction_id)
    if place is None:
        raise ClientError(
            "transaction-unknown", "no sealed transaction has this id; it may still wait, or have expired"
        )
    height, index = place
    tx = decode_transaction(snapshot.transactions(height)[index])
    receipt = decode_trusted(Receipt, snapshot.receipts(height)[index])
    abi = abi_at(snapshot, height)
    name, sentence = abi.describe_code(receipt.code)
    return {
        "id": tx.id.hex(),
        "height": height,
        "index": index,
        "call": _call_name(abi, tx),
        "sender": tx.body.sender.hex(),
        "args": _args(abi, tx),
        "code": receipt.code,
        "code_name": name,
        "meaning": sentence,
        "gas_used": receipt.gas_used,
        "events": [shown_event(abi, event) for event in receipt.events],
    }


def pile_of(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A pile's record and state. Raises ClientError `not-found`."""
    record, state = views.pile(snapshot, name), views.pile_state(snapshot, name)
    if record is None or state is None:
        raise ClientError("not-found", f"the newest state has no pile {name}")
    shown: dict[str, Any] = readable(record) | readable(state)
    return shown


def company_of(snapshot: Snapshot, name: str) -> dict[str, Any]:
    """A company, its books and headroom. Raises ClientError `not-found`, naming those that there are."""
    record, book = views.company(snapshot, name), views.book(snapshot, name)
    if record is None or book is None:
        raise ClientError("not-found", f"no company {name}; there are {', '.join(views.companies(snapshot))}")
    return {"name": name, **readable(record), "book": readable(book), "headroom_fen": book.headroom_fen}


def contract_of(snapshot: Snapshot, wanted: str) -> dict[str, Any]:
    """A contract by name or number: the text that rules, and all versions. Raises ClientError as `Abi.contract`."""
    number = abi_at(snapshot, snapshot.height + 1).contract(wanted).number
    versions = views.contract_versions(snapshot, number)
    present = next(each for each in reversed(versions) if each.from_height <= snapshot.height + 1)
    stored = views.contract_code(snapshot, present.code_hash)
    return {
        "number": number,
        "code_hash": present.code_hash.hex(),
        "versions": [{"from_height": each.from_height, "code_hash": each.code_hash.hex()} for each in versions],
        "text": stored.source if stored else "",
    }


def code_of(snapshot: Snapshot, code_hash: bytes) -> dict[str, Any]:
    """A code that is kept, ruling, former or proposed, with its text. Raises ClientError `not-found`."""
    stored = views.contract_code(snapshot, code_hash)
    if stored is None:
        raise ClientError("not-found", f"no code with the hash {code_hash.hex()} is kept; a proposal may have lapsed")
    return {"code_hash": code_hash.hex(), "bytes": len(stored.code), "text": stored.source}


def members_of(snapshot: Snapshot) -> dict[str, Any]:
    """Who votes, who follows, and what is decided about that."""
    timeline = snapshot.head.timeline
    return {
        "height": snapshot.height,
        "seats": {name: readable(seat) for name in views.companies(snapshot) if (seat := views.seat(snapshot, name))},
        "timeline": [
            {
                "from_height": terms.height,
                "epoch": terms.validators.epoch,
                "validators": [member.name for member in terms.validators.validators],
                "observers": [observer.name for observer in terms.observers],
                "parameters": readable(terms.parameters),
            }
            for terms in timeline
        ],
        "proposals": {
            identity.hex(): {"kind": proposal.change.kind.name.lower(), **readable(proposal)}
            for identity, proposal in views.proposals(snapshot).items()
        },
    }


def state_at(snapshot: Snapshot, key: bytes, with_proof: bool) -> dict[str, Any]:
    """What the newest state holds under a key."""
    value = snapshot.get(key)
    shown = {
        "height": snapshot.height,
        "key": key.hex(),
        "value": None if value is None else value.hex(),
        "state_root": snapshot.state_root.hex(),
    }
    return shown | ({"proof": encode(snapshot.prove_state(key)).hex()} if with_proof else {})


def _call_name(abi: Abi, tx: Transaction) -> str:
    return f"{abi.contract_name(tx.body.contract)}.{tx.body.method}"


def _args(abi: Abi, tx: Transaction) -> Any:
    """Arguments by name, or as they came where they are not what the method takes (then the receipt says so)."""
    try:
        return readable(abi.decode_args(tx.body.contract, tx.body.method, tx.body.args))
    except PileChainError:
        return tx.body.args.hex()
