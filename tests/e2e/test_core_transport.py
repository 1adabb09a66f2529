"""The network of nodes over real sockets and TLS: one connection per pair, strangers and broken frames cut off, slow
peers bounded.
"""

import asyncio
import socket
import ssl
import struct
from pathlib import Path

import pytest

from ledger.codec import encode
from node.core.complaints import Complaints
from node.network import peer_link, transport
from node.network.framing import frame
from node.network.peer_link import PROTOCOL_VERSION, Hello
from node.network.tls import client_context, make_authority, make_node_certificate, node_key, server_context
from node.network.transport import PeerNetwork
from node.testnet.make import free_ports
from tests.chaos.proxy import Proxy

CHAIN = bytes(31) + b"\1"


class Log:
    """A logger that remembers."""

    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append(fields)


class Node:
    """A network with an ear."""

    def __init__(self, consortium, name, chain=CHAIN, keys=None):
        self.name = name
        self.events = []
        self.messages = []
        self.log = Log()
        files = consortium.files(name)
        self.network = PeerNetwork(
            name,
            chain,
            (consortium.keys if keys is None else keys).get,
            (server_context(*files), client_context(*files)),
            self,
            Complaints(self.log),
            believes_names=keys is not None,
        )

    def peer_up(self, peer):
        self.events.append(("up", peer))

    def peer_down(self, peer):
        self.events.append(("down", peer))

    def message(self, peer, payload):
        self.messages.append((peer, payload))

    @property
    def codes(self):
        return [line["code"] for line in self.log.lines]


class Consortium:
    """An authority and the certificates of four members, in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.authority, self.authority_key = make_authority("test")
        self.keys = {}
        for name in ("a", "b", "c", "d"):
            self.keys[self.add(name, self.authority, self.authority_key)] = name
        other = make_authority("other")
        self.add("foreign", *other)
        self.add("unknown", self.authority, self.authority_key)
        (folder / "ca.pem").write_bytes(self.authority)

    def add(self, name, authority, authority_key):
        certificate, key = make_node_certificate(name, authority, authority_key, b"secret")
        (self.folder / f"{name}.pem").write_bytes(certificate)
        (self.folder / f"{name}.key").write_bytes(key)
        (self.folder / f"{name}.key").chmod(0o600)
        return node_key(certificate)

    def files(self, name) -> tuple[Path, Path, Path, bytes]:
        """What a TLS context is made of."""
        return self.folder / "ca.pem", self.folder / f"{name}.pem", self.folder / f"{name}.key", b"secret"


@pytest.fixture(scope="module")
def consortium(tmp_path_factory):
    """Certificates are made once."""
    return Consortium(tmp_path_factory.mktemp("tls"))


async def until(condition):
    """Wait for something on the other side of a socket."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the other side of a socket has no event to wait for
            await asyncio.sleep(0.005)


async def start(consortium, *names, dialling=("a", "b", "c")):
    """Start nodes of which some dial all others."""
    nodes = [Node(consortium, name) for name in names]
    ports = free_ports(len(names))
    addresses = {node.name: ("127.0.0.1", port) for node, port in zip(nodes, ports, strict=True)}
    for node in nodes:
        node.network.start(addresses[node.name])
        node.network.dial(addresses if node.name in dialling else {})
    return nodes, addresses


async def attack(address, consortium, name, data):
    """Connect with a member's certificate and send bytes; returns what came back until the end."""
    reader, writer = await asyncio.open_connection(*address, ssl=client_context(*consortium.files(name)))
    writer.write(data)
    try:
        return await reader.read()
    except OSError:
        return b""
    finally:
        writer.close()


async def test_F13_a_joiner_knows_whom_it_dialled_by_the_certificates_name_and_lets_no_other_stranger_in(consortium):
    joiner = Node(consortium, "a", keys={})
    members, addresses = await start(consortium, "b", "c", "d", dialling=("d",))
    addresses = {**addresses, "a": ("127.0.0.1", free_ports(1)[0])}
    joiner.network.start(addresses["a"])
    try:
        joiner.network.dial({"b": addresses["b"]})
        await until(lambda: joiner.network.connected == ["b"])
        members[2].network.dial(addresses)  # d dials the joiner, which does not know its key
        joiner.network.dial({"c": addresses["b"]})  # b answers where c is dialled
        await until(lambda: {"peer-unknown", "peer-other"} <= set(joiner.codes))
        assert joiner.network.connected == ["b"]
    finally:
        for node in (joiner, *members):
            await node.network.stop()


