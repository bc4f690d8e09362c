"""What one credential may do to another: keys and sessions make, rotate, rename, revoke and end each other."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import httpx
import pytest
from support.conversation import API, StoredServer, bearer, pages

KEYS = f"{API}/user/api-keys"
SOON = {"expires_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}
#: Every kind of key: what its body says beyond a name.
KINDS: dict[str, dict[str, Any]] = {
    "all": {"permissions": ["read", "write", "inference", "keys", "admin"]},
    "keeper": {"permissions": ["read", "write", "inference", "keys"]},
    "keeper that expires": {"permissions": ["read", "write", "inference", "keys"], **SOON},
    "keeper with a budget": {"permissions": ["read", "write", "inference", "keys"], "tokens_per_day": 1000},
    "default": {},
    "writer": {"permissions": ["write"]},
    "expires": {"permissions": ["write"], **SOON},
    "small": {"permissions": ["write"], "tokens_per_day": 1000},
    "smaller": {"permissions": ["write"], "tokens_per_day": 10},
    "administrator": {"permissions": ["admin"]},
}
USERS = [kind for kind, body in KINDS.items() if "admin" not in body.get("permissions", ())]
#: The kinds that a key may make, rotate, rename and revoke. A session may all. Other keys only themselves.
MANAGES = {
    "all": list(KINDS),
    "keeper": USERS,
    "keeper that expires": ["keeper that expires", "expires"],
    "keeper with a budget": ["keeper with a budget", "small", "smaller"],
}


@pytest.fixture(scope="module")
def boss(stored_server: StoredServer) -> Iterator[httpx.Client]:
    """The first administrator in a session, which has every permission."""
    with stored_server.client(stored_server.jan("user", "token", "admin@localhost")) as client:
        yield client


@pytest.fixture(scope="module")
def ring(boss: httpx.Client) -> dict[str, dict[str, Any]]:
    """A key of every kind."""
    return {kind: make(boss, **body) for kind, body in KINDS.items()}


def make(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(KEYS, json={"name": "k", **body})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


def listed(client: httpx.Client) -> list[dict[str, Any]]:
    return [key for page in pages(client, KEYS, limit=500) for key in page]


def do(client: httpx.Client, method: str, url: str, key: dict[str, Any], **body: Any) -> int:
    """Return the status of a request with a key."""
    return client.request(method, url, headers=bearer(key["key"]), **body).status_code


def works(client: httpx.Client, key: dict[str, Any]) -> bool:
    """Whether a key is accepted, whatever it may do."""
    return do(client, "GET", f"{API}/user/profile", key) != 401


@pytest.mark.parametrize("caller", KINDS)
def test_the_matrix_of_keys(boss: httpx.Client, ring: dict[str, dict[str, Any]], caller: str) -> None:
    """A key with the permission `keys` makes, renames, rotates and revokes what can do no more than itself in
    permissions, end and budget; nothing else, and a refusal changes nothing."""
    for kind, body in KINDS.items():
        allowed = 200 if kind in MANAGES.get(caller, ()) else 403
        asked = {"name": "k", "permissions": ["read", "write", "inference"], **body}
        assert do(boss, "POST", KEYS, ring[caller], json=asked) == allowed, kind
        target = make(boss, **body)
        url = f"{KEYS}/{target['id']}"
        assert do(boss, "PATCH", url, ring[caller], json={"name": "renamed"}) == allowed, kind
        assert do(boss, "POST", f"{url}/rotate", ring[caller]) == allowed, kind
        if allowed == 403:
            found = next(key for key in listed(boss) if key["id"] == target["id"])
            assert (found["name"], found["replaced_by"]) == ("k", None)
        # Another one, because the end of a rotated key is that of its grace.
        fresh = make(boss, **body)
        assert do(boss, "DELETE", f"{KEYS}/{fresh['id']}", ring[caller]) == allowed, kind
        assert works(boss, fresh) == (allowed == 403), kind


def test_a_session_manages_every_key_of_its_user(boss: httpx.Client) -> None:
    """A person makes, renames, rotates and revokes all kinds."""
    for kind, body in KINDS.items():
        url = f"{KEYS}/{make(boss, **body)['id']}"
        assert boss.patch(url, json={"name": "renamed"}).status_code == 200, kind
        assert boss.post(f"{url}/rotate").status_code == 200, kind
        assert boss.delete(url).status_code == 200, kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_rotates_and_revokes_itself(boss: httpx.Client, kind: str) -> None:
    """For that it needs no permission. Its successor has the same permissions, end and budget, and no more."""
    old = make(boss, **KINDS[kind])
    rotated = boss.post(f"{KEYS}/{old['id']}/rotate", headers=bearer(old["key"]))
    assert rotated.status_code == 200
    new = rotated.json()
    for field in ("permissions", "expires_at", "tokens_per_day"):
        assert new[field] == old[field]
    assert new["created_by"] == old["id"]
    assert do(boss, "DELETE", f"{KEYS}/{new['id']}", new) == 200
    assert not works(boss, new)


def test_a_replaced_key_manages_nothing(boss: httpx.Client) -> None:
    """In its grace it works for all else: a thief neither replaces the successor nor makes another key."""
    old = make(boss, **KINDS["keeper"])
    new = boss.post(f"{KEYS}/{old['id']}/rotate").json()
    sibling = make(boss, permissions=["read"], **SOON)
    calls = [
        ("POST", KEYS, {"json": {"name": "x", "permissions": ["read"], **SOON}}),
        *(("POST", f"{KEYS}/{key['id']}/rotate", {}) for key in (old, new, sibling)),
        *(("PATCH", f"{KEYS}/{key['id']}", {"json": {"name": "x"}}) for key in (old, new, sibling)),
        *(("DELETE", f"{KEYS}/{key['id']}", {}) for key in (old, new, sibling)),
        ("POST", f"{API}/auth/logout-everywhere", {}),
    ]
    for method, url, body in calls:
        refused = boss.request(method, url, headers=bearer(old["key"]), **body)
        assert refused.status_code == 403, (method, url)
        assert "was rotated" in refused.json()["error"]["message"]
    assert works(boss, old)
    assert works(boss, new)
    assert do(boss, "POST", f"{KEYS}/{new['id']}/rotate", new) == 200


def test_a_rotation_without_grace_ends_the_old_key_at_once(boss: httpx.Client) -> None:
    """`grace_seconds` is 0 to the configured time; a wrong one changes nothing, and no body means the default."""
    old = make(boss)
    url = f"{KEYS}/{old['id']}/rotate"
    for wrong in (-1, 86_401, "soon", True):
        refused = boss.post(url, json={"grace_seconds": wrong})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "grace_seconds"
    assert boss.post(url, json={"grace": 0}).status_code == 400
    new = boss.post(url, json={"grace_seconds": 0}).json()
    assert not works(boss, old)
    assert works(boss, new)
    for body in ({}, {"grace_seconds": None}, {"grace_seconds": 60}):
        newer = boss.post(f"{KEYS}/{new['id']}/rotate", json=body).json()
        assert works(boss, new)
        new = newer


def test_a_revocation_takes_children_along_when_asked(boss: httpx.Client) -> None:
    """`created_by` says who made a key. `?cascade=true` ends what a key made, and what that made; others stay."""
    parent = make(boss, **KINDS["keeper"])
    assert parent["created_by"].startswith("sess_")
    child = boss.post(KEYS, json={"name": "c", **KINDS["keeper"]}, headers=bearer(parent["key"])).json()
    grandchild = boss.post(KEYS, json={"name": "g"}, headers=bearer(child["key"])).json()
    other = boss.post(KEYS, json={"name": "o"}, headers=bearer(parent["key"])).json()
    assert [child["created_by"], grandchild["created_by"]] == [parent["id"], child["id"]]
    assert boss.delete(f"{KEYS}/{other['id']}").status_code == 200
    assert boss.delete(f"{KEYS}/{parent['id']}").status_code == 200
    assert [works(boss, key) for key in (parent, child, grandchild)] == [False, True, True]
    assert boss.delete(f"{KEYS}/{parent['id']}", params={"cascade": "perhaps"}).status_code == 400
    assert boss.delete(f"{KEYS}/{parent['id']}", params={"cascade": "true"}).status_code == 200
    assert [works(boss, key) for key in (child, grandchild)] == [False, False]


def test_a_key_without_the_permission_ends_only_itself(boss: httpx.Client) -> None:
    """It may not take along its successor, which it made by rotating itself."""
    old = make(boss)
    new = boss.post(f"{KEYS}/{old['id']}/rotate", headers=bearer(old["key"])).json()
    refused = boss.delete(f"{KEYS}/{new['id']}", params={"cascade": "true"}, headers=bearer(new["key"]))
    assert refused.status_code == 403
    assert works(boss, new)


def test_only_a_key_that_can_do_all_ends_the_sessions(stored_server: StoredServer, boss: httpx.Client) -> None:
    """Sessions can do all that their user may, for as long as they last and within no key's budget."""
    url = f"{API}/auth/logout-everywhere"
    email = "sessions@example.org"
    boss.post(f"{API}/users", json={"email": email})
    with stored_server.client(stored_server.jan("user", "token", email)) as person:
        keys = {kind: make(person, **KINDS[kind]) for kind in USERS}
        for kind, key in keys.items():
            if kind not in ("keeper", "keeper with a budget"):
                assert do(boss, "POST", url, key) == 403, kind
        assert do(boss, "POST", url, keys["keeper with a budget"]) == 403
        assert person.get(f"{API}/user/profile").status_code == 200
        assert do(boss, "POST", url, keys["keeper"]) == 200
        assert person.get(f"{API}/user/profile").status_code == 401
    assert works(boss, keys["writer"])


