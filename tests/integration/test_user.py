"""Profile, API keys and users through HTTP."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from support.server import ServerProcess, http_client

KEYS = "/api/v1/user/api-keys"


@pytest.fixture(scope="module")
def admin(echo_server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(echo_server, headers=bearer(echo_server.admin_key)) as client:
        yield client


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def make_key(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(KEYS, json={"name": "Test", **body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_the_references_sample(admin: httpx.Client) -> None:
    """A key with a name and permissions is made; its secret is there once and never again."""
    made = make_key(admin, name="Development Key", permissions=["read", "write"])
    assert made["key"].startswith(made["prefix"])
    assert (made["name"], made["permissions"]) == ("Development Key", ["read", "write"])
    listed = admin.get(KEYS)
    assert made["key"] not in listed.text
    (entry,) = (key for key in listed.json()["data"] if key["id"] == made["id"])
    assert entry == {name: value for name, value in made.items() if name != "key"}


def test_a_key_does_what_its_permissions_say(admin: httpx.Client, echo: httpx.Client) -> None:
    """A key that may read reads, and can't write or use the models; its use is noted."""
    key = make_key(admin, permissions=["read"])
    assert echo.get("/api/v1/user/profile", headers=bearer(key["key"])).status_code == 200
    body = {"model": "echo", "messages": [{"role": "user", "content": "x"}]}
    refused = echo.post("/api/v1/chat/completions", headers=bearer(key["key"]), json=body)
    assert refused.status_code == 403
    assert "inference" in refused.json()["error"]["message"]
    (entry,) = (k for k in admin.get(KEYS).json()["data"] if k["id"] == key["id"])
    assert entry["last_used_at"] is not None


def test_a_key_can_not_make_one_with_more_permissions(admin: httpx.Client, echo: httpx.Client) -> None:
    """Permissions that the maker lacks are refused."""
    key = make_key(admin, permissions=["write", "keys"])
    refused = echo.post(KEYS, headers=bearer(key["key"]), json={"name": "x", "permissions": ["admin"]})
    assert refused.status_code == 403
    assert refused.json()["error"]["param"] == "permissions"


def test_a_key_can_not_rotate_one_with_more_permissions(admin: httpx.Client, echo: httpx.Client) -> None:
    """The successor's secret would give what the caller lacks. A key that may do no more can be rotated."""
    weak = make_key(admin, permissions=["write", "keys"])
    strong = make_key(admin, permissions=["write", "admin"])
    refused = echo.post(f"{KEYS}/{strong['id']}/rotate", headers=bearer(weak["key"]))
    assert refused.status_code == 403
    assert "admin" in refused.json()["error"]["message"]
    assert echo.post(f"{KEYS}/{weak['id']}/rotate", headers=bearer(weak["key"])).status_code == 200


def test_a_key_that_expires_makes_none_that_outlives_it(admin: httpx.Client, echo: httpx.Client) -> None:
    """A key of an hour can't be turned into one for ever."""
    ends = datetime.now(UTC) + timedelta(hours=1)
    key = make_key(admin, permissions=["read", "keys"], expires_at=ends.isoformat())
    for wanted in (None, (ends + timedelta(minutes=1)).isoformat()):
        body = {"name": "x", "permissions": ["read"], "expires_at": wanted}
        refused = echo.post(KEYS, headers=bearer(key["key"]), json=body)
        assert refused.status_code == 403
        assert refused.json()["error"]["param"] == "expires_at"
    body["expires_at"] = (ends - timedelta(minutes=1)).isoformat()
    assert echo.post(KEYS, headers=bearer(key["key"]), json=body).status_code == 200


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-10:00", "0001-01-01T00:00:00+10:00"])
def test_an_end_outside_the_calendar_is_refused(admin: httpx.Client, moment: str) -> None:
    """A time that no UTC date can express is the client's mistake, not a failure."""
    assert admin.post(KEYS, json={"name": "x", "expires_at": moment}).status_code == 400


def test_rename_and_revoke(admin: httpx.Client, echo: httpx.Client) -> None:
    """A renamed key keeps working; a revoked one is refused at once and stays in the list."""
    key = make_key(admin)
    assert admin.patch(f"{KEYS}/{key['id']}", json={"name": "Laptop"}).json()["name"] == "Laptop"
    assert echo.get("/api/v1/models", headers=bearer(key["key"])).status_code == 200
    assert admin.delete(f"{KEYS}/{key['id']}").json()["revoked_at"] is not None
    assert echo.get("/api/v1/models", headers=bearer(key["key"])).status_code == 401


