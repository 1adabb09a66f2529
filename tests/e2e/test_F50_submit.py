"""Submitting to the API of a real consortium of four nodes: sealed with a proof that holds, and bad input refused."""

import time

import aiohttp
import pytest

from ledger.block import SealedHeader, TransactionProof, check_sealed, verify_transaction
from ledger.codec import decode, encode
from ledger.transaction import Body, Signed, decode_transaction, sign_transaction
from node.library import library_abi
from node.testnet.make import TestnetPlan, example_drivers, example_piles, make_testnet
from node.testnet.run import running, until_ready


class Driver:
    """A driver who pays by the API of one node."""

    def __init__(self, testnet, session):
        self.nodes = [f"http://{addresses.api}" for addresses in testnet.nodes.values()]
        self.genesis = testnet.home(next(iter(testnet.nodes))).genesis()
        first, second = example_drivers(2)
        self.key, self.payee = testnet.signer("driver", first.name), testnet.signer("driver", second.name).public_key
        self.session = session
        self.salt = 0

    def body(self, amount_fen: int = 100, **changes) -> Body:
        """A payment, perhaps a bad one."""
        self.salt += 1
        call = library_abi().encode_call("money", "pay", to=self.payee, amount_fen=amount_fen, memo=0)
        given = {
            "chain_id": self.genesis.hash(),
            "sender": self.key.public_key,
            "branch": call.branch,
            "expiry_class": call.expiry_class,
            "contract": call.contract,
            "method": call.method,
            "args": call.args,
            "gas_limit": 1_000_000,
            "valid_until_ms": int(time.time() * 1000) + 300_000,
            "salt": self.salt.to_bytes(8, "big"),
        }
        return Body(**given | changes)

    def pay(self, **changes) -> bytes:
        """The same, signed."""
        return sign_transaction(self.body(**changes), self.key)

    async def post(self, raw: bytes, wait: bool = True, node: int = 0):
        """Status and answer."""
        address = f"{self.nodes[node]}/v1/transactions{'?wait=sealed' if wait else ''}"
        headers = {"Content-Type": "application/octet-stream"}
        async with self.session.post(address, data=raw, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    async def get(self, path: str, node: int = 0):
        """An answer."""
        async with self.session.get(self.nodes[node] + path) as answer:
            return await answer.json(content_type=None)


async def test_F50_a_payment_is_sealed_with_its_proof_and_bad_ones_are_refused_each_with_its_code(tmp_path):
    testnet = make_testnet(
        tmp_path / "net", TestnetPlan(base_port=0, piles=example_piles(2), drivers=example_drivers(2))
    )
    async with running(testnet), aiohttp.ClientSession() as session:
        await until_ready(testnet)
        driver = Driver(testnet, session)
        paid = driver.pay()
        status, answer = await driver.post(paid)
        assert (status, answer["code_name"]) == (200, "done")
        sealed = decode(SealedHeader, bytes.fromhex(answer["proof"]["sealed_header"]))
        header, _ = check_sealed(sealed, driver.genesis.validators, driver.genesis.hash())
        proof = decode(TransactionProof, bytes.fromhex(answer["proof"]["transaction_proof"]))
        assert verify_transaction(header, decode_transaction(paid).leaf, proof)

        assert await driver.post(paid) == (status, answer), "sent again: the same receipt"
        forged = encode(Signed(encode(driver.body()), bytes(64)))
        for raw, expected in (
            (paid, (409, "transaction-seen")),
            (driver.pay(chain_id=bytes(32)), (422, "transaction-chain")),
            (driver.pay(valid_until_ms=1), (422, "transaction-expired")),
            (driver.pay(valid_until_ms=2**62), (422, "transaction-too-far")),
            (forged, (422, "signature-invalid")),
        ):
            status, answer = await driver.post(raw, wait=False)
            assert (status, answer["code"]) == expected, answer
        for raw, code in ((driver.pay(method="steal"), "method-unknown"), (driver.pay(amount_fen=10**14), "overspent")):
            status, answer = await driver.post(raw, node=1)
            assert (status, answer["code_name"]) == (200, code)

        companies = await driver.get("/v1/companies")
        assert companies["balances_sum_fen"] == 0
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"http://{testnet.nodes['SGCC'].p2p}/v1/status")
