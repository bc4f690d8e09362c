"""Every bash sample of the API reference, run by a shell with curl as it is printed there, on both backends.

The samples are written out here word for word. Filled in are only the server's address, the placeholders for
credentials and the two names that the reference makes up: a conversation's id and a protected endpoint.
"""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from support.conversation import StoredServer, new_conversation
from support.fake_oidc import Lab

from jan.auth.keyring import Keyring
from jan.schema.models import Model

REFERENCE = r"""
### JWT Token Authentication
```bash
curl -H "Authorization: Bearer <jwt_token>" \
http://localhost:8080/api/v1/protected-endpoint
```
### API Key Authentication
```bash
curl -H "Authorization: Bearer <api_key>" \
http://localhost:8080/api/v1/protected-endpoint
```
### Chat Completions
```bash
curl -X POST http://localhost:8080/api/v1/chat/completions \
-H "Content-Type: application/json" \
-H "Authorization: Bearer <token>" \
-d '{
"model": "jan-v1-4b",
"messages": [
{"role": "user", "content": "Hello, how are you?"}
],
"max_tokens": 100,
"temperature": 0.7
}'
```
### Model Information
```bash
curl http://localhost:8080/api/v1/models
```
### Completions (Text Generation)
```bash
curl -X POST http://localhost:8080/api/v1/completions \
-H "Content-Type: application/json" \
-H "Authorization: Bearer <token>" \
-d '{
"model": "jan-v1-4b",
"prompt": "The meaning of life is",
"max_tokens": 50
}'
```
### OAuth2 Google Login
```bash
curl http://localhost:8080/auth/google
```
### Token Refresh
```bash
curl -X POST http://localhost:8080/api/v1/auth/refresh \
-H "Authorization: Bearer <expired_token>"
```
### User Profile
```bash
curl -H "Authorization: Bearer <token>" \
http://localhost:8080/api/v1/user/profile
```
### API Keys
```bash
curl -X POST http://localhost:8080/api/v1/user/api-keys \
-H "Authorization: Bearer <token>" \
-H "Content-Type: application/json" \
-d '{
"name": "Development Key",
"permissions": ["read", "write"]
}'
```
### Create Conversation
```bash
curl -X POST http://localhost:8080/api/v1/conversations \
-H "Authorization: Bearer <token>" \
-H "Content-Type: application/json" \
-d '{
"title": "My Conversation",
"model": "jan-v1-4b"
}'
```
### List Conversations
```bash
curl -H "Authorization: Bearer <token>" \
http://localhost:8080/api/v1/conversations
```
### Get Conversation
```bash
curl -H "Authorization: Bearer <token>" \
http://localhost:8080/api/v1/conversations/123
```
### Health Check
```bash
curl http://localhost:8080/health
```
### System Status
```bash
curl -H "Authorization: Bearer <token>" \
http://localhost:8080/api/v1/status
```
### cURL Examples
```bash
# Get models
curl http://localhost:8080/api/v1/models
# Chat completion
curl -X POST http://localhost:8080/api/v1/chat/completions \
-H "Content-Type: application/json" \
-d '{
"model": "jan-v1-4b",
"messages": [{"role": "user", "content": "Hello"}]
}'
# Streaming chat completion
curl -X POST http://localhost:8080/api/v1/chat/completions \
-H "Content-Type: application/json" \
-d '{
"model": "jan-v1-4b",
"messages": [{"role": "user", "content": "Tell me a story"}],
"stream": true
}' \
--no-buffer
```
"""
SAMPLES = dict(re.findall(r"^### (.+?)\n```bash\n(.+?)```$", REFERENCE, re.MULTILINE | re.DOTALL))
PERMISSIONS = ["read", "write"]


class Person(NamedTuple):
    """Somebody with a session, an API key and a conversation with two messages."""

    token: str
    expired: str
    key: str
    conversation: str


class Answer(NamedTuple):
    """The answer that curl received."""

    body: str
    status: int
    media_type: str
    location: str

    @property
    def json(self) -> Any:
        assert (self.status, self.media_type) == (200, "application/json"), self
        return json.loads(self.body)


