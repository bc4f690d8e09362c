"""The audit over HTTP and on the command line, on both stores: who did what, when, from where, and no secrets."""

import json
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner
from support.fake_oidc import Attempt, FakeProvider
from support.mongodb import mongo_client
from support.server import ECHO_CONFIG, ServerProcess

from jan.audit import chain_writer
from jan.audit.sealing import parse_head
from jan.cli.commands import main
from jan.errors import Unavailable
from jan.settings.load import default_config_file
from jan.testing import served
from jan.testing.in_process import ThreadServer

API = "/api/v1"
KEYS = f"{API}/user/api-keys"
FAR = {"X-Forwarded-For": "203.0.113.7"}
NAME = "Grace Canaryname Hopper"
EMAIL = "grace.canary@example.com"
FLOOD = 40


class Life:
    """What a server did in its life: acts of many kinds, and what is left of them."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self.config = folder / "jan.yaml"
        self.provider = FakeProvider()
        self.config.write_text(
            f"extends: {default_config_file()}\ndata: {folder}/data\nmodels: [{{id: echo, engine: echo}}]\n"
            f"storage: {{url: '{url}', timeout_seconds: 20}}\nserver: {{trusted_proxies: [127.0.0.1]}}\n"
            "access: {anonymous: refuse}\nlimits: {authenticated: off, anonymous: off}\n"
            f"sign_in: {{issuer: '{self.provider.issuer}', client_id: jan, client_secret: s3cret-of-the-client,\n"
            "  allowed_domains: [example.com]}\n".replace("off", '"off"')
        )
        #: What must not be in any entry.
        self.secrets: list[str] = [NAME, "Canaryname", EMAIL, "grace.canary", "s3cret-of-the-client"]
        self.ids: dict[str, str] = {}
        with served(self.config, data=folder / "data") as server:
            self._live(server)
            self.pages = self._pages(server)
        self.provider.stop()
        self.log = server.log
        self.entries = [json.loads(line) for line in self.jan("list", "--limit", "999", "--json").splitlines()]

    def jan(self, *arguments: str, code: int = 0, group: str = "audit") -> str:
        """Run a command; return what it printed, on standard error if it is to fail."""
        command, *rest = arguments
        done = CliRunner().invoke(main, [group, command, "--config", str(self.config), *rest])
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout

    def _live(self, server: ThreadServer) -> None:
        admin = server.connect(server.admin_key, headers={"Authorization": f"Bearer {server.admin_key}", **FAR})
        self.ids["admin"] = admin.get(f"{API}/user/profile").json()["id"]
        made = self._new_key(admin, "First Canaryname")
        key = server.connect(made["key"])
        self.ids |= {"made": made["id"], "child": self._new_key(key, "Second Canaryname")["id"]}
        admin.patch(f"{KEYS}/{made['id']}", json={"name": NAME}).raise_for_status()
        other = self._new_key(admin, "Third Canaryname")
        rotated = admin.post(f"{KEYS}/{other['id']}/rotate").raise_for_status().json()
        self.secrets.append(rotated["key"])
        self.ids |= {"rotated": other["id"], "successor": rotated["id"]}
        admin.delete(f"{KEYS}/{made['id']}", params={"cascade": "true"}).raise_for_status()
        grace = admin.post(f"{API}/users", json={"email": EMAIL, "name": NAME}).raise_for_status().json()["id"]
        self.ids["grace"] = grace
        for changes in ({"disabled": True}, {"disabled": False}, {"role": "admin"}, {"tokens_per_day": 5}):
            admin.patch(f"{API}/users/{grace}", json=changes).raise_for_status()
        for _ in range(FLOOD):
            assert key.get(f"{API}/user/profile", headers=FAR).status_code == 401
        self.jan("add", "canary.beside@example.com", group="user")
        self._sign_in(server)

    def _new_key(self, client: httpx.Client, name: str) -> dict[str, Any]:
        asked = {"name": name, "permissions": ["read", "write", "keys"]}
        made: dict[str, Any] = client.post(KEYS, json=asked).raise_for_status().json()
        self.secrets.append(made["key"])
        return made

    def _sign_in(self, server: ThreadServer) -> None:
        """Sign in and out in several ways; twice with a token that was exchanged before."""
        with server.connect(headers=FAR) as browser:
            begun = Attempt(browser)
            self.provider.says(self.provider.claims(begun.nonce, email="x@elsewhere.example"))
            assert begun.callback().status_code == 403
            tokens = []
            for _ in range(3):
                begun = Attempt(browser)
                self.provider.says(self.provider.claims(begun.nonce, email=EMAIL, name=NAME, sub="canary-subject"))
                tokens.append(begun.callback().raise_for_status().json()["access_token"])
            self.secrets += [*tokens, "canary-subject"]
            first, second, third = ({"Authorization": f"Bearer {token}"} for token in tokens)
            browser.post(f"{API}/auth/refresh", headers=first).raise_for_status()
            assert browser.post(f"{API}/auth/refresh", headers=first).status_code == 401
            browser.post(f"{API}/auth/logout", headers=second).raise_for_status()
            browser.post(f"{API}/auth/logout-everywhere", headers=third).raise_for_status()
            assert browser.get(f"{API}/users", headers=third).status_code == 401

    def _pages(self, server: ThreadServer) -> dict[str, list[dict[str, Any]]]:
        """The lists over HTTP: the administrator's own, everybody's, and another user's own."""
        reader = server.connect(server.admin_key)
        user = server.application.services.users.get(self.ids["grace"])
        token = server.run(server.application.services.sessions.sign_in(server.run(user))).token
        self.secrets.append(token)
        return {
            "own": all_of(reader, f"{API}/user/audit"),
            "all": all_of(reader, f"{API}/audit"),
            "grace": all_of(server.connect(token), f"{API}/user/audit"),
            "revoked": all_of(reader, f"{API}/audit", act="key.revoked", user_id=self.ids["admin"]),
        }

    def acts(self, act: str) -> list[dict[str, Any]]:
        return [entry for entry in self.entries if entry["act"] == act]

    def raw(self) -> bytes:
        """The entries as they are in the store, and the log of the server's life."""
        if self.url.startswith("sqlite:"):
            with sqlite3.connect(self.url.removeprefix("sqlite:///")) as db:
                stored = str(db.execute("SELECT * FROM audit").fetchall())
        else:
            with mongo_client(self.url) as client:
                stored = str(list(client.get_default_database()["audit"].find()))
        return stored.encode() + msgspec.json.encode(self.entries) + msgspec.json.encode(self.pages)


