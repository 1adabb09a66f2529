"""A TCP proxy between each pair of members, with seeded delay, jitter, bandwidth, cuts and half-open connections.

The members speak TLS through it, so it cannot touch what they say: within one connection bytes neither change nor
change places, as within any TCP connection. Messages change places across connections: between members, because each
way has its own delay, and between two members, when a connection is reset and dialled again while its last bytes are
still on the way (`Proxy.replace`). A held line keeps what was sent and delivers it late, as TCP would by sending
it again.
"""

import asyncio
import random
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress

from msgspec import Struct

CHUNK_BYTES = 16 * 1024
CHUNKS_MAX = 256
"""On the way in one direction of one connection: 4 MiB. Beyond it the proxy stops reading, as a full line would."""
CONNECT_S_MAX = 5.0
_RST = struct.pack("ii", 1, 0)


class Condition(Struct, frozen=True, kw_only=True):
    """What a fault does to the way from one member to another."""

    delay_ms: int = 0
    jitter_ms: int = 0
    """Added to the delay of each chunk, at random from 0 to this. Chunks of one connection keep their order."""
    bytes_per_s: int = 0
    """0: no limit."""
    held: bool = False
    """Nothing passes; what was sent is delivered afterwards."""
    refused: bool = False
    """Connections are reset, new ones too."""


class Line:
    """One way between two members: the conditions in force on it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._conditions: list[Condition] = []
        self._open = asyncio.Event()
        self._open.set()
        self.touched = 0
        """How often a condition met something: a piece of data that it slowed or held, a connection that it ended."""

    def impose(self, condition: Condition) -> None:
        """Make a condition hold, beside those that do."""
        self._conditions.append(condition)
        self._settle()

    def lift(self, condition: Condition) -> None:
        """End a condition."""
        self._conditions.remove(condition)
        self._settle()

    def _settle(self) -> None:
        if any(condition.held for condition in self._conditions):
            self._open.clear()
        else:
            self._open.set()

    @property
    def refused(self) -> bool:
        """Whether connections are reset."""
        return any(condition.refused for condition in self._conditions)

    async def until_open(self) -> None:
        """Return when nothing holds the line."""
        self.touched += not self._open.is_set()
        await self._open.wait()

    def delay_s(self) -> float:
        """Of the chunk that enters now."""
        self.touched += any(each.delay_ms or each.jitter_ms for each in self._conditions)
        return sum(each.delay_ms + self._rng.uniform(0, each.jitter_ms) for each in self._conditions) / 1000

    def sending_s(self, size_bytes: int) -> float:
        """How long a chunk occupies the line."""
        rates = [condition.bytes_per_s for condition in self._conditions if condition.bytes_per_s]
        self.touched += bool(rates)
        return size_bytes / min(rates) if rates else 0.0


class _Pump:
    """Carries bytes one way through a connection."""

    def __init__(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, line: Line) -> None:
        self._source = source
        self._sink = sink
        self._line = line
        self._chunks: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)
        self.taking = asyncio.create_task(self._take())
        self.giving = asyncio.create_task(self._give())

    async def _take(self) -> None:
        """Read until the source ends, which is told by an empty chunk."""
        loop, due = asyncio.get_running_loop(), 0.0
        data = b"begin"
        while data:
            try:
                data = await self._source.read(CHUNK_BYTES)
            except OSError:
                data = b""
            due = max(due, loop.time() + self._line.delay_s())
            await self._chunks.put((due, data))

    async def _give(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._chunks.get()
            await asyncio.sleep(due - loop.time())
            await self._line.until_open()
            if not data:
                return
            await asyncio.sleep(self._line.sending_s(len(data)))
            try:
                self._sink.write(data)
                await self._sink.drain()
            except OSError:
                return

    def end(self) -> None:
        """Read nothing more, and give what was read: then `giving` is done."""
        if not self.taking.done():
            self.taking.cancel()
            with suppress(asyncio.QueueFull):
                self._chunks.put_nowait((0.0, b""))

    def cancel(self) -> None:
        """Stop at once; what is on the way is lost."""
        self.taking.cancel()
        self.giving.cancel()


class _Connection:
    """A connection through a wire: near is the member that dialled, far the one that was dialled."""

    def __init__(self, near: "_Stream", far: "_Stream", forth: Line, back: Line) -> None:
        self._near, self._far = near, far
        self._forth = _Pump(near[0], far[1], forth)
        self._back = _Pump(far[0], near[1], back)
        self._left_open = False

    async def run(self) -> None:
        """Carry bytes until one side ends."""
        try:
            await asyncio.wait((self._forth.giving, self._back.giving), return_when=asyncio.FIRST_COMPLETED)
            if self._left_open:
                await self._swallow()
        finally:
            self.reset()

    def reset(self) -> None:
        """RST to both."""
        for pump in (self._forth, self._back):
            pump.cancel()
        for _, writer in (self._near, self._far):
            _reset(writer)

    def replace(self) -> None:
        """RST to the one that dialled, which dials again; what it sent last is delivered all the same, and late."""
        self._back.taking.cancel()
        self._forth.end()
        _reset(self._near[1])

    def leave_half_open(self, *, near: bool) -> None:
        """RST to one, while the other is never told and talks into the void: a middlebox that forgot the connection."""
        self._left_open = True
        for pump in (self._forth, self._back):
            pump.cancel()
        self._open_end, gone = (self._near, self._far) if near else (self._far, self._near)
        _reset(gone[1])

    async def _swallow(self) -> None:
        with suppress(OSError):
            while await self._open_end[0].read(CHUNK_BYTES):
                pass


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        writer.transport.abort()


class _Wire:
    """Where one member dials another: a port of the proxy."""

    def __init__(self, target: tuple[str, int], forth: Line, back: Line) -> None:
        self.connections: set[_Connection] = set()
        self._target = target
        self._forth, self._back = forth, back
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def listen(self) -> str:
        """Begin; the address to dial."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """End all connections."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._forth.until_open()  # the far end does not hear of a connection whose first packet is lost
            if self._forth.refused or self._back.refused:
                for line in (self._forth, self._back):
                    line.touched += line.refused
                return
            async with asyncio.timeout(CONNECT_S_MAX):
                far = await asyncio.open_connection(*self._target)
            connection = _Connection((reader, writer), far, self._forth, self._back)
            self.connections.add(connection)
            try:
                await connection.run()
            finally:
                self.connections.discard(connection)
        except OSError:
            pass  # nobody listens there now
        finally:
            _reset(writer)


