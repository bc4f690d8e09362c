"""Pins, archive and folders of other applications, by POST /imports on both stores."""

import json
from typing import Any

import httpx
import pytest
from support.conversation import API, CONVERSATIONS
from support.foreign_exports import MAKERS, Made

FOLDER = "5f0c7a12-1111-4000-8000-000000000000"
PLACES: tuple[tuple[str, Made, dict[str, Any]], ...] = (
    ("chatgpt", {"is_archived": True, "is_starred": True}, {"archived": True, "pinned": True}),
    ("chatgpt", {"is_archived": False, "is_starred": None, "pinned_time": 1.75e9}, {"pinned": True}),
    ("claude", {"is_starred": True}, {"pinned": True}),
    ("librechat", {"options": {"isArchived": True}}, {"archived": True}),
    ("lm-studio", {"pinned": True}, {"pinned": True}),
    (
        "open-webui",
        {"archived": True, "pinned": True, "folder_id": FOLDER},
        {"archived": True, "pinned": True, "folder": "Open WebUI 5f0c7a12"},
    ),
    ("open-webui", {"pinned": None, "archived": "yes", "folder_id": None}, {}),
    ("open-webui", {"folder_id": "\u202e\x00" + "x" * 500}, {"folder": "Open WebUI xxxxxx"}),
)


@pytest.mark.parametrize(
    ("kind", "fields", "places"), PLACES, ids=[f"{kind}-{n}" for n, (kind, *_) in enumerate(PLACES)]
)
def test_a_conversation_stays_where_it_was(
    me: httpx.Client, kind: str, fields: Made, places: dict[str, Any]
) -> None:
    """What the export does not say, or says in another type, is left out."""
    content = json.dumps({**MAKERS[kind](1), **fields})
    report = me.post(f"{API}/imports", content=content).json()
    assert (report["imported"], report["skipped"]) == (1, [])
    (found,) = me.get(CONVERSATIONS).json()["data"]
    assert {name: found[name] for name in ("pinned", "archived", "folder") if name in found} == places


def test_a_pin_of_the_page_of_llamacpp_is_kept(me: httpx.Client) -> None:
    """Where its conversations say it."""
    made = MAKERS["llama.cpp"](1)
    made["conv"]["pinned"] = True
    assert me.post(f"{API}/imports", json=made).json()["imported"] == 1
    assert [one["title"] for one in me.get(CONVERSATIONS, params={"pinned": "true"}).json()["data"]] == ["Talk 1"]