def all_of(client: httpx.Client, path: str, **query: str) -> list[dict[str, Any]]:
    """Return a whole list, read in pages of three."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(path, params={"limit": "3", **query, **cursor}).raise_for_status().json()
        found += page["data"]
        assert page["has_more"] == (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        cursor = {"cursor": page["next_cursor"]}


@pytest.fixture(scope="module", params=["sqlite", "mongodb"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp(f"audit-{request.param}")
    if request.param == "sqlite":
        yield Life(folder, f"sqlite:///{folder}/data/jan.db")
        return
    pytest.importorskip("motor")
    url = request.getfixturevalue("mongodb_url")(f"jan_test_{secrets.token_hex(6)}")
    yield Life(folder, url)
    with mongo_client(url) as client:
        client.drop_database(client.get_default_database().name)


def test_every_act_is_there(life: Life) -> None:
    """Each kind of act has its entries, with who did it, from where and with what, to what."""
    ids = life.ids
    counted: dict[str, int] = {}
    for entry in life.entries:
        counted[entry["act"]] = counted.get(entry["act"], 0) + 1
    assert counted == {
        "chain.began": 2,
        "server.started": 1,
        "server.stopped": 1,
        "key.made": 4,
        "key.renamed": 1,
        "key.rotated": 1,
        "key.revoked": 2,
        "user.added": 3,
        "user.disabled": 1,
        "user.enabled": 1,
        "user.role_changed": 1,
        "user.budget_changed": 1,
        "user.linked": 1,
        "user.signed_in": 4,
        "session.token_reused": 1,
        "session.ended": 1,
        "sessions.all_ended": 1,
        "sign_in.link_made": 1,
        "sign_in.refused": 1,
        "request.refused": 1,
    }
    [rotated] = life.acts("key.rotated")
    assert rotated["actor"] == rotated["user_id"] == ids["admin"]
    assert rotated["address"] == "203.0.113.7"
    assert rotated["credential"].startswith("key_")
    assert (rotated["target"], rotated["details"]) == (ids["rotated"], {"successor": ids["successor"]})
    assert {entry["target"] for entry in life.acts("key.revoked")} == {ids["made"], ids["child"]}
    [child] = [entry for entry in life.acts("key.made") if entry["target"] == ids["child"]]
    assert (child["credential"], child["address"]) == (ids["made"], "127.0.0.1")
    [disabled] = life.acts("user.disabled")
    assert (disabled["actor"], disabled["target"], disabled["user_id"]) == (
        ids["admin"],
        ids["grace"],
        ids["grace"],
    )
    assert life.acts("user.budget_changed")[0]["details"] == {"tokens_per_day": "5"}
    browser = [entry for entry in life.acts("user.signed_in") if entry.get("address") == "203.0.113.7"]
    assert [entry["actor"] for entry in browser] == [ids["grace"]] * 3
    assert all(entry["target"].startswith("sess_") for entry in browser)
    assert len(life.acts("server.started")[0]["details"]["configuration"]) == 64


def test_a_flood_is_one_entry(life: Life) -> None:
    """All refusals of one address in a minute are counted in one entry, with their codes."""
    [refused] = life.acts("request.refused")
    assert refused["count"] == FLOOD + 2
    assert refused["address"] == "203.0.113.7"
    assert sum(map(int, refused["details"].values())) == FLOOD + 2
    assert refused["details"]["token_reused"] == "1"
    [sign_in] = life.acts("sign_in.refused")
    assert sign_in["details"] == {"domain_not_allowed": "1"}


def test_nothing_secret_is_in_it(life: Life) -> None:
    """No secret, name or e-mail address is in any entry, as it is stored, printed or answered, nor in the log."""
    everything = life.raw() + msgspec.json.encode(list(life.log), enc_hook=str)
    assert life.ids["rotated"].encode() in everything
    assert [secret for secret in life.secrets if secret.encode() in everything] == []


def test_people_see_what_was_done_with_their_account(life: Life) -> None:
    """One's own entries newest first, without the address of somebody else; an administrator sees all."""
    own, grace = life.pages["own"], life.pages["grace"]
    assert {entry["user_id"] for entry in own} == {life.ids["admin"]}
    assert {entry["user_id"] for entry in grace} == {life.ids["grace"]}
    assert {"user.disabled", "user.signed_in", "sessions.all_ended"} <= {entry["act"] for entry in grace}
    for entry in grace:
        mine = entry["actor"] == life.ids["grace"]
        assert mine or (entry["address"], entry["credential"]) == (None, None)
    assert any(entry["address"] == "203.0.113.7" for entry in grace)
    times = [entry["created_at"] for entry in life.pages["all"]]
    assert times == sorted(times, reverse=True)
    assert {entry["id"] for entry in own + grace} < {entry["id"] for entry in life.pages["all"]}
    assert {entry["target"] for entry in life.pages["revoked"]} == {life.ids["made"], life.ids["child"]}


