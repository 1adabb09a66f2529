"""Bad input of every kind against a real consortium of four nodes with API, broker and gateways: each has its own code,
or is cut off and logged once; it changes nothing, and the nodes go on.

Tests here: `door` …refused_at_the_door…, `sealed` …sealed_as_failed…, `replay` …replayed…, `tcp` …on_the_tcp_port…,
`member` …bytes_of_a_member…, `mqtt` …strangers_on_mqtt…, `gap` …gap_in_the_readings….

| case | answer | test, and others |
|---|---|---|
| malformed frame of a member | cut, `encoding-malformed` | member; fuzz/test_framing, test_core_transport |
| oversized or empty frame of a member | cut, `frame-too-large`, `frame-empty` | member |
| malformed or senseless message | cut, `encoding-…`, `fetch-range` | member; fuzz/test_peer_messages |
| gossip with a bad signature | `signature-invalid` with the peer's name | member |
| member of another chain | cut, `peer-chain` | member |
| no TLS, no certificate, a foreign one | cut, `tls-refused` | tcp; test_core_transport |
| certificate of our authority, no member | cut, `peer-unknown` | tcp |
| wrong chain | 422 `transaction-chain` | door |
| expired, too far in the future | 422 `transaction-expired`, `-too-far` | door |
| bad signature | 422 `signature-invalid` | door |
| malformed, not canonical, too large | 400 `encoding-…`, 413 | door; fuzz/test_http |
| replayed, also across a restart | 409 `transaction-seen`, or the same receipt | replay; test_core_testnet |
| unknown sender: no wallet, no company | sealed, `wallet-unknown`, `sender-unknown` | sealed |
| overspent, no headroom | sealed, `overspent`, `no-headroom` | sealed; scenarios/test_F23_payment |
| wrong contract, method, branch, class | sealed, `contract-unknown` … `class-wrong` | sealed |
| arguments malformed, not canonical | sealed, `args-malformed`, `args-not-canonical` | sealed |
| wrong password on MQTT | not connected | mqtt; test_mqtt_strangers |
| another's topics on MQTT | not delivered | mqtt; test_mqtt_strangers |
| forged, malformed, foreign message on MQTT | `Refused`; a forger is logged once | mqtt; test_mqtt_strangers |
| session that begins beyond the register | sealed, `reading-gap` | gap; unit/test_pile |
| reading left out on its way to the archive | `Refused` `reading-gap` | gap; unit/test_readings |
| record of a device replayed | sealed, `counter-stale` | gap |
| bad settings, damaged files | exit 2 or 70, with the reason | unit/test_config, fuzz/targets_files |
"""

# ruff: noqa: ASYNC110 (tests ask until it is so)

import asyncio
import os
import signal
import ssl
import struct
import time
from collections.abc import AsyncIterator

import aiohttp
import aiomqtt
import pytest
import pytest_asyncio

from consensus.messages import FetchBlocks, Transactions
from devices.readings import ChainEnd, sign_reading
from devices.wire import (
    AskHead,
    Readings,
    Receipt,
    Refused,
    Submit,
    down_topic,
    up_topic,
)
from ledger.block import Receipt as TransactionReceipt
from ledger.charging import ReadingReason
from ledger.codec import decode, encode
from ledger.transaction import Branch, ExpiryClass, Signed, decode_transaction, sign_transaction
from node.library import library_abi
from node.network.framing import frame
from node.network.peer_link import PROTOCOL_VERSION, Hello
from node.network.tls import client_context, make_authority, make_node_certificate
from node.testnet.consortium import Driver as DriverAccount
from node.testnet.make import TestnetPlan, example_piles, make_testnet
from node.testnet.run import running, until_ready
from tests.consortium import signer
from tests.e2e.consortium_kit import Device, Net, not_canonical
from tests.oracles.codes import describe

pytestmark = pytest.mark.asyncio(loop_scope="module")

