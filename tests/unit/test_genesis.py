"""The genesis document and its file."""

import base64
import json
from pathlib import Path

import msgspec
import pytest

from consensus.messages import (
    HEADER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    CommitCertificate,
    CommittedBlock,
    PrePrepare,
    SealedBlock,
    SealedBlocks,
    decode_message,
)
from ledger.block import SealedHeader, Vote
from ledger.codec import decode, encode
from ledger.errors import ClientError, PeerError
from ledger.genesis import BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX, Parameters, Profile
from ledger.readable import readable
from ledger.transaction import Branch
from node.home import Home, find_home, genesis_json, read_genesis
from tests import chain


def test_every_field_is_under_the_hash() -> None:
    document = chain.genesis()
    others = [
        msgspec.structs.replace(document, **change)
        for change in (
            {"name": "other"},
            {"profile": Profile.INTL},
            {"time_ms": 1},
            {"parameters": msgspec.structs.replace(document.parameters, idle_interval_ms=1)},
            {"validators": chain.validator_set(5)},
            {"consortium": b"\x01"},
        )
    ]
    assert len({other.hash() for other in (document, *others)}) == 7


def test_the_file_is_readable_and_reads_back(tmp_path: Path) -> None:
    document = chain.genesis()
    path = tmp_path / "genesis.json"
    path.write_text(genesis_json(document, {"companies": ["a"]}))
    assert read_genesis(path) == document
    shown = json.loads(path.read_text())["readable"]
    assert shown["validators"]["validators"][0]["name"] == "Company 00"
    assert shown["consortium"] == {"companies": ["a"]}


def test_a_changed_missing_or_broken_file_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    with pytest.raises(ClientError) as caught:
        read_genesis(path)
    assert caught.value.code == "genesis-missing"
    good = json.loads(genesis_json(chain.genesis(), None))
    forged = msgspec.msgpack.encode(chain.genesis(5))
    for change in (
        {"document": base64.b64encode(forged).decode()},
        {"document": "@@"},
        {"document": base64.b64encode(b"x").decode()},
        {"hash": "00"},
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(ClientError) as caught:
            read_genesis(path)
        assert caught.value.code == "genesis-invalid"
    path.write_text("{")
    with pytest.raises(ClientError):
        read_genesis(path)


def test_home_is_flag_then_environment_then_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILECHAIN_HOME", str(tmp_path / "env"))
    assert find_home(tmp_path / "flag") == Home(tmp_path / "flag")
    assert find_home(None).ledger == tmp_path / "env" / "data" / "ledger"
    monkeypatch.delenv("PILECHAIN_HOME")
    assert find_home(None).root == Path("~/.pilechain").expanduser()


def test_readable_names_fields_and_writes_bytes_as_hex() -> None:
    block = chain.block(chain.genesis(), 1, [chain.transaction("a", branch=Branch.CHARGING)])
    shown = readable(block.header)
    assert shown["branches"][0]["branch"] == "charging"
    assert shown["parent"] == block.header.parent.hex()
    assert readable({Branch.SERVICE: [1, Profile.GM]}) == {"service": [1, "gm"]}


def test_F40_a_bad_key_or_limit_in_the_genesis_file_is_the_files_fault(tmp_path: Path) -> None:
    """Not a peer's: the process ends with a sentence for its operator, and is not tried again."""
    document = chain.genesis()
    first, *others = document.validators.validators
    bad_key = msgspec.structs.replace(first, vote_key=b"\x01" + bytes(32))
    no_set = msgspec.structs.replace(document.validators, validators=(bad_key, *others))
    huge = msgspec.structs.replace(document.parameters, block_bytes_max=2**31)
    path = tmp_path / "genesis.json"
    for change in ({"validators": no_set}, {"parameters": huge}):
        path.write_text(genesis_json(msgspec.structs.replace(document, **change), None))
        with pytest.raises(ClientError) as caught:
            read_genesis(path)
        assert caught.value.code == "genesis-invalid"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("block_transactions_max", 0),
        ("block_transactions_max", BLOCK_TRANSACTIONS_MAX + 1),
        ("block_bytes_max", 0),
        ("block_bytes_max", BLOCK_BYTES_MAX + 1),
    ],
)
def test_F40_limits_beyond_what_messages_carry_are_no_parameters(field: str, value: int) -> None:
    with pytest.raises(PeerError, match="encoding-malformed"):
        decode(Parameters, encode(msgspec.structs.replace(Parameters(), **{field: value})))


def test_F03_the_fullest_block_that_parameters_allow_can_be_proposed_sent_and_stored() -> None:
    header = bytes(HEADER_BYTES_MAX)
    votes = tuple(Vote(voter, bytes(64)) for voter in range(100))
    size = BLOCK_BYTES_MAX // BLOCK_TRANSACTIONS_MAX
    raws = tuple(bytes(size) for _ in range(BLOCK_TRANSACTIONS_MAX))
    proposal = PrePrepare(0, header, bytes(32 * BLOCK_TRANSACTIONS_MAX), bytes(64))
    sealed = SealedBlock(SealedHeader(header, bytes(1_024), votes), raws)
    behind_a_megabyte = tuple(bytes(size) for _ in range(2**20 // size))
    tail = (
        CommittedBlock(header, CommitCertificate(0, votes), behind_a_megabyte),
        CommittedBlock(header, CommitCertificate(0, votes), raws),
    )
    for message in (proposal, SealedBlocks((sealed,), ()), SealedBlocks((), tail)):
        data = encode(message)
        assert len(data) <= MESSAGE_BYTES_MAX
        assert decode_message(data) == message
