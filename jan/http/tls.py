"""Loads TLS certificates from files, with one line about what is wrong with which file."""

import ssl
from pathlib import Path

from jan.errors import ConfigurationError
from jan.settings.server import TlsSettings


def load_context(settings: TlsSettings) -> ssl.SSLContext:
    """Make a server's context with TLS 1.2 or newer. Raises ConfigurationError that names the file and the
    reason."""
    for name in ("certificate", "key", "client_ca"):
        _check_readable(name, getattr(settings, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # An empty password, because asking for one on a terminal would block an unattended start.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        files = f"certificate {settings.certificate} with key {settings.key}"
        raise ConfigurationError(f"server.tls: Can't use {files}: {_reason(error)}.") from error
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            message = f"server.tls.client_ca: Can't use {settings.client_ca}: {_reason(error)}."
            raise ConfigurationError(message) from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(name: str, file: str | None) -> None:
    if file is None:
        return
    try:
        with Path(file).open("rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"server.tls.{name}: Can't read {file}: {reason}.") from error


def _reason(error: Exception) -> str:
    known = getattr(error, "reason", None)
    if known == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return str(known or error or "not valid PEM").lower().replace("_", " ") + "; allowed: PEM without a password"