def test_the_command_line_lists_and_verifies(life: Life) -> None:
    """Lines for people, whole entries for programs; a chain that is whole, up to the head in the log."""
    listed = life.jan("list", "--act", "user.disabled").split()
    assert listed[1:4] == [life.ids["admin"], "user.disabled", life.ids["grace"]]
    assert life.jan("list", "--actor", "nobody") == ""
    assert life.jan("list", "--since", "2100-01-01") == ""
    assert len(life.jan("list", "--user", life.ids["grace"], "--limit", "2").splitlines()) == 2
    assert "is no time" in life.jan("list", "--since", "yesterday", code=2)
    heads = [str(record["head"]) for record in life.log if record["event"] == "audit"]
    assert "entries in" in life.jan("verify", "--head", heads[0], "--head", heads[-1])
    other = heads[-1][:-1] + ("0" if heads[-1][-1] != "0" else "1")
    assert "is another one" in life.jan("verify", "--head", other, code=1)
    assert "is no head" in life.jan("verify", "--head", "x", code=2)


def test_commands_are_acts_too(life: Life, tmp_path: Path) -> None:
    """Each command that changes something has a chain of its own; an export holds the audit, which verifies in the
    store that imports it."""
    before = len(life.jan("list", "--actor", "command_line", "--limit", "999").splitlines())
    life.jan("add", "canary.command@example.com", group="user")
    life.jan("list", group="user")
    life.jan("export", str(tmp_path / "export.jsonl"), group="store")
    acts = [line.split()[2] for line in life.jan("list", "--actor", "command_line", "--limit", "999").splitlines()]
    assert sorted(acts[: len(acts) - before]) == ["chain.began", "chain.began", "store.exported", "user.added"]

    other = tmp_path / "other.yaml"
    text = life.config.read_text()
    other.write_text(text.replace(f"url: '{life.url}'", f"url: 'sqlite:///{tmp_path}/other.db'"))
    here = life.config
    life.config = other
    try:
        life.jan("import", str(tmp_path / "export.jsonl"), group="store")
        life.jan("import", str(tmp_path / "export.jsonl"), group="store")
        assert "entries in" in life.jan("verify")
        found = life.jan("list", "--limit", "999")
    finally:
        life.config = here
    assert found.count("store.imported") == 2
    assert "key.rotated" in found
    assert "canary.command" not in found


