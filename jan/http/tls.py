"""TLS from files: a context, or one line about what is wrong with which file."""

import ssl
from pathlib import Path

from jan.errors import ConfigurationError
from jan.settings.server import TlsSettings


def load_context(settings: TlsSettings) -> ssl.SSLContext:
    """A server's context, TLS 1.2 at least; raises ConfigurationError that names the file and the reason."""
    for name in ("certificate", "key", "client_ca"):
        _check_readable(name, getattr(settings, name))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # The password is never asked for on a terminal, which would stop a start without one.
        context.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        both = f"server.tls: certificate {settings.certificate} with key {settings.key}"
        raise ConfigurationError(f"{both}: {_reason(error)}") from error
    if settings.client_ca is not None:
        try:
            context.load_verify_locations(settings.client_ca)
        except ssl.SSLError as error:
            raise ConfigurationError(f"server.tls.client_ca: {settings.client_ca}: {_reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _check_readable(name: str, file: str | None) -> None:
    if file is None:
        return
    try:
        with Path(file).open("rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"server.tls.{name}: {file}: {error.strerror}") from error


def _reason(error: Exception) -> str:
    known = getattr(error, "reason", None)
    if known == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return str(known or error or "not valid PEM").lower().replace("_", " ") + "; PEM without a password is needed"
