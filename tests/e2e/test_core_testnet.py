"""Four core processes over TLS with real files: transactions are sealed everywhere alike, and survive what befalls
processes.
"""

import asyncio
import os
import secrets
import signal
import ssl
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.block import Receipt, check_sealed
from ledger.codec import decode
from ledger.transaction import Body, decode_transaction, sign_transaction
from node.ipc.socket import CoreClient
from node.library import library_abi
from node.network.framing import frame
from node.network.tls import client_context
from node.storage.reader import LedgerReader
from node.testnet.make import TestnetPlan, example_drivers, make_testnet

ROOT = Path(__file__).resolve().parents[2]
NODES = ("Potevio", "SGCC", "StarCharge", "Teld")


def must(value: Any) -> Any:
    """What must be there."""
    assert value is not None
    return value


class Cores:
    """The processes of a testnet, with clients and readers."""

    def __init__(self, folder):
        self.net = make_testnet(
            folder, TestnetPlan(nodes=4, base_port=0, drivers=example_drivers(20), log_format="json")
        )
        self.genesis = self.net.home(NODES[0]).genesis()
        self.folder = folder
        self.processes = {}

    def start(self, name):
        with (self.folder / f"{name}.log").open("a") as errors:
            arguments = [sys.executable, "-m", "node.core", "--home", str(self.net.home(name).root)]
            self.processes[name] = subprocess.Popen(arguments, cwd=ROOT, stderr=errors)

    @contextmanager
    def running(self):
        """All four up; afterwards none, nor any that was started later."""
        try:
            for name in NODES:
                self.start(name)
            yield self
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()

    def stop(self):
        """SIGTERM to all; their exit codes."""
        for process in self.processes.values():
            process.terminate()
        return [process.wait(10) for process in self.processes.values()]

    def log(self, name):
        return (self.folder / f"{name}.log").read_text()

    def address(self, name):
        host, _, port = self.net.nodes[name].p2p.partition(":")
        return host, int(port)

    def files(self, name):
        folder = self.net.home(name).root / "config"
        return folder / "ca.pem", folder / "node.pem", folder / "node_key.pem", (folder / "passphrase").read_bytes()

    async def client(self, name, timeout_s=10):
        """A client, as soon as the core listens."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    return await CoreClient.connect(self.net.home(name).socket)
                except OSError:
                    await asyncio.sleep(0.02)

    def payment(self, number, **fields):
        """A signed payment of one fen from one driver to the next."""
        sender, receiver = (self.net.signer("driver", f"driver-{n % 20 + 1:03}") for n in (number, number + 1))
        call = library_abi().encode_call("money", "pay", to=receiver.public_key, amount_fen=1, memo=number)
        given: dict[str, Any] = {
            "chain_id": self.genesis.hash(),
            "sender": sender.public_key,
            "branch": call.branch,
            "expiry_class": call.expiry_class,
            "contract": call.contract,
            "method": call.method,
            "args": call.args,
            "gas_limit": 1_000_000,
            "valid_until_ms": time.time_ns() // 1_000_000 + 60_000,
            "salt": secrets.token_bytes(8),
        } | fields
        return sign_transaction(Body(**given), sender)

    async def sealed(self, name, raws) -> list[Receipt]:
        """Receipts of these transactions at one node, as soon as its store has them all."""
        ids = [decode_transaction(raw).id for raw in raws]
        client = await self.client(name)
        reader = LedgerReader(self.net.home(name).ledger, 4 << 30)
        heights = client.sealed()
        try:
            async with asyncio.timeout(15):
                while True:
                    await anext(heights)
                    with reader.snapshot() as snapshot:
                        places = [place for at in ids if (place := snapshot.locate(at))]
                        if len(places) == len(ids):
                            return [decode(Receipt, snapshot.receipts(height)[at]) for height, at in places]
        finally:
            reader.close()
            await client.close()

    def results(self, name):
        """Header hash, state root and seal check of every block of a stopped node."""
        reader = LedgerReader(self.net.home(name).ledger, 4 << 30)
        with reader.snapshot() as snapshot:
            checked = [
                check_sealed(must(snapshot.sealed(height)), self.genesis.validators, self.genesis.hash())[1]
                for height in range(1, snapshot.height + 1)
            ]
        reader.close()
        return [(result.height, result.header_hash, result.state_root) for result in checked]


async def test_F02_F04_payments_are_sealed_alike_and_a_killed_core_catches_up(cores):
    client = await cores.client("SGCC")
    first = [cores.payment(n) for n in range(200)]
    assert await client.submit(first) == [("", "")] * 200
    for name in NODES:
        receipts = await cores.sealed(name, first)
        assert {receipt.code for receipt in receipts} == {0}

    cores.kill("Teld")
    for batch in range(4):
        raws = [cores.payment(1_000 + 50 * batch + n) for n in range(50)]
        assert await client.submit(raws) == [("", "")] * 50
        await cores.sealed("SGCC", raws)
    cores.start("Teld")
    assert {receipt.code for receipt in await cores.sealed("Teld", raws)} == {0}

    # Replayed at the node that just came back: it remembers the ids of the blocks, also those that it fetched.
    again = await cores.client("Teld")
    assert {code for code, _ in await again.submit([first[0], raws[0]])} == {"transaction-seen"}
    last = [cores.payment(9_000)]
    assert await again.submit(last) == [("", "")]
    for name in NODES:
        await cores.sealed(name, last)
    await client.close()
    await again.close()

    assert cores.stop() == [0, 0, 0, 0]
    chains = [cores.results(name) for name in NODES]
    shortest = min(map(len, chains))
    assert shortest >= 6
    assert all(chain[:shortest] == chains[0][:shortest] for chain in chains)
    assert "Traceback" not in "".join(map(cores.log, NODES))


async def test_F04_all_cores_killed_at_once_under_load_lose_nothing_acknowledged(cores):
    clients = {name: await cores.client(name) for name in NODES}
    sent = [cores.payment(n) for n in range(600)]
    work = [asyncio.ensure_future(clients[name].submit(sent[n::4])) for n, name in enumerate(NODES)]
    await cores.sealed("SGCC", sent[:1])
    reader = LedgerReader(cores.net.home("SGCC").ledger, 4 << 30)
    with reader.snapshot() as snapshot:
        acknowledged = [raw for raw in sent if snapshot.locate(decode_transaction(raw).id)]
        height = snapshot.height
    reader.close()
    for name in NODES:
        cores.kill(name)
    await asyncio.gather(*work, return_exceptions=True)
    assert acknowledged
    for name in NODES:
        cores.start(name)
    last = [cores.payment(9_000)]
    client = await cores.client("Teld")
    assert await client.submit(last) == [("", "")]
    for name in NODES:
        await cores.sealed(name, [*acknowledged, *last])
    await client.close()
    assert cores.stop() == [0, 0, 0, 0]
    chains = [cores.results(name) for name in NODES]
    assert min(map(len, chains)) > height
    assert all(chain[:height] == chains[0][:height] for chain in chains)


async def test_F40_bad_input_costs_its_sender_and_nobody_else(cores):
    client = await cores.client("SGCC")
    good = [cores.payment(n) for n in range(3)]
    now_ms = time.time_ns() // 1_000_000
    bad = {
        "transaction-chain": cores.payment(10, chain_id=bytes(32)),
        "transaction-expired": cores.payment(11, valid_until_ms=now_ms - 1_000),
        "transaction-too-far": cores.payment(12, valid_until_ms=now_ms + 86_400_000),
        "signature-invalid": good[0][:-1] + bytes([good[0][-1] ^ 1]),
        "encoding-malformed": b"\xc1",
        "transaction-too-large": bytes(70_000),
    }
    answers = await client.submit([*bad.values(), *good])
    assert [code for code, _ in answers] == [*bad, "", "", ""]

    address = cores.address("SGCC")
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    as_teld = client_context(*cores.files("Teld"))
    attacks = [
        (None, b"GET / HTTP/1.1\r\n\r\n"),
        (stranger, b"hello"),
        (as_teld, frame(b"\xc1")),
        (as_teld, struct.pack(">I", 1 << 31)),
    ]
    for context, data in attacks * 3:
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=context)
            writer.write(data)
            await asyncio.wait_for(reader.read(), 5)
            writer.close()
        except OSError:
            pass
    assert {receipt.code for receipt in await cores.sealed("Teld", good)} == {0}
    log = cores.log("SGCC")
    for peer, code in (("127.0.0.1", "tls-refused"), ("Teld", "encoding-malformed"), ("Teld", "frame-too-large")):
        assert len([line for line in log.splitlines() if f'"{peer}"' in line and f'"{code}"' in line]) == 1
    assert (await client.status())["connected"] == ["Potevio", "StarCharge", "Teld"]
    await client.close()


async def test_F55_a_stopped_reader_is_named_and_core_goes_on(cores):
    """A process that holds a snapshot while it is stopped."""
    program = (
        "import sys; from pathlib import Path; from node.storage.reader import LedgerReader\n"
        "with LedgerReader(Path(sys.argv[1]), 4 << 30).snapshot(): print('reading', flush=True); sys.stdin.read()"
    )
    client = await cores.client("SGCC")
    await cores.sealed("SGCC", [])
    arguments = [sys.executable, "-c", program, str(cores.net.home("SGCC").ledger)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: ASYNC220
        must(process.stdout).readline()
        os.kill(process.pid, signal.SIGSTOP)
        for n in range(70):
            raws = [cores.payment(n)]
            assert await client.submit(raws) == [("", "")]
            await cores.sealed("SGCC", raws)
        assert (await client.status())["stale_readers"] == [process.pid]
        process.kill()
    async with asyncio.timeout(5):
        while (await client.status())["stale_readers"]:  # noqa: ASYNC110 - core looks once a second
            await asyncio.sleep(0.1)
    await client.close()


def test_F55_settings_that_cannot_work_end_core_with_a_reason(tmp_path, cores):
    home = cores.net.home("SGCC")

    def run():
        arguments = [sys.executable, "-m", "node.core", "--home", str(home.root)]
        return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)

    end = time.monotonic() + 20
    while not home.socket.exists():
        assert time.monotonic() < end, cores.log("SGCC")
        time.sleep(0.02)
    second = run()
    assert (second.returncode, "home-in-use" in second.stderr) == (2, True)
    cores.kill("SGCC")
    (home.root / "config" / "node_key.pem").write_text("nonsense")
    broken = run()
    assert (broken.returncode, "tls-files" in broken.stderr) == (2, True)
    segment = min(home.wal.glob("*.wal"))
    segment.write_bytes(b"not what was written" + segment.read_bytes())
    damaged = run()
    assert (damaged.returncode, "wal-damaged" in damaged.stderr, str(segment) in damaged.stderr) == (70, True, True)