class _Away:
    """An audit that the store does not take."""

    async def append(self, *_arguments: object) -> None:
        raise Unavailable("The store is away.")


def test_no_change_without_its_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes a credential hears of it only when the entry is stored: a new key's secret is not given out.
    The entries are stored once the store takes them."""
    monkeypatch.setattr(chain_writer, "_RETRY_SECONDS", 0.05)
    with served(data=tmp_path) as server:
        trail = server.application.services.audit
        admin = server.admin
        admin.post(KEYS, json={"name": "a"}).raise_for_status()
        # An orderly start has no entry that waits.
        assert not any(record["event"].startswith("audit entries") for record in server.log)
        log = trail._writer._store
        trail._writer._store = _Away()  # type: ignore[assignment]  # only what is called
        refused = admin.post(KEYS, json={"name": "b"})
        assert refused.status_code == 503
        assert "jan_" not in refused.text
        [first, *_] = admin.get(KEYS, params={"limit": "9"}).json()["data"]
        assert admin.patch(f"{KEYS}/{first['id']}", json={"name": "c"}).status_code == 503
        assert admin.get(f"{API}/user/profile").status_code == 200
        trail._writer._store = log
        admin.post(KEYS, json={"name": "d"}).raise_for_status()
        acts = [entry["act"] for entry in admin.get(f"{API}/user/audit").json()["data"]]
        assert (acts.count("key.made"), acts.count("key.renamed")) == (4, 1)
        assert [record["event"] for record in server.errors] == []


def test_a_crash_ends_a_chain(tmp_path: Path) -> None:
    """The chain of a server that was killed is whole, and the next server's chain names its last entry."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/data\n")
    process = ServerProcess(config)
    process.kill_if_running()
    [head] = [line["head"] for line in process.log if line["event"] == "audit"]
    with served(config, data=tmp_path / "data") as server:
        admin = server.connect(process.admin_key)
        admin.post(KEYS, json={"name": "a"}).raise_for_status()
        entries = admin.get(f"{API}/audit", params={"act": "chain.began"}).json()["data"]
        assert len(entries) == 2
        found = server.run(server.application.services.audit.page(limit=9))
        [named] = [entry.after for entry in found.items if entry.after]
        assert named[0].split(":")[0] == head.split(":")[0]
        assert server.run(server.application.services.audit.verify([parse_head(named[0])])).chains == 2
