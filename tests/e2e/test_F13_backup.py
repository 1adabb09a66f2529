"""A validator is backed up while blocks are made, lost, and restored elsewhere: it follows and does not vote."""

import asyncio
import shutil

from node.home import Home
from tests.e2e.test_F13_repair import follows_without_a_vote, pilechain


async def test_F13_a_backup_of_a_running_node_is_restored_elsewhere_and_observes(cores, tmp_path):
    client, home = await cores.client("SGCC"), cores.net.home("Teld")
    first = [cores.payment(n) for n in range(100)]
    assert await client.submit(first) == [("", "")] * 100
    await cores.sealed("Teld", first)

    async def load() -> None:
        for number in range(1_000, 1_030):
            assert await client.submit([cores.payment(number)]) == [("", "")]
            await asyncio.sleep(0.05)

    work = asyncio.ensure_future(load())
    backup = tmp_path / "backup"
    made = await asyncio.to_thread(pilechain, "backup", str(backup), "--home", str(home.root))
    await work
    assert made["height"] >= 1
    assert (await asyncio.to_thread(pilechain, "verify", "--backup", str(backup)))["height"] == made["height"]

    cores.kill("Teld")
    passphrase = (home.root / "config" / "passphrase").read_bytes()
    shutil.rmtree(home.root)
    elsewhere = Home(tmp_path / "elsewhere")
    await asyncio.to_thread(pilechain, "restore", str(backup), "--home", str(elsewhere.root))
    (elsewhere.root / "config" / "passphrase").write_bytes(passphrase)
    home.root.symlink_to(elsewhere.root)  # where the other tools of this test look
    cores.start("Teld")
    await follows_without_a_vote(cores, client)
    await client.close()