@pytest.fixture(scope="module")
def person(stored_server: StoredServer) -> Person:
    """Made on the command line, as an administrator would, while the server runs."""
    email = f"{time.time_ns()}@example.com"
    stored_server.jan("user", "add", email, "--name", "Ada")
    token = stored_server.jan("user", "token", email)
    key = stored_server.jan("key", "add", email, "--name", "curl")
    with stored_server.client(key) as client:
        conversation = new_conversation(client, title="First")
        said = [{"role": "user", "content": "one two"}]
        body = {"model": "jan-v1-4b", "messages": said, "conversation_id": conversation}
        assert client.post("/api/v1/chat/completions", json=body).status_code == 200
    to_expire = stored_server.jan("user", "token", email)
    return Person(token, expire(stored_server.folder / "data" / "signing-keys", to_expire), key, conversation)


def expire(keys: Path, token: str) -> str:
    """The token as it will be in two hours."""
    keyring = Keyring(keys, "HS256")
    keyring.load()
    claims = jwt.decode(token, options={"verify_signature": False})
    claims |= {name: claims[name] - 7200 for name in ("iat", "nbf", "exp")}
    signing = keyring.signing
    return jwt.encode(claims, signing.private, algorithm=signing.algorithm, headers={"kid": signing.kid})


def run(folder: Path, url: str, sample: str, person: Person | None = None) -> list[Answer]:
    """Run a sample in a shell; how curl reports comes from its configuration file, not from the sample."""
    filled = sample.replace("http://localhost:8080", url).replace("protected-endpoint", "user/profile")
    if person is not None:
        for placeholder, value in (
            ("<token>", person.token),
            ("<jwt_token>", person.token),
            ("<api_key>", person.key),
            ("<expired_token>", person.expired),
            ("conversations/123", f"conversations/{person.conversation}"),
        ):
            filled = filled.replace(placeholder, value)
        assert not re.search(r"<\w+>", filled)
    report = r"\n\x1e%{http_code}|%{content_type}|%{redirect_url}\x1e".replace(r"\x1e", "\x1e")
    (folder / ".curlrc").write_text(f'silent\nshow-error\nmax-time = 60\nnoproxy = "*"\nwrite-out = "{report}"\n')
    environ = {**os.environ, "CURL_HOME": str(folder)}
    ran = subprocess.run(
        ["bash", "-euc", filled], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    parts = ran.stdout.split("\x1e")
    return [_answer(body, told) for body, told in zip(parts[::2], parts[1::2], strict=False)]


def _answer(body: str, told: str) -> Answer:
    status, media_type, location = told.split("|", 2)
    return Answer(body.removesuffix("\n"), int(status), media_type, location)


# --- what the samples show ------------------------------------------------------------------------------


def is_profile(answer: Any, _person: Person) -> None:
    assert {"id", "email", "name", "role", "created_at"} <= set(answer)
    assert (answer["object"], answer["name"], answer["role"]) == ("user", "Ada", "user")


def is_chat(answer: Any, _person: Person | None = None) -> None:
    assert (answer["object"], answer["model"]) == ("chat.completion", "jan-v1-4b")
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert choice["message"]["content"]
    assert choice["finish_reason"] in ("stop", "length")
    assert answer["usage"]["completion_tokens"] <= 100


def is_models(answer: Any, _person: Person | None = None) -> None:
    assert answer["object"] == "list"
    assert "jan-v1-4b" in {model["id"] for model in answer["data"]}
    for model in answer["data"]:
        assert {"id", "object", "created", "owned_by"} <= set(model)
        assert set(model) <= set(Model.__struct_fields__)
        assert (model["object"], model["owned_by"]) == ("model", "jan")


def is_completion(answer: Any, _person: Person) -> None:
    assert (answer["object"], answer["model"]) == ("text_completion", "jan-v1-4b")
    assert answer["choices"][0]["text"]


def is_token(answer: Any, person: Person) -> None:
    assert answer["access_token"].count(".") == 2
    assert answer["access_token"] != person.expired
    assert answer["token_type"] == "bearer"
    assert 0 < answer["expires_in"] <= 3600


def is_key(answer: Any, _person: Person) -> None:
    assert (answer["object"], answer["name"]) == ("api_key", "Development Key")
    assert answer["permissions"] == PERMISSIONS
    assert answer["key"].startswith(answer["prefix"])


def is_new_conversation(answer: Any, person: Person) -> None:
    assert (answer["object"], answer["title"], answer["model"]) == ("conversation", "My Conversation", "jan-v1-4b")
    assert answer["id"] != person.conversation


def is_list(answer: Any, person: Person) -> None:
    assert (answer["object"], answer["has_more"]) == ("list", False)
    assert answer["data"][-1]["id"] == person.conversation  # the first that was made


def is_conversation(answer: Any, person: Person) -> None:
    assert (answer["id"], answer["title"]) == (person.conversation, "First")
    roles = [(message["role"], message["status"]) for message in answer["messages"]["data"]]
    assert roles == [("user", "complete"), ("assistant", "complete")]


def is_health(answer: Any, _person: Person) -> None:
    assert set(answer) == {"status", "timestamp"}
    assert answer["status"] == "ok"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["timestamp"])


