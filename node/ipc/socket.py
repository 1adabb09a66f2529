"""The unix socket of the core process: its server, and the client that the edge, tools and tests use.

Mode 0600: whoever is this user may submit. Everything that core keeps for a client is bounded: its transactions on the
way by credits, answers by those, heights by telling only the newest. So a client that stops reading costs core nothing
but a socket buffer.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import msgspec

from ledger.codec import Wire, encode
from ledger.errors import ClientError, PeerError
from node.ipc.wire import (
    CREDITS_MAX,
    AskStatus,
    FromCore,
    Sealed,
    StatusIs,
    Submit,
    Submitted,
    Subscribe,
    decode_from_client,
    decode_from_core,
)
from node.network.framing import FRAME_BYTES_MAX, FrameReader, frame

CONNECTIONS_MAX = 64
"""The edge's processes and an operator's tools."""
BUSY = ("busy", "wait for answers and submit again")
"""Short, because it may be said `CREDITS_MAX` times in one answer."""

Answers = list[tuple[str, str]]
Submitter = Callable[[list[bytes]], Awaitable[Answers]]


class IpcServer:
    """Core's side."""

    def __init__(self, submit: Submitter, status: Callable[[], dict[str, Any]]) -> None:
        """`submit` admits transactions and answers for each; `status` describes core."""
        self.submit = submit
        self.status = status
        self.height = 0
        self.sessions: set[_Session] = set()
        self._server: asyncio.AbstractServer | None = None

    async def start(self, path: Path) -> None:
        """Listen at a path, in place of what an earlier process left there. Raises ClientError `socket-path`."""
        listener = _private_listener(path)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Session(self), sock=listener)

    async def stop(self) -> None:
        """Stop listening and end all connections."""
        if self._server:
            self._server.close()
        for session in list(self.sessions):
            session.end()

    def sealed(self, height: int) -> None:
        """Tell all subscribers."""
        self.height = height
        for session in self.sessions:
            session.tell_height()


def _private_listener(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o177)  # the socket is private from its first moment on
    try:
        listener.bind(str(path))
    except OSError as error:
        raise ClientError("socket-path", f"{path}: {error}; choose a home with a shorter path") from error
    finally:
        os.umask(old_mask)
    return listener


class _Session(asyncio.Protocol):
    """One connected client."""

    def __init__(self, server: IpcServer) -> None:
        self._server = server
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._in_flight = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._told = -1
        self._subscribed = False
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if len(self._server.sessions) >= CONNECTIONS_MAX:
            self._transport.abort()
            return
        self._server.sessions.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.sessions.discard(self)
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._take(payload)
        except PeerError:
            self.end()  # another program, or another version of ours: nothing that it sends can be answered

    def pause_writing(self) -> None:
        self._paused = True
        if self._transport:
            self._transport.pause_reading()  # who does not read answers may not ask more

    def resume_writing(self) -> None:
        self._paused = False
        if self._transport:
            self._transport.resume_reading()
        self.tell_height()

    def end(self) -> None:
        """End the connection."""
        if self._transport:
            self._transport.abort()

    def tell_height(self) -> None:
        """Tell the newest height, unless the client is not interested, knows it, or does not read."""
        height = self._server.height
        if self._subscribed and not self._paused and height > self._told:
            self._told = height
            self._write(Sealed(height))

    def _take(self, payload: bytes) -> None:
        message = decode_from_client(payload)
        if isinstance(message, Submit):
            task = asyncio.get_running_loop().create_task(self._submit(message))
            self._tasks.add(task)
            task.add_done_callback(self._submitted)
        elif isinstance(message, AskStatus):
            self._write(StatusIs(message.number, msgspec.json.encode(self._server.status())))
        else:
            self._subscribed = True
            self.tell_height()

    def _submitted(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error:
            # Costs this connection: what a client sends must never stop the process.
            context = {"message": "a submission failed", "exception": error, "protocol": self}
            asyncio.get_running_loop().call_exception_handler(context)
            self.end()

    async def _submit(self, message: Submit) -> None:
        count = len(message.raws)
        if self._in_flight + count > CREDITS_MAX:
            answers: Answers = [BUSY] * count
        else:
            self._in_flight += count
            try:
                answers = await self._server.submit(list(message.raws))
            finally:
                self._in_flight -= count
        self._write(Submitted(message.number, tuple(answers)))

    def _write(self, message: Wire) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(frame(encode(message)))


class CoreClient(asyncio.Protocol):
    """A connection to core. Methods raise ConnectionError when it is lost; the caller connects again."""

    def __init__(self) -> None:
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._number = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._height = -1
        self._news = asyncio.Event()
        self._lost = False

    @classmethod
    async def connect(cls, path: Path) -> "CoreClient":
        """Connect to the socket of a running core. Raises OSError if there is none."""
        _, client = await asyncio.get_running_loop().create_unix_connection(cls, str(path))
        return client

    async def submit(self, raws: list[bytes]) -> Answers:
        """Submit transactions. For each ("", "") if it waits for a block now, else code and message."""
        answers: Answers = [*await self._ask(lambda number: Submit(number, tuple(raws)))]
        return answers

    async def status(self) -> dict[str, Any]:
        """What core says of itself."""
        status: dict[str, Any] = msgspec.json.decode(await self._ask(AskStatus))
        return status

    async def sealed(self) -> AsyncIterator[int]:
        """Sealed heights, the present one first. When many come at once, or the caller is slow, only the newest."""
        self._write(Subscribe())
        told = -1
        while True:
            while self._height == told:
                if self._lost:
                    raise ConnectionResetError("core is gone")
                await self._news.wait()
            told = self._height
            yield told

    async def close(self) -> None:
        """End the connection."""
        if self._transport:
            self._transport.close()

    # ── asyncio.Protocol ─────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Core is gone: whoever waits for an answer must know."""
        self._lost = True
        self._tell_news()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(ConnectionResetError("core is gone"))
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Answers and heights."""
        for payload in self._reader.feed(data):
            self._take(decode_from_core(payload))

    def _take(self, message: FromCore) -> None:
        if isinstance(message, Sealed):
            self._height = message.height
            self._tell_news()
            return
        answer = message.answers if isinstance(message, Submitted) else message.status
        future = self._waiting.pop(message.number, None)
        if future and not future.done():
            future.set_result(answer)

    def _tell_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _ask(self, question: Callable[[int], Wire]) -> Any:
        self._number += 1
        future = self._waiting[self._number] = asyncio.get_running_loop().create_future()
        self._write(question(self._number))
        return await future

    def _write(self, message: Wire) -> None:
        if self._lost or not self._transport:
            raise ConnectionResetError("core is gone")
        self._transport.write(frame(encode(message)))
