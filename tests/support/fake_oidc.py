"""An OpenID Connect provider that says what a test wants, and a server that believes in it."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from jwt.algorithms import RSAAlgorithm

from support.oidc import SECRET
from support.server import ECHO_CONFIG, ServerProcess, http_client

ACCESS = "provider-access"
#: Stands for a claim that is sent, and is null.
JSON_NULL = "<null>"
PAGES = ("/chat", "https://app.example.com/signed-in")

Reply = Callable[[BaseHTTPRequestHandler], None]


class FakeProvider:
    """Says and signs whatever it is told to; ``replies`` by path come before its own answers."""

    def __init__(self) -> None:
        self.key: RSAPrivateKey = generate_private_key(public_exponent=65537, key_size=2048)
        self.kid = "first"
        self.replies: dict[str, Reply] = {}
        self.token_answer: dict[str, Any] = {}
        self.said: list[str] = []
        self.forms: list[dict[str, list[str]]] = []
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        # Its end comes when it looks for it.
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(fake) -> type[BaseHTTPRequestHandler]:  # `self` is the request's below
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.answer(self)

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                fake.forms.append(parse_qs(self.rfile.read(length).decode()))
                fake.answer(self)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        return Handler

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = urlsplit(request.path).path
        self.asked.append(path)
        if path in self.replies:
            self.replies[path](request)
        elif path == "/.well-known/openid-configuration":
            reply(200, self.document())(request)
        elif path == "/keys":
            reply(200, {"keys": [self.public_key()]})(request)
        elif path == "/token":
            reply(200, self.token_answer)(request)
        else:
            reply(404, {})(request)

    def document(self, **changes: Any) -> dict[str, Any]:
        urls = {"authorization_endpoint": "auth", "token_endpoint": "token", "jwks_uri": "keys"}
        found: dict[str, Any] = {name: f"{self.issuer}/{path}" for name, path in urls.items()}
        return {"issuer": self.issuer, "userinfo_endpoint": f"{self.issuer}/userinfo", **found, **changes}

    def public_key(self) -> dict[str, Any]:
        return {**RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}

    def claims(self, good_nonce: str, /, **changes: Any) -> dict[str, Any]:
        """Claims that are all right, but for the changes; None leaves one out, JSON_NULL makes it null."""
        now = int(time.time())
        good = {
            "iss": self.issuer,
            "aud": "jan",
            "sub": "subject-of-ada",
            "iat": now,
            "exp": now + 300,
            "nonce": good_nonce,
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada",
        }
        said = {name: value for name, value in {**good, **changes}.items() if value is not None}
        return {name: None if value == JSON_NULL else value for name, value in said.items()}

    def says(self, claims: dict[str, Any], **signing: Any) -> None:
        """Answer the next codes with these claims, signed as said."""
        options = {"key": self.key, "algorithm": "RS256", "headers": {"kid": self.kid}, **signing}
        token = jwt.encode(claims, **options)
        self.said.append(token)
        self.token_answer = {"access_token": ACCESS, "token_type": "Bearer", "id_token": token}


def reply(status: int, body: Any, *, headers: dict[str, str] | None = None, seconds: float = 0) -> Reply:
    """An answer; ``seconds``: only after a while."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    def send(request: BaseHTTPRequestHandler) -> None:
        time.sleep(seconds)
        try:
            request.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            pass  # the other side had enough

    return send


class Lab:
    """A server, and the provider that it believes in."""

    def __init__(
        self,
        folder: Path,
        more: str = "",
        environ: dict[str, str] | None = None,
        domains: str = "example.com",
    ) -> None:
        self.provider = FakeProvider()
        self.data = folder / "data"
        config = folder / "jan.yaml"
        config.write_text(
            f"{ECHO_CONFIG}\n"
            f"sign_in: {{issuer: '{self.provider.issuer}', client_id: jan, client_secret: '{SECRET}',\n"
            f"  allowed_domains: [{domains}], return_to: [{', '.join(PAGES)}], timeout_seconds: 1{more}}}\n"
        )
        try:
            self.server = ServerProcess(config, environ={"JAN__LOG__LEVEL": "debug", **(environ or {})})
        except BaseException:
            self.provider.stop()
            raise

    def stop(self) -> None:
        """Also checks that the log is clean: no errors, and nothing in it that opens anything."""
        try:
            assert self.server.stop() == 0
        finally:
            self.provider.stop()
        assert self.server.errors() == []
        log = "".join(self.server.stderr)
        secrets = [*self.provider.said, ACCESS, "the-code", SECRET]
        assert [secret for secret in secrets if secret in log] == []


class Attempt:
    """A sign-in that was begun; ``state`` and ``nonce`` as the provider sees them."""

    def __init__(self, client: httpx.Client, **query: str) -> None:
        self._client = client
        response = client.get("/auth/google", params=query)
        assert response.status_code == 302, response.text
        query = parse_qs(urlsplit(response.headers["location"]).query)
        self.state, self.nonce = query["state"][0], query["nonce"][0]

    def callback(self, **changes: str | None) -> httpx.Response:
        query = {"code": "the-code", "state": self.state, **changes}
        return self._client.get("/auth/google/callback", params={k: v for k, v in query.items() if v is not None})


@contextmanager
def attempt(lab: Lab) -> Iterator[Attempt]:
    with http_client(lab.server) as client:
        yield Attempt(client)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def finish(lab: Lab, **claims: Any) -> httpx.Response:
    """A sign-in whose ID token is good but for these claims."""
    with attempt(lab) as begun:
        lab.provider.says(lab.provider.claims(begun.nonce, **claims))
        return begun.callback()
