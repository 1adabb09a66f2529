"""Certificates of the consortium and the TLS contexts of its nodes.

The consortium's authority (Ed25519) signs one certificate per node (Ed25519, common name = the company's English name).
TLS 1.3 only, both sides show a certificate, no other authority is trusted. The authority opens the door; who somebody
*is* follows from the key in the certificate, looked up in the validator set that the ledger agrees on. So a stolen
authority makes connections, never votes or identities.
"""

import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ledger.errors import ClientError, PeerError

_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(2099, 12, 31, tzinfo=UTC)
"""Membership ends by a vote on the validator set. A date of expiry would only stop honest nodes whose operator forgot
it.
"""


def make_authority(consortium: str) -> tuple[bytes, bytes]:
    """(certificate PEM, key PEM) of a new certificate authority for the nodes of a consortium."""
    key = Ed25519PrivateKey.generate()
    name = _name(f"{consortium} authority")
    certificate = _certificate(name, name, key.public_key(), key, is_authority=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem


def make_node_certificate(
    company: str, authority_pem: bytes, authority_key_pem: bytes, passphrase: bytes
) -> tuple[bytes, bytes]:
    """(certificate PEM, key PEM) of a company's node with a new key, encrypted under the node's passphrase. `node_key`
    tells the key that the validator set must name.
    """
    authority = x509.load_pem_x509_certificate(authority_pem)
    signer = load_pem_private_key(authority_key_pem, password=None)
    if not isinstance(signer, Ed25519PrivateKey):
        raise ClientError("authority-key", "the authority's key must be Ed25519")
    key = Ed25519PrivateKey.generate()
    certificate = _certificate(_name(company), authority.subject, key.public_key(), signer, is_authority=False)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    return certificate.public_bytes(Encoding.PEM), pem


def node_key(certificate_pem: bytes) -> bytes:
    """Raw 32-byte Ed25519 key of a node's certificate in PEM."""
    return peer_key(x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER))


def peer_key(certificate_der: bytes) -> bytes:
    """Raw 32-byte Ed25519 key of a peer's certificate in DER. Raises PeerError `certificate-key` if it holds another
    kind of key.
    """
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise PeerError("certificate-key", "a node's certificate must hold an Ed25519 key")
    return key.public_bytes_raw()


def server_context(authority: Path, certificate: Path, key: Path, passphrase: bytes) -> ssl.SSLContext:
    """Context for accepted connections. Raises ClientError `tls-files` if a file is missing or does not fit the
    others, if the passphrase does not open the key, or if others than its owner may read that.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, authority, certificate, key, passphrase)
    context.num_tickets = 0  # a resumed session would skip the certificate; connections last for days anyway
    return context


def client_context(authority: Path, certificate: Path, key: Path, passphrase: bytes) -> ssl.SSLContext:
    """Context for dialled connections. Raises ClientError `tls-files` as `server_context` does."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, authority, certificate, key, passphrase)


def _context(protocol: int, authority: Path, certificate: Path, key: Path, passphrase: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the key in the certificate is the identity; addresses may change
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_COMPRESSION  # CRIME, CVE-2012-4929
    try:
        context.load_verify_locations(authority)  # and no other: the system's authorities are not asked
        if key.stat().st_mode & 0o077:
            raise ClientError("tls-files", f"{key} can be read by others; make it its owner's alone: chmod 600 {key}")
        context.load_cert_chain(certificate, key, password=passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ClientError("tls-files", f"{authority}, {certificate}, {key}: {error}") from error
    return context


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, signer: Ed25519PrivateKey, *, is_authority: bool
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(_key_usage(is_authority), critical=True)
    )
    if not is_authority:
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]  # a node dials and is dialled
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return builder.sign(signer, algorithm=None)


def _key_usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