async def test_F02_members_that_all_dial_keep_one_connection_per_pair(consortium):
    nodes, _ = await start(consortium, "a", "b", "c")
    await until(lambda: all(len(node.network.connected) == 2 for node in nodes))
    await asyncio.sleep(0.3)  # second connections, if any, are settled by now
    for node in nodes:
        assert len(node.network.connected) == 2
        node.network.send((), b"from " + node.name.encode(), droppable=False)
    await until(lambda: all(len(node.messages) == 2 for node in nodes))
    assert sorted(nodes[0].messages) == [("b", b"from b"), ("c", b"from c")]
    assert [node.codes for node in nodes] == [[], [], []]
    for node in nodes:
        await node.network.stop()


async def test_F02_a_member_that_comes_back_is_found_again(consortium):
    (a, b), addresses = await start(consortium, "a", "b")
    await until(lambda: a.network.connected == ["b"])
    await b.network.stop()
    await until(lambda: a.events[-1] == ("down", "b"))
    again = Node(consortium, "b")
    again.network.start(addresses["b"])  # only a dials
    await until(lambda: a.network.connected == ["b"] and again.network.connected == ["a"])
    await a.network.stop()
    await again.network.stop()


async def test_F02_large_messages_arrive_whole_and_in_order(consortium):
    (a, b), _ = await start(consortium, "a", "b", dialling="a")
    await until(lambda: a.network.connected == ["b"])
    sent = [bytes([n]) * (3_000_000 if n % 7 == 0 else 100) for n in range(40)]
    for payload in sent:
        a.network.send(("b",), payload, droppable=False)
        await asyncio.sleep(0.02)
        b.network.handled("a")
    await until(lambda: len(b.messages) == len(sent) or b.network.handled("a"))
    assert [payload for _, payload in b.messages] == sent
    await a.network.stop()
    await b.network.stop()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(encode(Hello(PROTOCOL_VERSION, bytes(32), "b", b""))), "peer-chain"),
        (frame(encode(Hello(99, CHAIN, "b", b""))), "peer-protocol"),
        (frame(encode(Hello(PROTOCOL_VERSION, CHAIN, "c", b""))), "peer-name"),
        (frame(b"\xc1"), "encoding-malformed"),
        (struct.pack(">I", 600), "frame-too-large"),
        (bytes(4), "frame-empty"),
        (frame(encode(Hello(PROTOCOL_VERSION, CHAIN, "b", b""))) + struct.pack(">I", 1 << 30), "frame-too-large"),
    ],
)
async def test_F02_bad_frames_of_a_member_are_cut_off_and_logged_once_with_its_name(consortium, data, code):
    a = Node(consortium, "a")
    address = ("127.0.0.1", free_ports(1)[0])
    a.network.start(address)
    for _ in range(3):
        await asyncio.wait_for(attack(address, consortium, "b", data), 3)
    await until(lambda: a.log.lines)
    assert [(line["peer"], line["code"]) for line in a.log.lines] == [("b", code)]
    assert a.messages == []
    await a.network.stop()


async def test_F02_strangers_on_the_port_are_cut_off_and_logged_once(consortium):
    a = Node(consortium, "a")
    address = ("127.0.0.1", free_ports(1)[0])
    a.network.start(address)
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.check_hostname, plain.verify_mode = False, ssl.CERT_NONE
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode, old.maximum_version = False, ssl.CERT_NONE, ssl.TLSVersion.TLSv1_2
    for context in (
        None,
        plain,
        old,
        client_context(consortium.folder / "ca.pem", *consortium.files("foreign")[1:]),
    ):
        for _ in range(2):
            try:
                reader, writer = await asyncio.open_connection(*address, ssl=context)
                writer.write(b"GET / HTTP/1.1\r\n\r\n")
                assert await asyncio.wait_for(reader.read(), 3) == b""
                writer.close()
            except (OSError, ssl.SSLError):
                pass
    assert await asyncio.wait_for(attack(address, consortium, "unknown", b""), 3) == b""
    await until(lambda: len(a.log.lines) == 2)
    assert sorted(a.codes) == ["peer-unknown", "tls-refused"]
    assert {line["peer"] for line in a.log.lines} == {"127.0.0.1"}
    assert a.events == []
    await a.network.stop()


async def test_F02_who_says_nothing_is_cut_off(consortium, monkeypatch):
    monkeypatch.setattr(peer_link, "HELLO_TIMEOUT_S", 0.1)
    a = Node(consortium, "a")
    address = ("127.0.0.1", free_ports(1)[0])
    a.network.start(address)
    await asyncio.wait_for(attack(address, consortium, "b", b""), 3)
    assert a.codes == ["peer-silent"]
    await a.network.stop()


