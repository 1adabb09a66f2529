"""A process lives, and ends as it meant to, though nobody can read what it says."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.home import Home

ROOT = Path(__file__).resolve().parents[2]
LOGGING = """
import structlog
from node.config import LogSection
from node.logs import configure_logs
configure_logs(LogSection())
for _ in range(500):
    structlog.get_logger().error("disk_full", reason="a line of some length")
raise SystemExit(75)
"""


def run(*arguments: str, stderr: Any) -> subprocess.CompletedProcess[bytes]:
    """A process whose standard error is buffered, as it usually is."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, stderr=stderr, cwd=ROOT, env=environment, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("-c", LOGGING), 75), (("-m", "node.core", "--home"), 2), (("-m", "node.edge", "--home"), 2)],
)
def test_F13_a_log_on_a_full_disk_does_not_end_the_process_nor_change_its_exit_code(tmp_path, arguments, status):
    home = Home(tmp_path)
    home.config_file.parent.mkdir()
    home.config_file.write_text('[api]\nlisten = "nowhere"\n')
    with Path("/dev/full").open("wb") as full:
        assert run(*arguments, str(tmp_path), stderr=full).returncode == status


def test_F13_a_log_that_nobody_reads_any_more_does_not_end_the_process():
    reader, writer = os.pipe()
    os.close(reader)
    ended = run("-c", LOGGING, stderr=writer)
    os.close(writer)
    assert ended.returncode == 75


def test_F13_a_log_with_room_is_whole():
    ended = run("-c", LOGGING, stderr=subprocess.PIPE)
    assert (ended.returncode, ended.stderr.count(b"disk_full"), ended.stderr.count(b"\n")) == (75, 500, 500)
