"""One connection to a peer: hello, frames in, coalesced and bounded frames out.

A Protocol, not a stream: asyncio's streams cost 8 to 12 µs a frame, this less than 2. What is sent within one turn of
the event loop goes out in one write, so that the votes and batches of a block share TLS records and system calls.
"""

import asyncio
import socket
import ssl
from collections import deque
from typing import NamedTuple, Protocol, cast

from ledger.codec import Wire, decode, encode
from ledger.errors import PeerError
from ledger.units import U32, Hash, Name
from node.network.framing import FRAME_BYTES_MAX, FrameReader, frame
from node.network.tls import peer_key, peer_name

PROTOCOL_VERSION = 1
HELLO_BYTES_MAX = 512
"""The first frame. A stranger cannot make us keep more."""
HELLO_TIMEOUT_S = 5.0
"""From the end of the TLS handshake to the hello: whoever is slower holds a connection without using it (slow-loris).
"""
OUTGOING_BYTES_MAX = 16 * 1024 * 1024
"""Waiting for a slow peer: four of the longest messages. Beyond it gossip is dropped, and with no gossip left, the
connection.
"""
INCOMING_BYTES_MAX = 8 * 1024 * 1024
"""Received and not yet handled: two of the longest messages. Beyond it nothing more is read from this peer."""
FRAME_COST_BYTES = 128
"""What a received frame counts beyond its payload: eight million frames of one byte would cost a gigabyte."""
UNACKNOWLEDGED_MS_MAX = 10_000
"""A peer that acknowledges nothing for so long is gone, whatever TCP's own patience."""
SILENCE_CHECK_S = 2.5
SILENT_CHECKS_MAX = 4
"""A member says twice a second where it stands. One of which nothing was heard at so many checks in a row is gone, or a
box between us forgot the connection and swallows what we send, acknowledging it. Checks are counted, not seconds: a
process that was itself stopped for a minute makes one check before it reads what has come.
"""
_WRITE_BUFFER_BYTES = 512 * 1024
"""Kept inside the transport before it says pause: enough for one block."""


class Hello(Wire):
    """The first message of both sides."""

    protocol: U32
    chain_id: Hash
    company: Name
    instance: bytes
    """Random, new at each start of the process: tells a peer that came back from a second connection of the same one.
    """


class Owner(Protocol):
    """Who keeps the links: the network."""

    hello: Hello
    """What this node says of itself."""
    believes_names: bool
    """Whether a dialled peer whose key `identify` does not know is the company that its certificate names."""

    def identify(self, node_key: bytes) -> str | None:
        """Company whose node has this TLS key, None if no member has."""

    def ready(self, link: "PeerLink") -> None:
        """The peer has said hello, and it holds."""

    def received(self, link: "PeerLink", payload: bytes) -> None:
        """A frame came."""

    def lost(self, link: "PeerLink", code: str, reason: str) -> None:
        """The connection is over; `code` is empty if the peer did nothing wrong."""


class _Outgoing(NamedTuple):
    framed: bytes
    droppable: bool


