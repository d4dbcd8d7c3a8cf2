"""Certificates for domain mode: an authority of this machine's own, and the leaf that the front door shows.

The authority can vouch for the domain and for loopback only, so that trusting it opens nothing else even when its
key is stolen. All files are in one folder per domain:

* `ca.pem`      the authority's certificate: what browsers and the system are told to trust
* `ca.key`      its key
* `leaf.pem`    the leaf with its key and the authority behind it
* `bundle.pem`  public roots and the authority: for `SSL_CERT_FILE`, which replaces what a program trusts
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import ssl
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final, NamedTuple

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_log = logging.getLogger(__name__)

AUTHORITY_LIFE: Final = dt.timedelta(days=3650)
LEAF_LIFE: Final = dt.timedelta(days=365)
"""Some clients refuse leaves that are valid for more than 825 days."""
RENEW_BEFORE: Final = dt.timedelta(days=30)
CHECK_EVERY_S: Final = 6 * 3600.0
_CLOCK_SKEW: Final = dt.timedelta(days=1)
_SYSTEM_ROOTS: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class _Authority(NamedTuple):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class LocalTls:
    """The TLS side of domain mode. Makes what is missing in `folder` when it is created, and renews it.

    Raises OSError when the folder cannot be written. Does blocking work on files, some milliseconds of it.
    """

    def __init__(self, folder: Path, domain: str, *, now: dt.datetime | None = None) -> None:
        self._domain = domain.partition(":")[0].lower()
        self._folder = folder / self._domain
        self.authority = self._folder / "ca.pem"
        self.bundle = self._folder / "bundle.pem"
        self.leaf = self._folder / "leaf.pem"
        self.context = _server_context()
        """For the listener; a renewed leaf is shown to connections made from then on."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.renew(now)
        self.context.load_cert_chain(self.leaf)

    def renew(self, now: dt.datetime | None = None) -> bool:
        """Replace files that are missing, unreadable or near their end; return whether the leaf was one of them."""
        now = now or dt.datetime.now(dt.UTC)
        authority = self._load_authority(now) or self._make_authority(now)
        self._write_bundle(authority)
        if self._has_good_leaf(authority, now):
            return False
        _write(self.leaf, _make_leaf(authority, self._domain, now), mode=0o600)
        return True

    async def keep_fresh(self, *, every_s: float = CHECK_EVERY_S) -> None:
        """Renew for as long as the server runs."""
        while True:
            await asyncio.sleep(every_s)
            try:
                if await asyncio.to_thread(self.renew):
                    self.context.load_cert_chain(self.leaf)  # here: no handshake may see it half replaced
            except OSError:
                _log.exception("the certificates in %s could not be renewed", self._folder)

    def _load_authority(self, now: dt.datetime) -> _Authority | None:
        try:
            certificate = x509.load_pem_x509_certificate(self.authority.read_bytes())
            key = serialization.load_pem_private_key((self._folder / "ca.key").read_bytes(), None)
        except (FileNotFoundError, ValueError):
            return None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            return None
        return _Authority(certificate, key) if certificate.not_valid_after_utc - now > LEAF_LIFE else None

    def _make_authority(self, now: dt.datetime) -> _Authority:
        authority = _make_authority(self._domain, now)
        _write(self._folder / "ca.key", _pem_of_key(authority.key), mode=0o600)
        _write(self.authority, _pem(authority.certificate), mode=0o644)
        return authority

    def _has_good_leaf(self, authority: _Authority, now: dt.datetime) -> bool:
        try:
            data = self.leaf.read_bytes()
            leaf = x509.load_pem_x509_certificate(data)
            key = serialization.load_pem_private_key(data, None)
            leaf.verify_directly_issued_by(authority.certificate)
        except Exception:  # whatever is wrong with it, it is replaced
            return False
        return key.public_key() == leaf.public_key() and leaf.not_valid_after_utc - now >= RENEW_BEFORE

    def _write_bundle(self, authority: _Authority) -> None:
        data = find_public_roots(besides=self.bundle) + b"\n" + _pem(authority.certificate)
        if not self.bundle.exists() or self.bundle.read_bytes() != data:
            _write(self.bundle, data, mode=0o644)


def load_own(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the listener's context for certificates that were given; raises OSError or ssl.SSLError."""
    context = _server_context()
    context.load_cert_chain(certificate, key)
    return context


def find_public_roots(*, besides: Path) -> bytes:
    """Return the roots that programs here trust by default, as PEM: the system's if it has any, else Mozilla's.

    `besides` is the bundle of ours, which may be the default already.
    """
    default = ssl.get_default_verify_paths().cafile
    for name in (default, *_SYSTEM_ROOTS, certifi.where()):
        path = None if name is None else Path(name)
        if path is not None and path.is_file() and path.resolve() != besides.resolve():
            data = path.read_bytes()
            if b"BEGIN CERTIFICATE" in data:
                return data
    raise FileNotFoundError(certifi.where())


def _server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def _make_authority(domain: str, now: dt.datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"Sandlot for {domain} on this machine"[:64])
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _builder(name, name, key, now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(for_authority=True), critical=True)
        .add_extension(x509.NameConstraints(_permitted(domain), None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), critical=False)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _make_leaf(authority: _Authority, domain: str, now: dt.datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    identity = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    until = min(now + LEAF_LIFE, issuer.not_valid_after_utc)
    certificate = (
        _builder(_name(domain[:64]), issuer.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(for_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(domain)), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _pem(certificate) + _pem_of_key(key) + _pem(issuer)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, until: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _names(domain: str) -> list[x509.GeneralName]:
    return [
        x509.DNSName(domain),
        x509.DNSName(f"*.{domain}"),
        x509.DNSName("localhost"),
        x509.IPAddress(IPv4Address("127.0.0.1")),
        x509.IPAddress(IPv6Address("::1")),
    ]


def _permitted(domain: str) -> list[x509.GeneralName]:
    return [
        x509.DNSName(domain),
        x509.DNSName("localhost"),
        x509.IPAddress(IPv4Network("127.0.0.0/8")),
        x509.IPAddress(IPv6Network("::1/128")),
    ]


def _usage(*, for_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_authority,
        key_cert_sign=for_authority,
        crl_sign=for_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Sandlot"), x509.NameAttribute(NameOID.COMMON_NAME, text)]
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file as a whole; it never has a wider mode than `mode`."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