def test_stored_keys_do_not_gain_the_permission(stored_server: StoredServer) -> None:
    """A key of before manages only itself; the command line offers the permission, and the first key has it."""
    with stored_server.client(stored_server.add_user("read", "write", "inference")) as old:
        assert old.post(KEYS, json={"name": "x"}).status_code == 403
    arguments = ("key", "add", "admin@localhost", "--name", "cli", "--permissions", "keys,read")
    with stored_server.client(stored_server.jan(*arguments)) as new:
        made = make(new, permissions=["read"])
        assert f"made by {made['created_by']}" in stored_server.jan("key", "list", "admin@localhost")
        stored_server.jan("key", "revoke", "--cascade", made["created_by"])
    with stored_server.client() as first:
        ended = {key["id"]: key["revoked_at"] for key in listed(first)}
        assert ended[made["id"]] is not None
        assert first.post(KEYS, json={"name": "x"}).status_code == 200


def test_permissions_are_what_the_matrix_says(boss: httpx.Client) -> None:
    """Of all pairs of single permissions, a key gives only what it has, and only with `keys`."""
    for has, gives in product(("read", "write", "inference", "admin"), repeat=2):
        for more in ([], ["keys"]):
            key = make(boss, permissions=[has, *more])
            allowed = 200 if more and has == gives else 403
            assert do(boss, "POST", KEYS, key, json={"name": "x", "permissions": [gives]}) == allowed