class PeerLink(asyncio.Protocol):
    """A TLS connection, accepted or dialled."""

    def __init__(self, owner: Owner, dialled: str | None) -> None:
        """`dialled` is the company that was meant to answer; None for an accepted connection."""
        self.dialled = dialled
        self.company = ""
        self.node_key = b""
        self.address = ""
        self.instance = b""
        self.is_ready = False
        self.acquainted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the hello was taken, or the connection ended before."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = owner
        self._reader = FrameReader(HELLO_BYTES_MAX)
        self._queue: deque[_Outgoing] = deque()
        self._queue_bytes = 0
        self._paused = False
        self._flush_planned = False
        self._incoming_bytes = 0
        self._fault = ("", "")
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Until the hello it waits for that, then for silence."""
        self._heard = False
        """Anything, since the last check."""
        self._silent_checks = 0

    # ── asyncio.Protocol ──────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The TLS handshake is done: find out whose key it was, and say hello."""
        self._transport = cast(asyncio.Transport, transport)
        host, port = transport.get_extra_info("peername")[:2]
        self.address = f"{host}:{port}"
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        plain = transport.get_extra_info("socket")
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
        session: ssl.SSLObject = transport.get_extra_info("ssl_object")
        certificate = session.getpeercert(binary_form=True) or b""
        try:
            self.node_key = peer_key(certificate)
            company = self._owner.identify(self.node_key)
            if company is None and self.dialled and self._owner.believes_names:
                company = peer_name(certificate)
        except PeerError as error:
            self.cut(error.code, error.message)
            return
        if company is None:
            self.cut("peer-unknown", "the certificate's key belongs to no member and no observer")
            return
        if self.dialled not in (None, company):
            self.cut("peer-other", f"{self.dialled} was dialled, {company} answered")
            return
        self.company = company
        self._timer = asyncio.get_running_loop().call_later(HELLO_TIMEOUT_S, self._hello_late)
        self.send(frame(encode(self._owner.hello)), droppable=False)

    def data_received(self, data: bytes) -> None:
        """Bytes came: the hello first, then messages."""
        self._heard = True
        try:
            for payload in self._reader.feed(data):
                if not self.is_ready:
                    self._take_hello(payload)
                else:
                    self._incoming_bytes += len(payload) + FRAME_COST_BYTES
                    self._owner.received(self, payload)
                if self.is_closing:
                    return
        except PeerError as error:
            self.cut(error.code, error.message)
            return
        if self._incoming_bytes > INCOMING_BYTES_MAX and self._transport:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write: keep the rest in the bounded queue."""
        self._paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._paused = False
        self._plan_flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by whoever's doing."""
        self._stop_timer()
        self._queue.clear()
        self.closed.set_result(None)
        self._finish_acquaintance()
        code, reason = self._fault
        if not code and isinstance(exc, ssl.SSLError):
            code, reason = "tls-refused", str(exc)
        self._owner.lost(self, code, reason)

    # ── for the network ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_closing(self) -> bool:
        """Whether nothing more is sent or taken."""
        return self._transport is None or self._transport.is_closing()

    def send(self, framed: bytes, droppable: bool) -> None:
        """Queue a frame; `droppable` frames are gossip, the first to go when the peer is slow."""
        if self.is_closing:
            return
        self._queue.append(_Outgoing(framed, droppable))
        self._queue_bytes += len(framed)
        if self._queue_bytes > OUTGOING_BYTES_MAX:
            self._drop_gossip()
        self._plan_flush()

    def handled(self) -> None:
        """Everything received so far is being handled: read on."""
        if self._incoming_bytes > INCOMING_BYTES_MAX and self._transport and not self.is_closing:
            self._transport.resume_reading()
        self._incoming_bytes = 0

    def cut(self, code: str = "", reason: str = "") -> None:
        """End the connection now; with a code, for the peer's fault."""
        if not self._fault[0]:
            self._fault = (code, reason)
        if self._transport:
            self._transport.abort()

    def close(self) -> None:
        """End the connection after what is queued is written."""
        self._flush()
        if self._transport:
            self._transport.close()

    # ── inside ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take_hello(self, payload: bytes) -> None:
        hello, ours = decode(Hello, payload), self._owner.hello
        if hello.protocol != ours.protocol:
            raise PeerError("peer-protocol", f"speaks version {hello.protocol}, this node {ours.protocol}")
        if hello.chain_id != ours.chain_id:
            raise PeerError("peer-chain", f"is on chain {hello.chain_id.hex()}, this node on {ours.chain_id.hex()}")
        if hello.company != self.company:
            raise PeerError(
                "peer-name", f"calls itself {hello.company}, its certificate's key is that of {self.company}"
            )
        self._stop_timer()
        self._check_silence()
        self.instance = hello.instance
        self.is_ready = True
        self._reader.payload_bytes_max = FRAME_BYTES_MAX
        self._owner.ready(self)
        self._finish_acquaintance()

    def _finish_acquaintance(self) -> None:
        if not self.acquainted.done():
            self.acquainted.set_result(None)

    def _hello_late(self) -> None:
        self.cut("peer-silent", f"no hello within {HELLO_TIMEOUT_S:.0f} s")

    def _check_silence(self) -> None:
        # Who is not read because we have not handled what it sent is not silent.
        is_silent = not self._heard and self._incoming_bytes <= INCOMING_BYTES_MAX
        self._silent_checks = self._silent_checks + 1 if is_silent else 0
        self._heard = False
        if self._silent_checks >= SILENT_CHECKS_MAX:
            self.cut("peer-silent", f"nothing for {SILENT_CHECKS_MAX * SILENCE_CHECK_S:.0f} s")
        else:
            self._timer = asyncio.get_running_loop().call_later(SILENCE_CHECK_S, self._check_silence)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _plan_flush(self) -> None:
        if not self._flush_planned and self._queue:
            self._flush_planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._paused or self.is_closing or not self._transport or not self._queue:
            return
        self._transport.write(b"".join([item.framed for item in self._queue]))
        self._queue.clear()
        self._queue_bytes = 0

    def _drop_gossip(self) -> None:
        """Make room by dropping the oldest gossip until half of the bound is used, so that this work is rare."""
        excess = self._queue_bytes - OUTGOING_BYTES_MAX // 2
        kept: deque[_Outgoing] = deque()
        for item in self._queue:
            if item.droppable and excess > 0:
                excess -= len(item.framed)
                self._queue_bytes -= len(item.framed)
            else:
                kept.append(item)
        self._queue = kept
        if self._queue_bytes > OUTGOING_BYTES_MAX:
            self.cut("peer-slow", f"{self._queue_bytes} bytes of consensus messages wait for it")
