"""Pins, folders and archive of conversations through HTTP, on both backends."""

from typing import Any

import httpx
import pytest
from support.conversation import CONVERSATIONS, append, new_conversation, pages


def set_in(client: httpx.Client, ident: str, **fields: Any) -> dict[str, Any]:
    answer = client.patch(f"{CONVERSATIONS}/{ident}", json=fields)
    assert answer.status_code == 200, answer.text
    changed: dict[str, Any] = answer.json()
    return changed


def listed(client: httpx.Client, **filters: Any) -> list[str]:
    """The titles of a list, read two at a time."""
    return [one["title"] for page in pages(client, CONVERSATIONS, limit=2, **filters) for one in page]


def test_lists_are_filtered_by_pins_folders_and_archive(me: httpx.Client) -> None:
    """Alone and together; who asks for none of them gets all, in the order of change."""
    ident = {title: new_conversation(me, title=title) for title in "abcdef"}
    set_in(me, ident["b"], pinned=True)
    set_in(me, ident["e"], pinned=True, folder="Garden")
    set_in(me, ident["c"], folder="Garden")
    set_in(me, ident["a"], archived=True, folder="garden")
    assert listed(me) == list("fedcba")
    for filters, titles in (
        ({"pinned": "true"}, "eb"),
        ({"pinned": "false"}, "fdca"),
        ({"archived": "true"}, "a"),
        ({"archived": "false"}, "fedcb"),
        ({"folder": "Garden"}, "ec"),
        ({"folder": ""}, "fdb"),
        ({"folder": "Garden", "pinned": "true", "archived": "false"}, "e"),
        ({"folder": "", "q": "D"}, "d"),
        ({"folder": "none"}, ""),
    ):
        assert (filters, listed(me, **filters)) == (filters, list(titles))


def test_sorting_a_conversation_leaves_its_time_of_change(me: httpx.Client) -> None:
    """What is false or empty is left out of answers; a change of something else says when it was."""
    ident = new_conversation(me, title="plain")
    plain = me.get(f"{CONVERSATIONS}/{ident}").json()
    assert not {"pinned", "archived", "folder"} & set(plain)
    pinned = set_in(me, ident, pinned=True, archived=True, folder="Café")
    assert (pinned["pinned"], pinned["archived"], pinned["folder"]) == (True, True, "Café")
    assert pinned["updated_at"] == plain["updated_at"]
    renamed = set_in(me, ident, title="renamed")
    assert (renamed["pinned"], renamed["folder"]) == (True, "Café")
    undone = set_in(me, ident, pinned=False, archived=False, folder=None)
    assert not {"pinned", "archived", "folder"} & set(undone)


def test_an_export_keeps_pins_folder_and_archive(me: httpx.Client) -> None:
    """And an import of it has them again."""
    ident = new_conversation(me, title="kept")
    append(me, ident, "hello")
    set_in(me, ident, pinned=True, archived=True, folder="Garden")
    exported = me.get(f"{CONVERSATIONS}/{ident}/export").content
    kind = {"Content-Type": "application/jsonl"}
    copy = me.post(f"{CONVERSATIONS}/import", content=exported, headers=kind).json()
    assert copy["id"] != ident
    assert (copy["pinned"], copy["archived"], copy["folder"]) == (True, True, "Garden")


@pytest.mark.parametrize(
    "fields", [{"pinned": None}, {"archived": "yes"}, {"folder": "x" * 101}, {"folder": "a\nb"}, {"pinned": 1}]
)
def test_a_wrong_place_is_refused(me: httpx.Client, fields: dict[str, Any]) -> None:
    """And named; nothing is changed."""
    ident = new_conversation(me, title="kept")
    before = me.get(f"{CONVERSATIONS}/{ident}").json()
    answer = me.patch(f"{CONVERSATIONS}/{ident}", json=fields)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["param"] in fields
    assert me.get(f"{CONVERSATIONS}/{ident}").json() == before
