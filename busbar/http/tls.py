"""The listener's TLS: certificate, key and authorities from files, read again when they have changed.

A file that is being replaced is none yet: certificate and key are loaded as a pair into a context of their own, which
takes the place of the one before only when both are good. Connections keep the certificate that they began with.
"""

from __future__ import annotations

import logging
import os
import ssl
import time

from busbar.config.schema import TlsConfig

logger = logging.getLogger("busbar.tls")

LOOK_SECS = 1.0
"""How often the files are looked at, at most: when somebody connects. Reading them takes a millisecond."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}

_Stamps = tuple[tuple[int, int, int], ...]


class TlsUnusable(OSError):
    """The files cannot be used. The text names the key of the configuration and the file, and nothing of what is in
    it."""


class ServerContext(ssl.SSLContext):
    """What a server is given once; each connection gets the newest good certificate, as asyncio makes its TLS objects
    here."""

    _config: TlsConfig
    _current: ssl.SSLContext
    _stamps: _Stamps
    _look_at: float
    _complaint: str | None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        self._look()
        return self._current.wrap_bio(incoming, outgoing, server_side, server_hostname, session)

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECS
        try:
            stamps = _stamps(self._config)
            if stamps == self._stamps:
                return
            self._current, self._stamps = _load(self._config), stamps
        except TlsUnusable as error:
            if self._complaint != str(error):  # said once, however many connect meanwhile
                self._complaint = str(error)
                logger.warning("%s; the certificate from before is kept", error)
            return
        self._complaint = None
        logger.info("the certificate was read again")


def server_context(config: TlsConfig) -> ServerContext:
    """Raises `TlsUnusable`."""
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context._config = config
    context._stamps = _stamps(config)  # first: a change while they are read is then seen later
    context._current = _load(config)
    context._look_at = time.monotonic() + LOOK_SECS
    context._complaint = None
    return context


def _load(config: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[config.min_version]
    context.set_alpn_protocols(["http/1.1"])
    _holds("certificate", config.certificate, b"-----BEGIN CERTIFICATE-----", "certificate")
    _holds("key", config.key, b"PRIVATE KEY-----", "private key")
    try:
        context.load_cert_chain(config.certificate, config.key, password=_no_passphrase)
    except _Passphrase:
        raise TlsUnusable(f"tls.key: {config.key} wants a passphrase, and nobody is there to type it") from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsUnusable(f"tls.key: {config.key} is not the key of {config.certificate}") from None
        raise TlsUnusable(f"tls.certificate: {config.certificate} and {config.key} cannot be used") from None
    except OSError as error:
        raise TlsUnusable(f"tls.certificate: {config.certificate}: {error.strerror}") from None
    if config.client_ca is not None:
        _holds("client_ca", config.client_ca, b"-----BEGIN CERTIFICATE-----", "certificate")
        try:
            context.load_verify_locations(config.client_ca)
        except (ssl.SSLError, OSError):
            raise TlsUnusable(f"tls.client_ca: {config.client_ca} cannot be used") from None
    context.verify_mode = _VERIFY[config.client_certificates]
    return context


def _holds(key: str, path: str, mark: bytes, what: str) -> None:
    """OpenSSL's own words name neither the file nor what is wrong with it."""
    try:
        with open(path, "rb") as file:
            found = mark in file.read(1 << 20)
    except OSError as error:
        raise TlsUnusable(f"tls.{key}: {path}: {error.strerror}") from None
    if not found:
        raise TlsUnusable(f"tls.{key}: {path} holds no {what} in PEM")


def _stamps(config: TlsConfig) -> _Stamps:
    """What changes with each of the files, those behind symbolic links too (Kubernetes swaps a link)."""
    paths = [("certificate", config.certificate), ("key", config.key)]
    if config.client_ca is not None:
        paths.append(("client_ca", config.client_ca))
    stamps = []
    for key, path in paths:
        try:
            found = os.stat(path)
        except OSError as error:
            raise TlsUnusable(f"tls.{key}: {path}: {error.strerror}") from None
        stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


class _Passphrase(Exception):
    """The key is encrypted. OpenSSL would ask the terminal."""


def _no_passphrase() -> str:
    raise _Passphrase