RICH_FEN = 300_000_000
"""Three times the collateral of the driver's operator."""
PILE = "pile-001"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Net]:
    """One consortium for the whole module. Its authority has certified somebody who is no member."""
    folder = tmp_path_factory.mktemp("bad")
    authority = make_authority("PileChain testnet")
    drivers = (DriverAccount("driver-001", "SGCC", RICH_FEN), DriverAccount("driver-002", "Teld", 100_000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.testnet.make.make_authority", lambda _: authority)
        plan = TestnetPlan(base_port=0, piles=example_piles(2), drivers=drivers, log_format="json")
        testnet = make_testnet(folder / "net", plan)
    for name, signing in (("outsider", authority), ("foreign", make_authority("another"))):
        certificate, key = make_node_certificate(name, *signing, b"secret")
        (folder / f"{name}.pem").write_bytes(certificate)
        (folder / f"{name}.key").write_bytes(key)
        (folder / f"{name}.key").chmod(0o600)
    started, ending = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def keep() -> None:
        """A task group must be left by the task that entered it; the halves of a fixture are two tasks."""
        async with running(testnet) as supervisors, aiohttp.ClientSession() as session:
            await until_ready(testnet)
            made = Net(testnet, supervisors, session, folder)
            await made.keys_registered()
            started.set_result(made)
            await ending.wait()

    work = asyncio.create_task(keep())
    await asyncio.wait((work, started), return_when=asyncio.FIRST_COMPLETED)
    if work.done():
        await work
    yield started.result()
    ending.set()
    await work


async def test_F40_what_is_refused_at_the_door_changes_nothing(net):
    driver, now_ms = net.driver, int(time.time() * 1000)
    good = driver.pay()
    before = await net.state_root(), await net.money()
    for raw, expected in (
        (driver.pay(chain_id=bytes(32)), (422, "transaction-chain")),
        (driver.pay(valid_until_ms=now_ms - 1_000), (422, "transaction-expired")),
        (driver.pay(valid_until_ms=now_ms + 3_600_000), (422, "transaction-too-far")),
        (encode(Signed(encode(driver.body()), bytes(64))), (422, "signature-invalid")),
        (good[:-1] + bytes([good[-1] ^ 1]), (422, "signature-invalid")),
        (driver.pay(gas_limit=2**62), (422, "transaction-gas")),
        (not_canonical(good), (400, "encoding-not-canonical")),
        (encode(Signed(not_canonical(encode(driver.body())), bytes(64))), (400, "encoding-not-canonical")),
        (good[:-1], (400, "encoding-malformed")),
        (b"", (400, "encoding-malformed")),
        (bytes(70_000), (413, "transaction-too-large")),
    ):
        status, answer = await driver.post(raw, wait=False)
        assert (status, answer.get("code")) == expected, answer
        assert answer["detail"]
    assert (await net.state_root(), await net.money()) == before
    await net.goes_on()


async def test_F23_what_is_sealed_as_failed_moves_no_money(net):
    driver = net.driver
    stranger = signer("stranger")
    unknown = library_abi().encode_call("identity", "register_account", account=stranger.public_key, proof=bytes(64))
    company_call = {
        "branch": unknown.branch,
        "contract": unknown.contract,
        "method": unknown.method,
        "args": unknown.args,
    }
    pay = library_abi().encode_call("money", "pay", to=driver.payee, amount_fen=1, memo=0)
    before = await net.money()
    raws = {
        "wallet-unknown": sign_transaction(driver.body(sender=stranger.public_key), stranger),
        "sender-unknown": sign_transaction(driver.body(sender=stranger.public_key, **company_call), stranger),
        "payee-unknown": driver.pay(
            args=library_abi().encode_call("money", "pay", to=bytes(33), amount_fen=1, memo=0).args
        ),
        "overspent": driver.pay(amount_fen=RICH_FEN + 1),
        "no-headroom": driver.pay(amount_fen=RICH_FEN - 1),
        "contract-unknown": driver.pay(contract=99),
        "method-unknown": driver.pay(method="steal"),
        "method-internal": driver.pay(method="hold", args=encode((driver.payee, "SGCC", 1, bytes(32), b""))),
        "branch-wrong": driver.pay(branch=Branch.GOVERNANCE),
        "class-wrong": driver.pay(expiry_class=ExpiryClass.DEVICE),
        "args-malformed": driver.pay(args=pay.args[:-1]),
        "args-not-canonical": driver.pay(args=not_canonical(pay.args)),
        "out-of-gas": driver.pay(gas_limit=1),
    }
    answers = await asyncio.gather(*(driver.post(raw) for raw in raws.values()))
    assert {(status, answer.get("code_name")) for status, answer in answers} == {(200, code) for code in raws}
    assert [answer["code_name"] for _, answer in answers] == [*raws]
    assert all(answer["events"] == [] for _, answer in answers)
    assert await net.money() == before
    assert before[2] == 0
    await net.goes_on()


async def test_F40_replayed_transactions_run_once_also_after_a_restart(net):
    driver = net.driver
    paid = driver.pay()
    first = await driver.post(paid)
    before = await net.money()
    assert await driver.post(paid) == first, "sent again: the same receipt"
    for node in range(4):
        status, answer = await driver.post(paid, wait=False, node=node)
        assert (status, answer["code"]) == (409, "transaction-seen")

    company = sorted(net.testnet.nodes)[0]  # node 0 of the driver
    pid = net.supervisors[company].pid("core")
    os.kill(pid, signal.SIGKILL)
    net.killed += 1
    async with asyncio.timeout(20):
        while net.supervisors[company].pid("core") in (pid, None):
            await asyncio.sleep(0.05)
        await until_ready(net.testnet)
        while (answer := (await driver.post(paid, wait=False))[1])["code"] == "core-unreachable":
            await asyncio.sleep(0.1)
    assert answer["code"] == "transaction-seen"
    assert await driver.post(paid) == first
    assert await net.money() == before
    await net.goes_on()


async def test_F40_strangers_on_the_tcp_port_are_cut_off_and_logged_once(net):
    before = await net.state_root()
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    authority = net.testnet.home("SGCC").root / "config" / "ca.pem"
    foreign = client_context(authority, net.folder / "foreign.pem", net.folder / "foreign.key", b"secret")
    outsider = client_context(authority, net.folder / "outsider.pem", net.folder / "outsider.key", b"secret")
    for context in (None, anonymous, foreign, outsider):
        for data in (b"GET / HTTP/1.1\r\n\r\n", struct.pack(">I", 2**31) + bytes(1_000), frame(b"\xc1")):
            await net.attack(context, data)
    assert await net.state_root() == before
    await net.goes_on()
    assert net.charged("127.0.0.1") == ["peer-unknown", "tls-refused"]


async def test_F40_bad_bytes_of_a_member_are_cut_off_and_logged_once_with_its_name(net):
    config = net.testnet.home("Teld").root / "config"
    as_teld = client_context(
        config / "ca.pem", config / "node.pem", config / "node_key.pem", (config / "passphrase").read_bytes()
    )
    before = await net.money()

    def hello(chain_id: bytes) -> bytes:
        return frame(encode(Hello(PROTOCOL_VERSION, chain_id, "Teld", os.urandom(8))))

    forged = encode(Signed(encode(net.driver.body()), bytes(64)))
    true = hello(net.chain_id)
    for data in (
        frame(b"\xc1"),
        struct.pack(">I", 2**31),
        bytes(4),
        hello(bytes(32)),
        true + struct.pack(">I", 2**31),
        true + frame(b"\xc1"),
        true + frame(not_canonical(encode(FetchBlocks(1, 2)))),
        true + frame(encode(Transactions((forged,)))) + frame(encode(FetchBlocks(9, 1))) + frame(b"\xc1"),
    ):
        await net.attack(as_teld, data)
    assert await net.money() == before
    await net.goes_on()
    assert net.charged("Teld") == [
        "encoding-malformed",
        "encoding-not-canonical",
        "fetch-range",
        "frame-empty",
        "frame-too-large",
        "peer-chain",
        "signature-invalid",
    ]


async def test_F40_strangers_on_mqtt_are_kept_out_or_refused_and_logged_once(net):
    before = await net.state_root(), await net.money()
    for user, password in ((PILE, "wrong"), ("nobody", "any"), ("gateway-SGCC", "guess")):
        with pytest.raises(aiomqtt.MqttError):
            async with Device(net, user, password):
                pass
    async with Device(net, PILE) as device, Device(net, "pile-002") as thief:
        forgery = device.sealed_up(AskHead(), signer=thief.key)
        await thief.send(forgery, up_topic(net.chain_id, PILE))
        await thief.send(b"lies", down_topic(net.chain_id, PILE))
        for _ in range(3):
            await device.send(forgery)
        foreign = net.driver.pay()
        for data, code in (
            (b"", "message-forged"),
            (b"nonsense", "encoding-malformed"),
            (bytes(80_000), "message-too-large"),
            (device.sealed_up(Submit(foreign)), "sender-other"),
            (device.sealed_up(Submit(b"no transaction")), "encoding-malformed"),
            (device.sealed_up(Readings(bytes(32), signed_readings(device, bytes(32))[:1])), "reading-session"),
        ):
            if data:
                await device.send(data)
            assert (await device.hear(Refused)).code == code
    logged = [line for line in net.log("SGCC", "edge") if line["event"] == "gateway.stranger"]
    assert [(line["device"], line["code"]) for line in logged] == [(PILE, "message-forged")]
    assert (await net.state_root(), await net.money()) == before
    await net.goes_on()


def signed_readings(device: Device, session: bytes) -> tuple:
    """The first three readings of a session."""
    end, found = ChainEnd(), []
    for number, reason in enumerate((ReadingReason.BEGIN, ReadingReason.PERIODIC, ReadingReason.END)):
        reading, end = sign_reading(session, end, 1_000 * number, 100 * number, reason, device.key)
        found.append(reading)
    return tuple(found)


async def test_F22_a_gap_in_the_readings_starts_no_session_and_is_not_archived(net):
    driver = net.driver
    call = library_abi().encode_call(
        "session", "open", pile=PILE, connector=1, deposit_fen=5_000, accept_unverified=False
    )
    body = driver.body(branch=call.branch, contract=call.contract, method=call.method, args=call.args)
    opening = sign_transaction(body, driver.key)
    status, answer = await driver.post(opening)
    assert (status, answer["code_name"]) == (200, "done"), answer
    session, before = decode_transaction(opening).id, await net.money()

    def start(device: Device, counter: int, meter_wh: int) -> bytes:
        fields = {"session": session, "counter": counter, "time_ms": int(time.time() * 1000), "meter_wh": meter_wh}
        call = library_abi().encode_call("session", "start", **fields)
        changes = {"branch": call.branch, "contract": call.contract, "method": call.method, "args": call.args}
        body = driver.body(sender=device.key.public_key, expiry_class=call.expiry_class, **changes)
        return sign_transaction(body, device.key)

    async with Device(net, PILE) as device:
        for counter, meter_wh, code in ((1, 7, "reading-gap"), (2, 0, "done"), (2, 0, "counter-stale")):
            raw = start(device, counter, meter_wh)
            await device.send(device.sealed_up(Submit(raw)))
            receipt = await device.hear(Receipt)
            assert receipt.transaction_id == decode_transaction(raw).id
            assert describe(decode(TransactionReceipt, receipt.proof.receipt).code)[0] == code
        first, _, third = signed_readings(device, session)
        await device.send(device.sealed_up(Readings(session, (first, third))))
        assert (await device.hear(Refused)).code == "reading-gap"
    assert await net.money() == before
    await net.goes_on()


async def test_F40_after_all_of_it_no_process_has_died_or_complained_of_itself(net):
    assert sum(supervisor.restarts for supervisor in net.supervisors.values()) == net.killed
    for company in net.testnet.nodes:
        for part in ("core", "edge"):
            text = (net.testnet.logs / f"{company}-{part}.log").read_text()
            assert "Traceback" not in text, (company, part)
            assert '"level": "error"' not in text, (company, part)
