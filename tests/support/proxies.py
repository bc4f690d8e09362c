"""The reverse proxies that the documents recommend, as their packages have them, in processes of their own."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.patience import code_of, until

PROXIES = ("nginx", "haproxy", "caddy")
_STOP_SECONDS = 20


@contextmanager
def proxying(name: str, configuration: str, ports: Mapping[str, int], folder: Path) -> Iterator[None]:
    """Run a proxy until it is no longer needed; it listens on these ports. As root it runs under the account that
    its package made. Where it is missing the test is skipped, but not where everything is expected to be there."""
    program = _executable(name)
    with tempfile.TemporaryDirectory(prefix="jan-proxy-") as home, (folder / f"{name}.log").open("wb") as log:
        command, options = [program, *_arguments(name, configuration, folder, home)], dict[str, str]()
        Path(home).chmod(0o755)  # for the accounts of proxies
        if name == "caddy" and os.geteuid() == 0:  # the others take their accounts themselves
            shutil.chown(home, "caddy", "caddy")
            options = {"user": "caddy", "group": "caddy"}
        environ = {**os.environ, "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home}
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=home, env=environ, **options
        )
        assert process.stdin is not None
        process.stdin.write(configuration.encode() if name == "caddy" else b"")
        process.stdin.close()
        try:
            up = until(lambda: process.poll() is not None or all(map(_answers, ports.values())))
            assert up, "the proxy does not listen"
            assert process.poll() is None, (folder / f"{name}.log").read_text()
            yield
        finally:
            process.terminate()
            code_of(process, _STOP_SECONDS)


def _executable(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"CI has no {name}; .ci/run installs it")
    if found is None:
        pytest.skip(f"no {name} (on Debian: apt-get install {name})")
    return found


def _arguments(name: str, configuration: str, folder: Path, home: str) -> list[str]:
    """The arguments of a proxy that stays in the foreground. Caddy reads its configuration from standard input."""
    if name == "caddy":
        return ["run", "--adapter", "caddyfile", "--config", "-"]
    file = folder / f"{name}.conf"
    if name == "nginx":
        temporary = "".join(
            f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file.write_text(
            f"daemon off; pid {folder}/nginx.pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {temporary}\n{configuration}\n}}\n"
        )
        return ["-p", str(folder), "-c", str(file), "-e", "stderr"]
    account = "user haproxy\n    group haproxy" if os.geteuid() == 0 else ""
    file.write_text(f"global\n    {account}\n{configuration}")
    return ["-db", "-f", str(file)]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
