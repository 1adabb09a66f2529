"""Goodput with one mute member of four: sealed payments per second beside those of the same consortium without the
fault, in one run.
"""

import asyncio
import os
import signal
import time

import pytest

from bench.consortium import Member, running
from bench.load import Load, sign_payments
from ledger.keys import Scheme, SoftSigner
from node.testnet.consortium import Driver

SECONDS = float(os.environ.get("PILECHAIN_GOODPUT_SECONDS", "30"))
"""Of load in each of three slices: the mute one includes the time-outs until the member is passed over."""
OFFERED_TPS = 4_000
"""More than four nodes on two cores seal, so that payments always wait."""
ACCOUNTS = 400
BACK_S_MAX = 120.0
SHARE_MIN = 0.5


async def sealed_tps(load: Load, signers: list[SoftSigner], part: int) -> float:
    """Payments sealed per second while they are offered for `SECONDS`."""
    chain_id = load.members[0].home.genesis().hash()
    payments = sign_payments(
        signers, [signer.public_key for signer in signers], chain_id, int(OFFERED_TPS * SECONDS), part
    )
    begun, before = time.perf_counter(), load.tally.sealed
    await load.offer(payments, begun + SECONDS)
    in_time = [sealed for at, sealed in load.seals if begun <= at <= begun + SECONDS]
    return (max(in_time, default=before) - before) / SECONDS


async def until_back(member: Member, others: list[Member]) -> None:
    """Until a member that was stopped has reached the others."""
    async with asyncio.timeout(BACK_S_MAX):
        while member.height() < max(other.height() for other in others):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


@pytest.mark.long
async def test_F61_a_mute_member_leaves_more_than_half_of_the_goodput():
    drivers = [
        Driver(f"payer {number}", ("SGCC", "Teld", "Potevio", "StarCharge")[number % 4], 10**7)
        for number in range(ACCOUNTS)
    ]
    async with running(4, Scheme.ED25519, drivers) as (testnet, members):
        signers = [testnet.signer("driver", driver.name) for driver in drivers]
        primary = (await members[0].client.status())["primary"]
        mute = next(member for member in members if member.home.root.name == primary)
        others = [member for member in members if member is not mute]
        load = Load(others)
        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(load.follow(number)) for number in range(len(others))]
            rates = [await sealed_tps(load, signers, 0)]
            mute.process.send_signal(signal.SIGSTOP)
            try:
                rates.append(await sealed_tps(load, signers, 1))
            finally:
                mute.process.send_signal(signal.SIGCONT)
            await until_back(mute, others)
            rates.append(await sealed_tps(load, signers, 2))
            for follower in followers:
                follower.cancel()
    share = rates[1] / ((rates[0] + rates[2]) / 2)
    told = ", ".join(f"{rate:.0f}" for rate in rates)
    print(f"sealed tx/s without, with, without a mute {primary}: {told}; share {share:.2f}")
    assert not load.tally.failed
    assert share >= SHARE_MIN