class Proxy:
    """All wires between the members."""

    def __init__(self, members: Mapping[str, tuple[str, int]], seed: int) -> None:
        """`members`: name → the address at which it listens."""
        pairs = [(one, other) for one in members for other in members if one != other]
        self._lines = {pair: Line(random.Random(f"{seed}/{pair}")) for pair in pairs}
        self._wires = {
            (one, other): _Wire(members[other], self._lines[one, other], self._lines[other, one])
            for one, other in pairs
        }
        self.addresses: dict[str, dict[str, str]] = {name: {} for name in members}
        """Member → the addresses at which it finds the others: its `p2p.peers`."""

    async def __aenter__(self) -> "Proxy":
        """Listen."""
        for (one, other), wire in self._wires.items():
            self.addresses[one][other] = await wire.listen()
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop."""
        for wire in self._wires.values():
            await wire.stop()

    def impose(self, condition: Condition, ways: Iterable[tuple[str, str]]) -> None:
        """Make a condition hold on some ways (from, to)."""
        for way in ways:
            self._lines[way].impose(condition)
            if condition.refused:
                for connection in self._between(way):
                    self._lines[way].touched += 1
                    connection.reset()

    def lift(self, condition: Condition, ways: Iterable[tuple[str, str]]) -> None:
        """End it."""
        for way in ways:
            self._lines[way].lift(condition)

    def touched(self, ways: Iterable[tuple[str, str]]) -> int:
        """How often conditions have met something on these ways."""
        return sum(self._lines[way].touched for way in ways)

    def replace(self, one: str, other: str) -> int:
        """Have the connections between two members dialled again while their last bytes are on the way; how many."""
        connections = self._between((one, other))
        for connection in connections:
            connection.replace()
        return len(connections)

    def leave_half_open(self, one: str, other: str) -> int:
        """Cut `one` off from `other`, which is not told of it; how many connections there were."""
        found = [
            (connection, near)
            for way, near in (((one, other), False), ((other, one), True))
            for connection in self._wires[way].connections
        ]
        for connection, near in found:
            connection.leave_half_open(near=near)
        return len(found)

    def _between(self, way: tuple[str, str]) -> list[_Connection]:
        return [*self._wires[way].connections, *self._wires[way[::-1]].connections]
