"""A real OpenID Connect provider in a process of its own, and somebody who visits it."""

import html
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from support.install import fill_once
from support.patience import code_of, otherwise
from support.server import check_invariants

SECRET = "client-secret-3f9a%+&=/ that must not leak"
_PROVIDER = "oidc-provider@9.13.3"
_SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
_MOST_REDIRECTS = 20
_FORM = re.compile(r'<form[^>]*action="([^"]+)"')


def _install(folder: Path) -> Path:
    """The provider's packages, installed once."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI has no Node.js, which the OpenID Connect provider needs")
        pytest.skip("no Node.js and npm on PATH, which the OpenID Connect provider needs")
    install = [npm, "install", "--prefix", ".", "--no-audit", "--no-fund", "--ignore-scripts"]
    return fill_once(folder, _PROVIDER, *install, _PROVIDER)


class RealProvider:
    """npm's oidc-provider, which is certified, as a process."""

    def __init__(self, cache: Path, port: int, redirect_uris: list[str]) -> None:
        self._process = subprocess.Popen(
            ["node", str(_SCRIPT), str(_install(cache)), str(port), SECRET, *redirect_uris],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        with otherwise(self._process.kill):
            said = self._process.stdout.readline()
        if said != "ready\n":
            self.stop()
            raise AssertionError(f"the provider did not start: {said}")

    def stop(self) -> None:
        self._process.terminate()
        code_of(self._process, 10)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Visitor(httpx.Client):
    """A browser without JavaScript: keeps cookies, follows redirects, fills in the provider's forms."""

    def __init__(self, jan: str) -> None:
        super().__init__(timeout=30, trust_env=False)
        self.jan = jan

    def begin(self, path: str = "/auth/google") -> str:
        """Where Jan Server sends us."""
        response = self.get(self.jan + path)
        check_invariants(response)
        assert response.status_code == 302, response.text
        return response.headers["location"]

    def log_in(self, url: str, name: str) -> str:
        """Log in and consent at the provider; returns the URL that it sends us back to."""
        response = self.get(url)
        for form in ({"prompt": "login", "login": name, "password": "any"}, {"prompt": "consent"}):
            response = self._until_form(response)
            if not response.is_success:
                break
            action = _FORM.search(response.text)
            assert action is not None, response.text
            response = self.post(urljoin(str(response.url), html.unescape(action[1])), data=form)
        response = self._until_form(response)
        return response.headers["location"]

    def _until_form(self, response: httpx.Response) -> httpx.Response:
        for _ in range(_MOST_REDIRECTS):
            if not response.is_redirect or "/callback?" in response.headers["location"]:
                return response
            response = self.get(urljoin(str(response.url), response.headers["location"]))
        raise AssertionError(f"sent round and round: {response.url}")

    def finish(self, url: str) -> httpx.Response:
        """Come back to Jan Server."""
        response = self.get(url)
        check_invariants(response)
        return response
