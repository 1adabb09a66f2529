"""Connections to the other members: TCP with mutual TLS 1.3, one connection per pair, dialled again when lost.

The peer's identity is the key of its certificate, looked up in the validator set. Both members of a pair may dial (one
may sit behind a firewall); of two connections both keep the one that the member with the smaller name dialled.
"""

import asyncio
import os
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from ledger.errors import ClientError
from node.core.complaints import Complaints
from node.network.framing import frame
from node.network.peer_link import PROTOCOL_VERSION, Hello, PeerLink

DIAL_DELAY_MIN_S = 0.05
DIAL_DELAY_MAX_S = 2.0
"""A member that comes back is found again within two seconds."""
HANDSHAKE_TIMEOUT_S = 5.0
"""TCP connection to finished TLS handshake."""
UNKNOWN_MAX = 128
"""Accepted connections that have not said hello yet. Known ones need no bound: there is one per member."""
UNKNOWN_PER_ADDRESS_MAX = 16
"""The same from one address, so that one stranger cannot keep members out. Several members may share an address."""
_BACKLOG = 128


class PeerEvents(Protocol):
    """What the network tells the core."""

    def peer_up(self, peer: str) -> None:
        """A connection to this member is ready, perhaps in place of another: what was sent on that one may be lost."""

    def peer_down(self, peer: str) -> None:
        """There is no connection to this member any more."""

    def message(self, peer: str, payload: bytes) -> None:
        """A frame from this member."""


