"""Names and titles are visible text: on the wire, from a sign-in provider, and from a message or an import."""

import json
import secrets
from typing import Any

import httpx
import pytest
from support.conversation import API, CONVERSATIONS, StoredServer, append, new_conversation

KEYS = f"{API}/user/api-keys"
PRESETS = f"{API}/user/presets"
UNSEEN = {
    "escape": "\x1b[31mred",
    "nul": "\x00",
    "line feed at the end": "a\n",
    "line feed": "a\r\nforged",
    "tab": "a\tb",
    "C1": "a\x9b31m",
    "bidirectional override": "\u202egnp.exe",
    "isolate": "a\u2066b",
    "mark": "a\u200fb",
    "Arabic mark": "a\u061cb",
    "zero-width space": "boss\u200b",
    "joiner": "a\u200db",
    "word joiner": "a\u2060b",
    "byte order mark": "\ufeffa",
    "soft hyphen": "a\u00adb",
    "line separator": "a\u2028b",
    "tag": "a\U000e0041",
    "filler": "\u3164",
    "blank": " ",
    "blanks": "\u00a0\u3000",
}
SEEN = ["Ada", "  two  blanks ", "Zoë", "山田 太郎", "I ❤️ JSON 😀", "سلام", "שלום", "x" * 200]


@pytest.mark.parametrize("text", UNSEEN.values(), ids=UNSEEN)
def test_unseen_characters_are_refused(stored_server: StoredServer, text: str) -> None:
    """Each is a 400 that names the field and says what is allowed, and changes nothing."""
    with stored_server.client() as admin:
        me = admin.get(f"{API}/user/profile").json()
        key = next(key["id"] for key in admin.get(KEYS).json()["data"])
        conversation = new_conversation(admin, title="kept")
        preset = admin.post(PRESETS, json={"name": secrets.token_hex(4)}).json()
        calls: list[tuple[str, str, str, dict[str, Any]]] = [
            ("PATCH", f"{API}/user/profile", "name", {}),
            ("PATCH", f"{API}/users/{me['id']}", "name", {}),
            ("POST", f"{API}/users", "name", {"email": "x@example.org"}),
            ("POST", KEYS, "name", {}),
            ("PATCH", f"{KEYS}/{key}", "name", {}),
            ("POST", PRESETS, "name", {}),
            ("PATCH", f"{PRESETS}/{preset['id']}", "name", {}),
            ("POST", CONVERSATIONS, "title", {}),
            ("PATCH", f"{CONVERSATIONS}/{conversation}", "title", {}),
        ]
        for method, url, field, body in calls:
            refused = admin.request(method, url, json={**body, field: text})
            assert refused.status_code == 400, (method, url)
            error = refused.json()["error"]
            assert error["param"] == field
            assert "Must be visible text; allowed: no control, bidirectional or zero-width" in error["message"]
        assert admin.get(f"{API}/user/profile").json() == me
        assert admin.get(f"{CONVERSATIONS}/{conversation}").json()["title"] == "kept"
        assert admin.get(f"{PRESETS}/{preset['id']}").json() == preset


def test_other_characters_come_back(me: httpx.Client) -> None:
    """Any script, emoji of one character and blanks inside are names. A conversation may have no title."""
    for text in SEEN:
        assert me.patch(f"{API}/user/profile", json={"name": text}).json()["name"] == text
        assert me.post(CONVERSATIONS, json={"title": text}).json()["title"] == text
    for nothing in ("", None):
        assert me.post(CONVERSATIONS, json={"title": nothing}).json()["title"] == ""


def test_titles_from_messages_and_imports_are_cleaned(me: httpx.Client) -> None:
    """The message stays as it is; the title made of it, or of an older export, shows all it holds."""
    conversation = new_conversation(me)
    text = "\u202e\x1b[31mHel\u200blo\u2028there\x00"
    assert append(me, conversation, text)["content"] == text
    assert me.get(f"{CONVERSATIONS}/{conversation}").json()["title"] == "[31mHello there"
    exported = me.get(f"{CONVERSATIONS}/{conversation}/export")
    lines = [json.loads(line) for line in exported.text.strip().split("\n")]
    lines[0]["title"] = "old\u200b\ntitle"
    restored = me.post(f"{CONVERSATIONS}/import", content="\n".join(map(json.dumps, lines)))
    assert restored.status_code == 200, restored.text
    assert restored.json()["title"] == "old title"
