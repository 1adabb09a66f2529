"""The supervisor with real processes: restarts, giving up, stopping in order, and no orphans after kill -9."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger.errors import ClientError
from node import supervisor as supervisor_module
from node.home import Home
from node.supervisor import Part, Supervisor, parts_of

LASTING = Part("lasting", ("http.server", "0", "--bind", "127.0.0.1"))
DYING = Part("dying", ("this",))


async def until(condition, timeout_s=10.0):
    """Wait for a condition on processes, which tell nobody when they change."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a process has no event to wait for
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_F55_a_node_is_core_then_edge(tmp_path):
    """Start order; stopping goes the other way round."""
    home = Home(tmp_path)
    assert [part.name for part in parts_of(home)] == ["core", "edge"]
    assert parts_of(home, "core")[0].arguments[0] == "node.core"
    assert parts_of(home, "gateway")[0].arguments == ("node.edge", "--home", str(tmp_path), "--only", "gateway")


async def test_F55_what_dies_is_started_again(tmp_path):
    """kill -9 costs a fraction of a second; stop ends everything."""
    supervisor = Supervisor(Home(tmp_path), [LASTING], tmp_path)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.pid("lasting"))
    first = supervisor.pid("lasting") or 0
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pid("lasting") not in (first, None))
    assert supervisor.restarts == 1
    second = supervisor.pid("lasting") or 0
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    assert not is_alive(second)


async def test_F55_a_first_part_that_cannot_live_ends_the_supervisor_with_a_reason(tmp_path, monkeypatch):
    """Back-off is bounded, and so are attempts."""
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.01,))
    supervisor = Supervisor(Home(tmp_path), [DYING, LASTING], tmp_path)
    with pytest.raises(ClientError, match=r"part-failed: dying of .* died 5 times"):
        await asyncio.wait_for(supervisor.run(), 30)
    await until(lambda: supervisor.pid("lasting") is None)


async def test_F04_a_part_that_halted_itself_is_not_started_again(tmp_path, monkeypatch):
    """After a failed fsync a new process would trust pages that never reached the disk."""
    (tmp_path / "halting.py").write_text("raise SystemExit(70)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    supervisor = Supervisor(Home(tmp_path), [Part("core", ("halting",))], tmp_path)
    with pytest.raises(ClientError, match=r"part-failed: core of .* halted itself \(status 70\)"):
        await asyncio.wait_for(supervisor.run(), 10)
    assert supervisor.restarts == 0


async def test_F13_a_core_that_asked_to_be_started_again_and_again_may_still_die_once(tmp_path, monkeypatch):
    """As one whose disk was full, whom somebody kills while it starts."""
    count = tmp_path / "count"
    (tmp_path / "waiting.py").write_text(
        "import pathlib, sys, time\n"
        f"count = pathlib.Path({str(count)!r})\n"
        "count.write_text(count.read_text() + 'x' if count.exists() else 'x')\n"
        "starts = len(count.read_text())\n"
        "sys.exit(75) if starts < 7 else sys.exit(1) if starts == 7 else time.sleep(60)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.01,))
    supervisor = Supervisor(Home(tmp_path), [Part("core", ("waiting",))], tmp_path)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: running.done() or (count.exists() and len(count.read_text()) == 8), 30)
    assert not running.done()
    supervisor.stop()
    await asyncio.wait_for(running, 10)


async def test_F13_a_core_that_dies_of_what_it_reads_is_not_tried_for_ever(tmp_path, monkeypatch):
    """LMDB may crash on a damaged file; whoever reads the reason learns the command."""
    (tmp_path / "crashing.py").write_text("import os; os.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.01,))
    supervisor = Supervisor(Home(tmp_path), [Part("core", ("crashing",))], tmp_path)
    with pytest.raises(ClientError, match=r"died 5 times .*pilechain repair"):
        await asyncio.wait_for(supervisor.run(), 10)


async def test_F55_a_second_part_that_cannot_live_leaves_the_first_alone(tmp_path, monkeypatch):
    """Consensus does not depend on the edge."""
    monkeypatch.setattr(supervisor_module, "BACK_OFF_S", (0.01,))
    supervisor = Supervisor(Home(tmp_path), [LASTING, DYING], tmp_path)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.restarts == supervisor_module.QUICK_DEATHS_MAX - 1)
    await asyncio.sleep(0.5)
    assert not running.done()
    assert is_alive(supervisor.pid("lasting") or 0)
    supervisor.stop()
    await asyncio.wait_for(running, 10)


async def test_F55_a_reader_that_holds_the_store_back_is_killed(tmp_path, monkeypatch):
    """Core names it; the supervisor, which need not have started it, kills it."""
    reader = subprocess.Popen(["sleep", "60"])  # noqa: ASYNC220 - starts at once, and is waited for by poll

    class Core:
        @classmethod
        async def connect(cls, path):
            return cls()

        async def status(self):
            return {"stale_readers": [reader.pid]}

        async def close(self):
            pass

    monkeypatch.setattr("node.ipc.socket.CoreClient", Core)
    monkeypatch.setattr(supervisor_module, "READER_CHECK_S", 0.05)
    supervisor = Supervisor(Home(tmp_path), [Part("core", LASTING.arguments)], tmp_path)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: reader.poll() is not None)
    assert reader.returncode == -signal.SIGKILL
    supervisor.stop()
    await asyncio.wait_for(running, 10)


def test_F61_no_orphan_survives_kill_9_of_the_supervisor(tmp_path):
    """PR_SET_PDEATHSIG: the kernel cleans up where nobody is left to."""
    program = (
        "import asyncio, sys; from pathlib import Path; from node.home import Home; from node.supervisor import *\n"
        "part = Part('lasting', ('http.server', '0', '--bind', '127.0.0.1'))\n"
        "supervisor = Supervisor(Home(Path(sys.argv[1])), [part], Path(sys.argv[1]))\n"
        "async def main():\n"
        "    running = asyncio.create_task(supervisor.run())\n"
        "    while not supervisor.pid('lasting'): await asyncio.sleep(0.01)\n"
        "    print(supervisor.pid('lasting'), flush=True)\n"
        "    await running\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = next(int(line) for line in parent.stdout if line.strip().isdigit())
        assert is_alive(child)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)
