"""The section ``sign_in`` of the configuration: mistakes stop the server from starting, in words."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from jan.errors import ConfigurationError
from jan.settings import Settings
from jan.settings.load import load_settings

SECRET = "the-client-secret"


def load(folder: Path, server: dict[str, Any] | None = None, **sign_in: Any) -> Settings:
    file = folder / "jan.yaml"
    section = {"client_id": "jan", "client_secret": SECRET, **sign_in}
    access = {"anonymous": "refuse"}
    file.write_text(yaml.safe_dump({"server": server or {}, "access": access, "sign_in": section}))
    return load_settings(file, {})


_PUBLIC = {"host": "0.0.0.0"}


@pytest.mark.parametrize(
    ("server", "sign_in"),
    [
        ({}, {}),
        ({}, {"return_to": ["/chat", "/a/b?c=d", "https://app.example.com/in", "http://localhost:3000/"]}),
        (_PUBLIC, {"public_url": "https://jan.example.com", "allowed_domains": ["example.com"]}),
        (_PUBLIC, {"public_url": "https://jan.example.com", "allowed_emails": ["*"]}),
        (_PUBLIC, {"public_url": "https://jan.example.com", "create_users": False}),
        (_PUBLIC, {"client_id": ""}),
        ({}, {"allowed_domains": ["*"], "allowed_emails": ["Ada@xn--bcher-kva.example"], "admins": ["a+b@c"]}),
    ],
)
def test_what_is_right(tmp_path: Path, server: dict[str, Any], sign_in: dict[str, Any]) -> None:
    """These configurations load, and the secret is not shown by what is loaded."""
    settings = load(tmp_path, server, **sign_in)
    assert SECRET not in repr(settings)


@pytest.mark.parametrize(
    ("server", "sign_in", "said"),
    [
        (
            {},
            {"issuer": "http://accounts.google.com"},
            "sign_in.issuer: 'http://accounts.google.com' is not a safe URL",
        ),
        ({}, {"issuer": "accounts.google.com"}, "issuer"),
        ({}, {"public_url": "http://jan.example.com"}, "public_url"),
        ({}, {"public_url": "https://jan.example.com/?x=1"}, "public_url"),
        ({}, {"return_to": ["//evil.example"]}, "return_to"),
        ({}, {"return_to": ["/\\evil.example"]}, "return_to"),
        ({}, {"return_to": ["http://app.example.com/"]}, "return_to"),
        ({}, {"return_to": ["javascript:alert(1)"]}, "return_to"),
        ({}, {"return_to": ["https://me@app.example.com/"]}, "return_to"),
        ({}, {"return_to": ["/chat#x"]}, "return_to"),
        ({}, {"return_to": ["/chat\r\nX: y"]}, "return_to"),
        ({}, {"scopes": ["email"]}, "openid"),
        ({}, {"state_seconds": 0}, "state_seconds"),
        ({}, {"client_authentication": "jwt"}, "'auto', 'basic', 'post'"),
        ({}, {"domains": []}, "Unknown key 'domains'"),
        ({}, {"allowed_domains": ["\u212aorp.test"]}, "sign_in.allowed_domains[0]: Is not the domain of"),
        ({}, {"allowed_domains": ["a.test", "b\u00fccher.test"]}, "allowed_domains[1]: Is not the domain of"),
        ({}, {"allowed_domains": ["@korp.test"]}, "A-label form, like xn--bcher-kva.example"),
        ({}, {"allowed_emails": ["bos\u212a@korp.test"]}, "sign_in.allowed_emails[0]: Is not an e-mail address"),
        ({}, {"allowed_emails": [" boss@korp.test"]}, "; or * for anyone."),
        ({}, {"admins": ["boss\u200b@korp.test"]}, "sign_in.admins[0]: Is not an e-mail address"),
        ({}, {"admins": ["*"]}, "sign_in.admins[0]: Is not an e-mail address; allowed: addresses like"),
        (_PUBLIC, {"allowed_domains": ["example.com"]}, "sign_in.public_url: Required, because"),
        (_PUBLIC, {"public_url": "https://jan.example.com"}, "sign_in.create_users: This would give an account"),
        ({}, {"public_url": "https://jan.example.com"}, "sign_in.create_users: This would give an account"),
        ({}, {"client_secret": 12345}, "sign_in.client_secret"),
    ],
)
def test_what_is_wrong(tmp_path: Path, server: dict[str, Any], sign_in: dict[str, Any], said: str) -> None:
    """A mistake is one line with the file and what is wrong, without the secret."""
    with pytest.raises(ConfigurationError) as refused:
        load(tmp_path, server, **sign_in)
    message = refused.value.message
    assert said in message
    assert str(tmp_path / "jan.yaml") in message
    assert "\n" not in message
    assert SECRET not in message
    assert "12345" not in message
