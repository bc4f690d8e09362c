"""Folders of conversations through HTTP, on both backends."""

from typing import Any

import httpx
import pytest
from support.conversation import CONVERSATIONS, new_conversation, pages

FOLDERS = f"{CONVERSATIONS}/folders"


def filled(client: httpx.Client, folder: str, *titles: str, **fields: Any) -> list[str]:
    """The ids of new conversations in a folder."""
    made = [new_conversation(client, title=title) for title in titles]
    for ident in made:
        assert client.patch(f"{CONVERSATIONS}/{ident}", json={"folder": folder, **fields}).status_code == 200
    return made


def counts(client: httpx.Client, **filters: Any) -> dict[str, int]:
    """The folders and their numbers, read two at a time, in order."""
    found = [one for page in pages(client, FOLDERS, limit=2, **filters) for one in page]
    assert {one["object"] for one in found} <= {"conversation.folder"}
    return {one["name"]: one["count"] for one in found}


def moved(client: httpx.Client, folder: str, to: str | None) -> int:
    answer = client.patch(FOLDERS, json={"folder": folder, "to": to})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"object": "conversation.folder.moved", "folder": folder, "to": to, **answer.json()}
    number: int = answer.json()["moved"]
    return number


def test_folders_are_listed_with_their_numbers(me: httpx.Client, somebody: httpx.Client) -> None:
    """In the order of their names, those of the caller alone; archived conversations are counted or not."""
    assert counts(me) == {}
    new_conversation(me, title="in none")
    first, _ = filled(me, "b/b", "1", "2")
    filled(me, "a", "3")
    filled(me, "É", "4", archived=True)
    filled(me, "b/b", "5", archived=True)
    filled(somebody, "theirs", "6")
    assert list(counts(me).items()) == [("a", 1), ("b/b", 3), ("É", 1)]
    assert counts(me, archived="false") == {"a": 1, "b/b": 2}
    assert counts(me, archived="true") == {"b/b": 1, "É": 1}
    me.patch(f"{CONVERSATIONS}/{first}", json={"pinned": True})
    assert counts(me, pinned="true") == {"b/b": 1}
    assert counts(me, pinned="false", archived="false") == {"a": 1, "b/b": 1}
    assert counts(somebody) == {"theirs": 1}


def test_a_folder_is_renamed_joined_and_removed(me: httpx.Client, somebody: httpx.Client) -> None:
    """With all that is in it, archived ones too; times of change, and others' folders, stay."""
    (first,) = filled(me, "Garden", "1")
    filled(me, "Garden", "2", archived=True)
    filled(me, "Kitchen", "3")
    filled(somebody, "Garden", "4")
    before = me.get(f"{CONVERSATIONS}/{first}").json()
    assert moved(me, "Garden", "Плодове") == 2
    assert counts(me) == {"Kitchen": 1, "Плодове": 2}
    assert me.get(f"{CONVERSATIONS}/{first}").json() == before | {"folder": "Плодове"}
    assert moved(me, "Плодове", "Kitchen") == 2
    assert counts(me) == {"Kitchen": 3}
    assert moved(me, "Kitchen", None) == 3
    assert counts(me) == {}
    listed = me.get(CONVERSATIONS).json()["data"]
    assert [one["title"] for one in listed] == ["3", "2", "1"]
    assert not [one for one in listed if "folder" in one]
    assert moved(me, "Kitchen", "Garden") == 0
    assert counts(somebody) == {"Garden": 1}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"folder": "Garden"}, "to"),
        ({"to": "x"}, "folder"),
        ({"folder": "", "to": "x"}, "folder"),
        ({"folder": "Garden", "to": "x" * 101}, "to"),
        ({"folder": "Garden", "to": "a\u202eb"}, "to"),
        ({"folder": "Garden", "to": "x", "name": "y"}, "name"),
    ],
    ids=["no-to", "no-folder", "empty", "long", "reversed", "unknown"],
)
def test_a_wrong_move_is_refused(me: httpx.Client, body: dict[str, Any], param: str) -> None:
    """And named; nothing is moved."""
    filled(me, "Garden", "1")
    answer = me.patch(FOLDERS, json=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["param"] == param
    assert counts(me) == {"Garden": 1}


@pytest.mark.parametrize(
    "cursor", ["x" * 101, "a\x00b", "a\u202eb", " ", ""], ids=["long", "nul", "reversed", "blank", "empty"]
)
def test_a_wrong_cursor_is_refused(me: httpx.Client, cursor: str) -> None:
    """As in every list: it is no name of a folder."""
    answer = me.get(FOLDERS, params={"cursor": cursor})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_cursor")