class PeerNetwork:
    """All connections of one node."""

    def __init__(
        self,
        company: str,
        chain_id: bytes,
        identify: Callable[[bytes], str | None],
        contexts: tuple[ssl.SSLContext, ssl.SSLContext],
        events: PeerEvents,
        complaints: Complaints,
        believes_names: bool = False,
    ) -> None:
        """`contexts` are those for accepted and for dialled connections; `identify` maps a TLS key to a member of the
        present set; `believes_names` is for a node that does not know that set yet: it takes whoever answers where it
        dials with a certificate of the consortium's authority in that company's name.
        """
        self.hello = Hello(PROTOCOL_VERSION, chain_id, company, os.urandom(8))
        self.identify = identify
        self.believes_names = believes_names
        self._company = company
        self._server_context, self._client_context = contexts
        self._events = events
        self._complaints = complaints
        self._links: dict[str, PeerLink] = {}
        self._unknown: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._dialling: dict[str, tuple[tuple[str, int], asyncio.Task[None]]] = {}
        """Company -> its address, and the task that dials it."""
        self._listener: socket.socket | None = None

    @property
    def connected(self) -> list[str]:
        """Members with a ready connection, sorted."""
        return sorted(self._links)

    def start(self, listen: tuple[str, int]) -> None:
        """Listen. Raises ClientError `p2p-listen`."""
        try:
            self._listener = socket.create_server(listen, backlog=_BACKLOG)
        except OSError as error:
            raise ClientError("p2p-listen", f"p2p.listen = {listen[0]}:{listen[1]}: {error}") from error
        self._listener.setblocking(False)
        self._spawn(self._accept(self._listener))

    def dial(self, addresses: Mapping[str, tuple[str, int]]) -> None:
        """Dial these members from now on, and no others. Whoever is dialled already goes on being so."""
        for company, (address, task) in list(self._dialling.items()):
            if addresses.get(company) != address:
                task.cancel()
                del self._dialling[company]
        for company, address in addresses.items():
            if company != self._company and company not in self._dialling:
                self._dialling[company] = address, self._spawn(self._keep_dialling(company, address))

    async def stop(self) -> None:
        """Stop dialling and listening, and close all connections after what is queued is written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener:
            self._listener.close()
        for link in list(self._links.values()):
            link.close()

    def send(self, peers: Sequence[str], payload: bytes, *, droppable: bool) -> None:
        """Send to these members, to all if none is named. The frame is made once for all of them."""
        framed = frame(payload)
        for peer in peers or list(self._links):
            link = self._links.get(peer)
            if link:
                link.send(framed, droppable)

    def cut(self, peer: str) -> None:
        """End the connection to a member that broke a rule. It may come back."""
        link = self._links.get(peer)
        if link:
            link.cut()

    def cut_strangers(self) -> None:
        """End the connections of companies that have left, or whose node has another key now."""
        for link in list(self._links.values()):
            if self.identify(link.node_key) != link.company:
                link.cut("peer-left", "the company is no longer a member, or its node has another key now")

    def handled(self, peer: str) -> None:
        """The core has taken up everything that came from this member: read on if reading was paused."""
        link = self._links.get(peer)
        if link:
            link.handled()

    # ── owner of the links ────────────────────────────────────────────────────────────────────────────────────────────

    def ready(self, link: PeerLink) -> None:
        """A link has said hello: keep it or the one that is already there."""
        present = self._links.get(link.company)
        if present and not self._replaces(link, present):
            link.close()
            return
        self._links[link.company] = link
        if present:
            present.close()
        self._events.peer_up(link.company)

    def received(self, link: PeerLink, payload: bytes) -> None:
        """A frame came."""
        self._events.message(link.company, payload)

    def lost(self, link: PeerLink, code: str, reason: str) -> None:
        """A link is over."""
        if code:
            self._complaints.about(link.company or _host(link.address), code, reason)
        if self._links.get(link.company) is link:
            del self._links[link.company]
            self._events.peer_down(link.company)

    def _replaces(self, link: PeerLink, present: PeerLink) -> bool:
        """Whether a new link takes the place of the present one. Both sides come to the same answer, whichever link
        they see first.
        """
        if link.instance != present.instance or present.is_closing:
            return True  # the peer was started again; the old connection is dead, even where nobody noticed yet
        if (link.dialled is None) == (present.dialled is None):
            return True  # dialled twice by the same side, which has given the first one up
        dialled_by = self._company if link.dialled else link.company
        return dialled_by == min(self._company, link.company)

    # ── accepting and dialling ────────────────────────────────────────────────────────────────────────────────────────

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors, or the peer is gone already
                self._complaints.about("listener", "accept-failed", str(error))
                await asyncio.sleep(DIAL_DELAY_MIN_S)
                continue
            host = address[0]
            if self._unknown[host] >= UNKNOWN_PER_ADDRESS_MAX or self._unknown.total() >= UNKNOWN_MAX:
                connection.close()
                self._complaints.about(host, "too-many-connections", "too many connections that have not said hello")
                continue
            self._unknown[host] += 1
            self._spawn(self._welcome(connection, host)).add_done_callback(_cost_the_connection)

    async def _welcome(self, connection: socket.socket, host: str) -> None:
        """TLS handshake and hello of an accepted connection; afterwards it is known, or gone."""
        link = PeerLink(self, None)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(_same, link),
                connection,
                ssl=self._server_context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )
            await link.acquainted
        except OSError as error:
            # Not TLS at all, another version, no certificate, another consortium's, or too slow.
            self._complaints.about(host, "tls-refused", str(error))
        finally:
            self._unknown -= Counter({host: 1})

    async def _keep_dialling(self, company: str, address: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        delay_s = DIAL_DELAY_MIN_S
        while True:
            present = self._links.get(company)
            if present:
                await asyncio.wait([present.closed])
                delay_s = DIAL_DELAY_MIN_S
            else:
                link = PeerLink(self, company)
                try:
                    # Of both, so that a cut is over when it is over: TCP alone tries ever less often, for two minutes.
                    async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                        await loop.create_connection(partial(_same, link), *address, ssl=self._client_context)
                    await link.acquainted
                except ssl.SSLError as error:
                    self._complaints.about(company, "tls-refused", str(error))
                except OSError:
                    pass  # not there: the usual case while that node is down; `connected` in the status shows it
            if company not in self._links:
                await asyncio.sleep(delay_s * random.uniform(0.5, 1))
                delay_s = min(2 * delay_s, DIAL_DELAY_MAX_S)


def _same(link: PeerLink) -> PeerLink:
    """Protocol factory. uvloop returns its own protocol from `connect_accepted_socket`, so the link is made before."""
    return link


def _cost_the_connection(welcome: asyncio.Task[None]) -> None:
    """Have an error that a stranger provoked logged as the connection's: it must never stop the process."""
    error = None if welcome.cancelled() else welcome.exception()
    if error:
        context = {"message": "an accepted connection failed", "exception": error, "transport": None}
        welcome.get_loop().call_exception_handler(context)


def _host(address: str) -> str:
    return address.rpartition(":")[0] or "unknown"