def is_status(answer: Any, _person: Person) -> None:
    assert answer == {
        "api_gateway": "healthy",
        "inference_model": "healthy",
        "database": "healthy",
        "external_apis": {"serper": "not_configured"},
    }


_SHAPES: dict[str, Callable[[Any, Person], None]] = {
    "JWT Token Authentication": is_profile,
    "API Key Authentication": is_profile,
    "Chat Completions": is_chat,
    "Model Information": is_models,
    "Completions (Text Generation)": is_completion,
    "Token Refresh": is_token,
    "User Profile": is_profile,
    "API Keys": is_key,
    "Create Conversation": is_new_conversation,
    "List Conversations": is_list,
    "Get Conversation": is_conversation,
    "Health Check": is_health,
    "System Status": is_status,
}


@pytest.mark.parametrize("title", _SHAPES)
def test_a_sample_is_answered(stored_server: StoredServer, person: Person, tmp_path: Path, title: str) -> None:
    """curl gets 200 and JSON of the shape that the reference shows."""
    (answer,) = run(tmp_path, stored_server.process.url, SAMPLES[title], person)
    _SHAPES[title](answer.json, person)


def test_the_common_operations_are_answered(stored_server: StoredServer, tmp_path: Path) -> None:
    """The three requests without credentials: models, an answer, and an answer as events up to [DONE]."""
    models, chat, stream = run(tmp_path, stored_server.process.url, SAMPLES["cURL Examples"])
    is_models(models.json)
    is_chat(chat.json)
    assert (stream.status, stream.media_type) == (200, "text/event-stream; charset=utf-8")
    *events, done = [line for line in stream.body.splitlines() if line.startswith("data: ")]
    assert done == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    found = Lab(tmp_path_factory.mktemp("lab"))
    yield found
    found.stop()


def test_google_sign_in_redirects(lab: Lab, tmp_path: Path) -> None:
    """curl is sent to the provider's page for authorization; no store is involved."""
    (answer,) = run(tmp_path, lab.server.url, SAMPLES["OAuth2 Google Login"])
    assert answer.status == 302
    assert answer.location.startswith(lab.provider.issuer)
    assert "state=" in answer.location


def test_google_sign_in_says_when_it_is_not_configured(stored_server: StoredServer, tmp_path: Path) -> None:
    """503 with words, not a broken redirect."""
    (answer,) = run(tmp_path, stored_server.process.url, SAMPLES["OAuth2 Google Login"])
    assert answer.status == 503
    assert json.loads(answer.body)["error"]["code"] == "sign_in_not_configured"


def test_no_sample_is_left_out() -> None:
    """Every sample above is run by one of the tests."""
    assert set(SAMPLES) == {*_SHAPES, "cURL Examples", "OAuth2 Google Login"}
