"""What is special about a testnet whose nodes run in containers of their own (`docker-compose.yml`): they find each
other by host names, and the broker knows everybody by certificate, as a broker in the field does.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from node.broker.broker import gateway_user, mosquitto_rules
from node.network.tls import make_authority, make_certificate, make_revocation_list

LISTEN = ("0.0.0.0:26656", "0.0.0.0:26657", "127.0.0.1:26660")
"""p2p, api and ops inside a container. Health and metrics are asked for from inside."""
BROKER_HOST = "broker"
BROKER = f"{BROKER_HOST}:8883"
DEVICES = "devices"
"""Folder of the piles' certificates."""


def addresses_of(company: str) -> tuple[str, str, str]:
    """p2p, api and ops of a company as others reach them. The p2p name exists on the members' network only, so that
    members never speak over the piles' network.
    """
    host = company.lower()
    return f"{host}-p2p:26656", f"{host}:26657", LISTEN[2]


def gateway_settings(company: str) -> dict[str, str]:
    """The section `mqtt` of a node with a gateway."""
    return {
        "broker": BROKER,
        "username": gateway_user(company),
        "ca": "config/mqtt_ca.pem",
        "certificate": "config/mqtt.pem",
        "key": "config/mqtt_key.pem",
    }


def write_certificates(
    root: Path, authorities: Path, chain_id: bytes, gateways: Mapping[str, Path], piles: Iterable[str]
) -> None:
    """Make an authority for everybody at the broker, kept in `authorities` for those that come later or are revoked,
    and what it signs: for the broker (with access rules), for each gateway in its node's `config` folder, where the
    passphrase lies too, and for each pile.
    """
    authority = make_authority("PileChain testnet devices")
    (authorities / "devices_ca.pem").write_bytes(authority[0])
    write_secret(authorities / "devices_ca_key.pem", authority[1])
    broker, devices = root / "broker", root / DEVICES
    for folder in (broker, devices):
        folder.mkdir(exist_ok=True)
    certificate, key = make_certificate(BROKER_HOST, *authority, hosts=(BROKER_HOST, "localhost"))
    (broker / "ca.crt").write_bytes(authority[0])
    (broker / "ca.crl").write_bytes(make_revocation_list(*authority))
    (broker / "server.crt").write_bytes(certificate)
    write_secret(broker / "server.key", key)
    write_secret(broker / "acl", "\n".join([*mosquitto_rules(chain_id, gateways), ""]).encode())
    for company, folder in gateways.items():
        certificate, key = make_certificate(
            gateway_user(company), *authority, passphrase=(folder / "passphrase").read_bytes()
        )
        (folder / "mqtt_ca.pem").write_bytes(authority[0])
        (folder / "mqtt.pem").write_bytes(certificate)
        write_secret(folder / "mqtt_key.pem", key)
    (devices / "ca.pem").write_bytes(authority[0])
    for pile in piles:
        write_secret(devices / f"{pile}.pem", b"".join(make_certificate(pile, *authority)))


def write_secret(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
