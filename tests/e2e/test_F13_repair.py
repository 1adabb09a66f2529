"""A validator whose log or ledger is damaged: it halts with place and command, the command is run, it follows and does
not vote.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import msgspec
import pytest

from node.storage.layout import DATA_FILE
from tests.e2e.test_core_testnet import NODES, ROOT, Cores


def pilechain(*arguments: str) -> dict:
    """Run a command in a process of its own; what it prints."""
    program = "import sys; from node.cli.main import main; main()"
    command = [sys.executable, "-c", program, *arguments, "--output", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout)


async def ended(cores: Cores, name: str) -> int:
    """Exit code of a core that ends by itself."""
    return await asyncio.to_thread(cores.processes[name].wait, 30)


async def follows_without_a_vote(cores: Cores, client) -> None:
    """The node of Teld is level with the others, and its vote counts nowhere: each block needs all three others."""
    raws = [cores.payment(9_000 + n) for n in range(3)]
    assert await client.submit(raws) == [("", "")] * 3
    await cores.sealed("Teld", raws)
    teld = await cores.client("Teld")
    assert not (await teld.status())["voting"]
    os.kill(cores.processes["Potevio"].pid, 19)
    last = [cores.payment(9_500)]
    assert await client.submit(last) == [("", "")]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await cores.sealed("SGCC", last)
    os.kill(cores.processes["Potevio"].pid, 18)
    await cores.sealed("Teld", last)
    await teld.close()


async def test_F13_a_validator_with_a_damaged_log_is_repaired_and_observes(cores):
    client, home = await cores.client("SGCC"), cores.net.home("Teld")
    segments: list[Path] = []
    for number in range(50):
        raws = [cores.payment(number)]
        assert await client.submit(raws) == [("", "")]
        await cores.sealed("Teld", raws)
        segments = [path for path in sorted(home.wal.glob("*.wal")) if path.stat().st_size > 1_000]
        if segments:
            break  # it has voted, and not only followed
    cores.kill("Teld")
    segment = segments[0]
    data = bytearray(segment.read_bytes())
    data[100] ^= 1
    segment.write_bytes(data)
    cores.start("Teld")
    assert await ended(cores, "Teld") == 70
    said = cores.log("Teld")
    assert f"{segment} at offset 12" in said
    assert "pilechain repair" in said

    done = pilechain("repair", "--home", str(home.root))
    assert str(segment) in done["log"]
    assert (home.root / done["set_aside"][0] / segment.name).read_bytes() == data
    cores.start("Teld")
    await follows_without_a_vote(cores, client)
    assert "votes_forgotten" in cores.log("Teld")
    await client.close()


async def test_F13_a_validator_with_a_damaged_ledger_is_repaired_and_fetches_the_chain(cores):
    client, home = await cores.client("SGCC"), cores.net.home("Teld")
    for batch in range(5):
        first = [cores.payment(20 * batch + n) for n in range(20)]
        assert await client.submit(first) == [("", "")] * 20
        await cores.sealed("Teld", first)
    cores.kill("Teld")
    data = bytearray((home.ledger / DATA_FILE).read_bytes())
    random = Random(7)
    for page in range(2, len(data) // 4096):
        data[page * 4096 + 8 : page * 4096 + 24] = random.randbytes(16)
    (home.ledger / DATA_FILE).write_bytes(data)
    cores.start("Teld")
    assert await ended(cores, "Teld") != 0, "never by running on"

    done = pilechain("repair", "--home", str(home.root))
    assert str(home.ledger) in done["ledger"]
    assert (home.root / done["set_aside"][0] / DATA_FILE).read_bytes() == data
    cores.start("Teld")
    await follows_without_a_vote(cores, client)
    await client.close()
    assert cores.stop() == [0, 0, 0, 0]
    chains = [cores.results(name) for name in NODES]
    shortest = min(map(len, chains))
    assert all(chain[:shortest] == chains[0][:shortest] for chain in chains)