def test_rotation(admin: httpx.Client, echo: httpx.Client) -> None:
    """The successor has name and permissions of the old key; both work for the grace; twice is a conflict."""
    old = make_key(admin, name="CI", permissions=["inference"])
    new = admin.post(f"{KEYS}/{old['id']}/rotate").json()
    assert (new["name"], new["permissions"]) == ("CI", ["inference"])
    for key in (old, new):
        assert echo.get("/api/v1/models", headers=bearer(key["key"])).status_code == 200
    (entry,) = (k for k in admin.get(KEYS).json()["data"] if k["id"] == old["id"])
    assert entry["replaced_by"] == new["id"]
    assert entry["expires_at"] is not None
    assert admin.post(f"{KEYS}/{old['id']}/rotate").status_code == 409


def test_expiry(admin: httpx.Client) -> None:
    """A key may be given an end, which must be in the future and have a time zone."""
    later = datetime.now(UTC) + timedelta(days=1)
    assert make_key(admin, expires_at=later.isoformat())["expires_at"] is not None
    for wrong in ((later - timedelta(days=2)).isoformat(), later.replace(tzinfo=None).isoformat(), "soon", 5):
        refused = admin.post(KEYS, json={"name": "x", "expires_at": wrong})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "expires_at"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 201},
        {"name": "x", "permissions": []},
        {"name": "x", "permissions": ["root"]},
        {"name": "x", "permissions": "read"},
        {"name": "x", "surprise": 1},
    ],
)
def test_wrong_bodies(admin: httpx.Client, body: dict[str, Any]) -> None:
    """Each mistake is a 400 that names the field."""
    refused = admin.post(KEYS, json=body)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"]


def test_keys_of_others_are_not_there(admin: httpx.Client, echo: httpx.Client) -> None:
    """Another user's key is 404 for renaming, rotating and revoking, whatever the permissions."""
    mine = make_key(admin)
    user = admin.post("/api/v1/users", json={"email": "other@example.org"}).json()
    assert user["role"] == "user"
    assert admin.patch(f"{KEYS}/key_unknown", json={"name": "x"}).status_code == 404
    assert admin.post(f"{KEYS}/key_unknown/rotate").status_code == 404
    assert admin.delete(f"{KEYS}/key_unknown").status_code == 404
    assert echo.delete(f"{KEYS}/{mine['id']}").status_code == 401


def test_the_profile_can_be_changed(admin: httpx.Client) -> None:
    """The name is changed and stays; nothing else can be."""
    assert admin.patch("/api/v1/user/profile", json={"name": "Ada"}).json()["name"] == "Ada"
    assert admin.get("/api/v1/user/profile").json()["name"] == "Ada"
    assert admin.patch("/api/v1/user/profile", json={"role": "admin"}).status_code == 400


def test_an_administrator_manages_users(admin: httpx.Client) -> None:
    """Users are added once, found, promoted and disabled; administrators can't lock themselves out."""
    made = admin.post("/api/v1/users", json={"email": "New@Example.org", "name": "N"}).json()
    assert made["email"] == "new@example.org"
    assert admin.post("/api/v1/users", json={"email": "new@example.org"}).status_code == 409
    assert admin.post("/api/v1/users", json={"email": "nobody"}).status_code == 400
    for odd in ("bos\u212a@example.org", "a\x00@example.org", "a\x7f@example.org", "a\u202e@example.org"):
        refused = admin.post("/api/v1/users", json={"email": odd}).json()["error"]
        assert refused["param"] == "email"
        assert "allowed: addresses like ada@example.com" in refused["message"]
    for odd in (
        " a@example.org",
        "a@example.org\n",
        "a@b@example.org",
        "@example.org",
        "a@",
        "a@ex\u00e4mple.org",
    ):
        assert admin.post("/api/v1/users", json={"email": odd}).status_code == 400
    url = f"/api/v1/users/{made['id']}"
    assert admin.patch(url, json={"role": "admin", "disabled": True}).json()["disabled"] is True
    assert admin.get(url).json()["role"] == "admin"
    assert made["id"] in [user["id"] for user in admin.get("/api/v1/users").json()["data"]]
    me = admin.get("/api/v1/user/profile").json()["id"]
    assert admin.patch(f"/api/v1/users/{me}", json={"disabled": True}).status_code == 400
    assert admin.get("/api/v1/users/user_unknown").status_code == 404
