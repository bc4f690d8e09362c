"""TLS by configuration, with certificates made here."""

import os
import shutil
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from support import slow_loading
from support.certificates import write_certificate
from support.server import ECHO_CONFIG, ServerProcess, start_jan

from jan.application import Server
from jan.errors import ConfigurationError
from jan.settings.load import load_settings


def configure(folder: Path, more: str = "") -> Path:
    config = folder / "jan.yaml"
    tls = f"tls: {{certificate: {folder}/server.pem, key: {folder}/server.key{more}}}"
    config.write_text(ECHO_CONFIG.replace("keepalive_seconds: 0.2", f"keepalive_seconds: 0.2, {tls}"))
    return config


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[ServerProcess]:
    write_certificate(tmp_path, "first")
    server = ServerProcess(configure(tmp_path))
    yield server
    server.kill_if_running()


def connect_tls(server: ServerProcess, **options: ssl.TLSVersion) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for name, value in options.items():
        setattr(context, name, value)
    where = urlsplit(server.url)
    return context.wrap_socket(socket.create_connection((where.hostname, where.port), timeout=30))


def name_shown(connection: ssl.SSLSocket) -> str:
    shown = connection.getpeercert(binary_form=True)
    assert shown is not None
    return str(x509.load_der_x509_certificate(shown).subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def wait_for_log(server: ServerProcess, event: str) -> None:
    for _ in range(600):
        if any(entry["event"].startswith(event) for entry in server.log):
            return
        time.sleep(0.05)
    raise AssertionError(f"no line {event!r} in the log")


def test_answers_come_over_tls(secure: ServerProcess, tmp_path: Path) -> None:
    """The banner says https, the certificate is the configured one, browsers are told to stay with TLS; plain
    HTTP on the port gets nothing and hurts nobody."""
    assert secure.url.startswith("https://")
    verify = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    with httpx.Client(base_url=secure.url, verify=verify, timeout=60, trust_env=False) as client:
        answer = client.get("/health")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        with pytest.raises(httpx.TransportError):
            httpx.get(secure.url.replace("https", "http") + "/health", timeout=60, trust_env=False)
        assert client.get("/health").status_code == 200
    with connect_tls(secure) as connection:
        assert connection.version() in ("TLSv1.2", "TLSv1.3")
    assert secure.stop() == 0
    assert secure.errors() == []


def test_without_tls_nothing_is_promised(echo: httpx.Client) -> None:
    """A plain server does not tell browsers to come back over TLS."""
    assert "strict-transport-security" not in echo.get("/health").headers


def test_a_hangup_ends_no_server(tmp_path: Path) -> None:
    """SIGHUP is an order to read again; a server that has nothing to read again goes on."""
    config = tmp_path / "jan.yaml"
    config.write_text(ECHO_CONFIG)
    server = ServerProcess(config)
    try:
        server.signal(signal.SIGHUP)
        wait_for_log(server, "nothing to read again")
        assert httpx.get(f"{server.url}/health").status_code == 200
        assert server.stop() == 0
    finally:
        server.kill_if_running()


@pytest.mark.parametrize("loops", [1, 2])
def test_a_hangup_while_a_model_loads_ends_no_server(tmp_path: Path, loops: int) -> None:
    """The order may come while a large model is loaded, which takes minutes."""
    shutil.copy(slow_loading.__file__, tmp_path)
    gate, config = tmp_path / "gate", tmp_path / "jan.yaml"
    model = f"{{id: m, engine: slow_loading.SlowLoadingBackend, isolation: process, options: {{gate: {gate}}}}}"
    config.write_text(f"extends: default\nserver: {{workers: {loops}}}\nmodels: [{model}]\n")
    server = start_jan(["serve", "--config", str(config), "--port", "0"], tmp_path, os.environ)
    assert server.stdout is not None
    assert server.stderr is not None
    try:
        while "loading m" not in (line := server.stderr.readline()):
            assert line
        os.kill(server.pid, signal.SIGHUP)
        gate.touch()
        assert "is ready" in server.stdout.readline()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
        server.stderr.close()


def test_certificates_are_reloaded(secure: ServerProcess, tmp_path: Path) -> None:
    """After SIGHUP new connections get the new certificate and those there are go on; a broken file is an
    error in the log and changes nothing."""
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect_tls(secure) as kept:
        assert name_shown(kept) == "first"
        write_certificate(tmp_path, "second")
        secure.signal(signal.SIGHUP)
        wait_for_log(secure, "certificate reloaded")
        with connect_tls(secure) as connection:
            assert name_shown(connection) == "second"
        (tmp_path / "server.pem").write_text("broken")
        secure.signal(signal.SIGHUP)
        wait_for_log(secure, "certificate not reloaded")
        with connect_tls(secure) as connection:
            assert name_shown(connection) == "second"
        kept.sendall(request)
        assert kept.recv(4096).startswith(b"HTTP/1.1 200")
    [error] = secure.errors()
    assert "server.pem" in error["reason"]
    assert secure.stop() == 0


def test_client_certificates(tmp_path: Path) -> None:
    """With client_ca, only who shows a certificate of it is served."""
    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "client", "client")
    server = ServerProcess(configure(tmp_path, f", client_ca: {tmp_path}/client.pem"))
    try:
        verify = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{server.url}/health", verify=verify, timeout=60, trust_env=False)
        verify.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
        assert httpx.get(f"{server.url}/health", verify=verify, timeout=60, trust_env=False).status_code == 200
    finally:
        server.kill_if_running()


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("server.pem", None, "No such file"),
        ("server.key", None, "No such file"),
        ("server.pem", "broken", "PEM"),
        ("server.key", "broken", "PEM"),
        ("server.key", "another's", "the key does not belong to the certificate"),
    ],
)
def test_mistakes_name_the_file(tmp_path: Path, file: str, content: str | None, told: str) -> None:
    """A server does not start with files that don't work, and says which and why."""
    write_certificate(tmp_path, "server")
    write_certificate(tmp_path, "other", "other")
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text((tmp_path / "other.key").read_text() if "another" in content else content)
    settings = load_settings(configure(tmp_path), data=str(tmp_path))
    with pytest.raises(ConfigurationError, match=told) as caught:
        Server(settings, show_late_key=print)
    assert file in caught.value.message
