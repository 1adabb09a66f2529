"""Which event loop the tests with real sockets run on (core's tests on core's own), and four cores that run."""

import asyncio

import pytest
import uvloop

from tests.e2e.test_core_testnet import Cores


def pytest_asyncio_loop_factories(item: pytest.Item):
    """Core runs on uvloop, whose transports differ from asyncio's in details; all else runs on the default."""
    if item.path.name.startswith("test_core_"):
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
def cores(tmp_path):
    """Four running cores."""
    with Cores(tmp_path / "net").running() as running:
        yield running
