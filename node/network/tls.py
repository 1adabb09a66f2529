"""Certificates of the consortium and the TLS contexts of its nodes.

The consortium's authority (Ed25519) signs one certificate per node (Ed25519, common name = the company's English name).
TLS 1.3 only, both sides show a certificate, no other authority is trusted. The authority opens the door; who somebody
*is* follows from the key in the certificate, looked up in the validator set that the ledger agrees on. So a stolen
authority makes connections, never votes or identities. A node that joins knows the ledger's members only later: until
then it takes whom it dialled by the certificate's common name, and proves all that it is told.

Another authority stands behind the MQTT broker: it signs the broker's, the gateways' and the piles' certificates. There
the common name is the identity, and a list of revoked certificates ends it (deploy/mosquitto).
"""

import ssl
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
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
    certificate = _certificate(name, name, key.public_key(), key)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem


def make_node_certificate(
    company: str, authority_pem: bytes, authority_key_pem: bytes, passphrase: bytes
) -> tuple[bytes, bytes]:
    """(certificate PEM, key PEM) of a company's node with a new key, encrypted under the node's passphrase. `node_key`
    tells the key that the validator set must name.
    """
    return make_certificate(company, authority_pem, authority_key_pem, passphrase)


def make_certificate(
    common_name: str,
    authority_pem: bytes,
    authority_key_pem: bytes,
    passphrase: bytes = b"",
    hosts: Sequence[str] = (),
) -> tuple[bytes, bytes]:
    """(certificate PEM, key PEM) of a new key, encrypted if there is a passphrase. A server names its `hosts`, names or
    addresses.
    """
    signer = _authority_key(authority_key_pem)
    key = Ed25519PrivateKey.generate()
    certificate = _certificate(_name(common_name), _subject(authority_pem), key.public_key(), signer, hosts=hosts)
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return certificate.public_bytes(Encoding.PEM), pem


def make_revocation_list(authority_pem: bytes, authority_key_pem: bytes, revoked: Iterable[bytes] = ()) -> bytes:
    """The authority's list (PEM) of these certificates (PEM): whoever reads it lets none of them in."""
    builder = x509.CertificateRevocationListBuilder(_subject(authority_pem), _NOT_BEFORE, _NOT_AFTER)
    for pem in revoked:
        serial = x509.load_pem_x509_certificate(pem).serial_number
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(_NOT_BEFORE).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(_authority_key(authority_key_pem), algorithm=None).public_bytes(Encoding.PEM)


def node_key(certificate_pem: bytes) -> bytes:
    """Raw 32-byte Ed25519 key of a node's certificate in PEM."""
    return peer_key(x509.load_pem_x509_certificate(certificate_pem).public_bytes(Encoding.DER))


def peer_key(certificate_der: bytes) -> bytes:
    """Raw 32-byte Ed25519 key of a peer's certificate in DER. Raises PeerError `certificate-key` if it cannot be read
    or holds another kind of key.
    """
    with _unreadable_is_said():
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    if not isinstance(key, Ed25519PublicKey):
        raise PeerError("certificate-key", "a node's certificate must hold an Ed25519 key")
    return key.public_bytes_raw()


def peer_name(certificate_der: bytes) -> str:
    """Common name of a peer's certificate in DER, empty if it has not exactly one. Raises PeerError `certificate-key`
    if it cannot be read.
    """
    with _unreadable_is_said():
        names = x509.load_der_x509_certificate(certificate_der).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""


@contextmanager
def _unreadable_is_said() -> Iterator[None]:
    try:
        yield
    # The last three are no ValueErrors; a TypeError is a name as a string of bits.
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm, TypeError) as error:
        raise PeerError("certificate-key", f"the certificate cannot be read: {error}") from error


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


def broker_context(authority: Path, certificate: Path | None, key: Path | None, passphrase: bytes) -> ssl.SSLContext:
    """Context of a client of the MQTT broker, which is known by its host name; with a certificate where the broker asks
    for one, in one file with its key if `key` is None. Raises ClientError `tls-files` as `server_context` does.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # modems of piles know no newer one
    _load(context, authority, certificate, key or certificate, passphrase)
    return context


def _context(protocol: int, authority: Path, certificate: Path, key: Path, passphrase: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the key in the certificate is the identity; addresses may change
    context.verify_mode = ssl.CERT_REQUIRED
    _load(context, authority, certificate, key, passphrase)
    return context


def _load(
    context: ssl.SSLContext, authority: Path, certificate: Path | None, key: Path | None, passphrase: bytes
) -> None:
    context.options |= ssl.OP_NO_COMPRESSION  # CRIME, CVE-2012-4929
    try:
        context.load_verify_locations(authority)  # and no other: the system's authorities are not asked
        if certificate and key:
            if key.stat().st_mode & 0o077:
                message = f"{key} can be read by others; make it its owner's alone: chmod 600 {key}"
                raise ClientError("tls-files", message)
            context.load_cert_chain(certificate, key, password=passphrase)
    except (OSError, ssl.SSLError) as error:
        raise ClientError("tls-files", f"{authority}, {certificate}, {key}: {error}") from error


def sign_with_node_key(key_pem: bytes, passphrase: bytes, digest: bytes) -> bytes:
    """Signature of a node's TLS key: proves on chain that a company holds the key that it names. Raises ClientError
    `tls-files`.
    """
    try:
        key = load_pem_private_key(key_pem, passphrase)
    except ValueError as error:
        raise ClientError("tls-files", f"the node's key cannot be opened: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ClientError("tls-files", "the node's key must be Ed25519")
    return key.sign(digest)


def _authority_key(pem: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(pem, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ClientError("authority-key", "the authority's key must be Ed25519")
    return key


def _subject(pem: bytes) -> x509.Name:
    return x509.load_pem_x509_certificate(pem).subject


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: Ed25519PublicKey, signer: Ed25519PrivateKey, hosts: Sequence[str] = ()
) -> x509.Certificate:
    is_authority = subject == issuer
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
    if hosts:
        names = x509.SubjectAlternativeName(map(_alternative, hosts))
        builder = builder.add_extension(names, critical=False)
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
