"""Presets through HTTP, on both backends."""

from typing import Any

import httpx
from support.conversation import API, pages
from support.server import DEFAULT_CONFIG

from jan.routing.openapi import build_document
from jan.routing.table import resolve_routes
from jan.settings.load import load_settings

PRESETS = f"{API}/user/presets"


def made(client: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = client.post(PRESETS, json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def refused(answer: httpx.Response, status: int, param: str | None) -> str:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    message: str = error["message"]
    return message


def test_a_preset_is_made_read_changed_and_deleted(me: httpx.Client, somebody: httpx.Client) -> None:
    """What was set comes back, what was not is left out; others find nothing of it."""
    options = {"temperature": 0.5, "seed": 7, "reasoning_effort": "low"}
    preset = made(me, name="Exact", model="echo", system_prompt="Be exact.\n", options=options)
    assert (preset["object"], preset["name"], preset["model"]) == ("preset", "Exact", "echo")
    assert (preset["system_prompt"], preset["options"], preset["default"]) == ("Be exact.\n", options, False)
    url = f"{PRESETS}/{preset['id']}"
    assert me.get(url).json() == preset
    assert me.patch(url, json={}).json() == preset
    changed = me.patch(url, json={"options": {"top_k": 5}, "model": None}).json()
    assert (changed["options"], changed["model"], changed["system_prompt"]) == ({"top_k": 5}, None, "Be exact.\n")
    emptied = me.patch(url, json={"options": None, "system_prompt": None}).json()
    assert (emptied["options"], emptied["system_prompt"], emptied["name"]) == ({}, "", "Exact")
    for answer in (somebody.get(url), somebody.patch(url, json={"name": "Mine"}), somebody.delete(url)):
        refused(answer, 404, None)
    assert somebody.get(PRESETS).json()["data"] == []
    gone = me.delete(url)
    assert gone.json() == {"id": preset["id"], "object": "preset.deleted", "deleted": True}
    for answer in (me.get(url), me.delete(url)):
        refused(answer, 404, None)


def test_a_name_is_taken_once(me: httpx.Client, somebody: httpx.Client) -> None:
    """409, and nothing of the request happens; another user may have it."""
    first, second = made(me, name="Exact", default=True), made(me, name="Other")
    refused(me.post(PRESETS, json={"name": "EXACT ", "default": True}), 409, "name")
    body = {"name": "exact", "default": True, "model": "m"}
    refused(me.patch(f"{PRESETS}/{second['id']}", json=body), 409, "name")
    assert me.get(f"{PRESETS}/{second['id']}").json() == second
    assert me.get(f"{PRESETS}/{first['id']}").json()["default"] is True
    made(somebody, name="Exact")


def test_one_is_the_default(me: httpx.Client) -> None:
    """The newest that was set; lists find it, and the others."""
    first, second = made(me, name="a", default=True), made(me, name="b", default=True)
    assert second["default"] is True

    def listed(**query: str) -> list[str]:
        return sorted(one["name"] for page in pages(me, PRESETS, limit=1, **query) for one in page)

    assert (listed(), listed(default="true"), listed(default="false")) == (["a", "b"], ["b"], ["a"])
    me.patch(f"{PRESETS}/{first['id']}", json={"default": True}).raise_for_status()
    assert listed(default="true") == ["a"]
    me.patch(f"{PRESETS}/{first['id']}", json={"default": False}).raise_for_status()
    assert (listed(default="true"), listed(default="false")) == ([], ["a", "b"])


def test_what_is_wrong_is_named(me: httpx.Client) -> None:
    """400 with the name of the field, and nothing is stored or changed."""
    preset = made(me, name="kept", options={"top_p": 0.5})
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"name": "x" * 101}, "name"),
        ({"name": None}, "name"),
        ({"system_prompt": "x" * 20_001}, "system_prompt"),
        ({"model": "m" * 129}, "model"),
        ({"default": "yes"}, "default"),
        ({"options": {"temperature": 2.5}}, "options.temperature"),
        ({"options": {"temperature": "1"}}, "options.temperature"),
        ({"options": {"max_tokens": -2}}, "options.max_tokens"),
        ({"options": {"stop": "a"}}, "options.stop"),
        ({"options": {"reasoning_effort": "much"}}, "options.reasoning_effort"),
        ({"options": []}, "options"),
        ({"colour": "red"}, "colour"),
    )
    for body, param in wrong:
        assert refused(me.post(PRESETS, json={"name": "x", **body}), 400, param)
        assert refused(me.patch(f"{PRESETS}/{preset['id']}", json={"name": "x", **body}), 400, param)
    assert refused(me.post(PRESETS, json={}), 400, "name")
    assert me.get(PRESETS).json()["data"] == [preset]
    for query in ({"limit": "101"}, {"cursor": "zz"}, {"default": "maybe"}, {"page": "2"}):
        assert refused(me.get(PRESETS, params=query), 400, next(iter(query)))


def test_options_have_the_bounds_of_requests() -> None:
    """A preset that is kept can be sent to a model."""
    settings = load_settings(DEFAULT_CONFIG, environ={})
    schemas = build_document(resolve_routes(settings.routes, settings.server.api_prefixes))["components"][
        "schemas"
    ]
    asked, kept = (schemas[name]["properties"] for name in ("ChatCompletionRequest", "PresetOptions"))
    facts = ("type", "minimum", "maximum", "exclusiveMinimum", "enum")
    assert len(kept) == 10
    for name, schema in kept.items():
        theirs, ours = (
            [{fact: one.get(fact) for fact in facts} for one in s["anyOf"]] for s in (asked[name], schema)
        )
        assert ours == theirs, name