async def test_F02_one_address_cannot_take_all_places(consortium):
    a, b = Node(consortium, "a"), Node(consortium, "b")
    address = ("127.0.0.1", free_ports(1)[0])
    a.network.start(address)
    idle = [socket.create_connection(address) for _ in range(20)]
    await until(lambda: a.codes == ["too-many-connections"])
    for connection in idle:
        connection.close()
    b.network.start(("127.0.0.1", free_ports(1)[0]))
    b.network.dial({"a": address})
    await until(lambda: a.network.connected == ["b"])
    await a.network.stop()
    await b.network.stop()


async def test_F02_a_slow_peer_loses_gossip_first_and_then_the_connection(consortium, monkeypatch):
    monkeypatch.setattr(peer_link, "OUTGOING_BYTES_MAX", 4_000_000)
    (a, b), _ = await start(consortium, "a", "b", dialling="a")
    await until(lambda: a.network.connected == ["b"] and b.network.connected == ["a"])
    b.network._links["a"]._transport.pause_reading()
    gossip, vote = b"g" * 100_000, b"vote"
    for _ in range(400):  # 40 MB: more than sockets and queue hold
        a.network.send(("b",), gossip, droppable=True)
        await asyncio.sleep(0)
    a.network.send(("b",), vote, droppable=False)
    assert a.network._links["b"]._queue_bytes <= 4_000_000
    b.network._links["a"]._transport.resume_reading()
    await until(lambda: (b.messages and b.messages[-1][1] == vote) or b.network.handled("a"))
    assert len(b.messages) < 400
    b.network._links["a"]._transport.pause_reading()
    for _ in range(200):
        a.network.send(("b",), gossip, droppable=False)
        await asyncio.sleep(0)
    await until(lambda: "peer-slow" in a.codes)
    await a.network.stop()
    await b.network.stop()


async def test_F02_a_flooding_peer_is_read_no_further_than_the_core_handles(consortium):
    (a, b), _ = await start(consortium, "a", "b", dialling="a")
    await until(lambda: a.network.connected == ["b"] and b.network.connected == ["a"])
    for n in range(20):
        a.network.send(("b",), bytes([n]) * 1_000_000, droppable=True)
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert peer_link.INCOMING_BYTES_MAX <= sum(len(payload) for _, payload in b.messages) < 12_000_000
    await until(lambda: b.network.handled("a") or len(b.messages) == 20)
    await a.network.stop()
    await b.network.stop()


async def test_F02_a_connection_that_something_between_forgot_is_noticed_by_its_silence_and_replaced(
    consortium, monkeypatch
):
    """Without a look at the clock `a` would keep its dead connection, and refuse the living one that `b` dials."""
    monkeypatch.setattr(peer_link, "SILENCE_CHECK_S", 0.1)
    nodes = [Node(consortium, name) for name in ("a", "b")]
    addresses = {name: ("127.0.0.1", port) for name, port in zip(("a", "b"), free_ports(2), strict=True)}

    async def talk():
        while True:
            for node in nodes:
                node.network.send((), b"from " + node.name.encode(), droppable=False)
            await asyncio.sleep(0.02)

    async with Proxy(addresses, seed=1) as proxy:
        for node in nodes:
            peers = {name: ("127.0.0.1", int(at.split(":")[1])) for name, at in proxy.addresses[node.name].items()}
            node.network.start(addresses[node.name])
            node.network.dial(peers)
        talking = asyncio.ensure_future(talk())
        await until(lambda: all(node.messages for node in nodes))
        await asyncio.sleep(1)  # ten checks: while they talk nobody is cut
        assert [node.codes for node in nodes] == [[], []]
        proxy.leave_half_open("b", "a")
        await until(lambda: ("down", "b") in nodes[0].events)
        for node in nodes:
            node.messages.clear()
        await until(lambda: all(node.messages for node in nodes))
        assert nodes[0].codes == ["peer-silent"]
        talking.cancel()
        for node in nodes:
            await node.network.stop()


async def test_F02_a_dial_into_the_void_is_given_up_and_tried_again(consortium, monkeypatch):
    """TCP alone would try less and less often: after an hour's cut, once in two minutes."""
    dials = []

    class Link(peer_link.PeerLink):
        def __init__(self, owner, dialled):
            dials.append(dialled)
            super().__init__(owner, dialled)

    monkeypatch.setattr(transport, "HANDSHAKE_TIMEOUT_S", 0.1)
    monkeypatch.setattr(transport, "PeerLink", Link)
    node = Node(consortium, "a")
    with socket.socket() as deaf, socket.socket() as first:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        first.connect(deaf.getsockname())  # its queue is full: the kernel answers no further one
        node.network.start(("127.0.0.1", free_ports(1)[0]))
        node.network.dial({"b": deaf.getsockname()})
        await until(lambda: len(dials) == 3)
        await node.network.stop()
