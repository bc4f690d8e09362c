"""Presets in the dialog of settings: saved, chosen, changed, and the default of new conversations."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page
from support.page import PageVisit

pytestmark = pytest.mark.browser

PRESETS = "/v1/user/presets"
BUTTON = "dialog section button >> text="


def open_settings(page: Page) -> None:
    """Open the dialog and wait for its presets."""
    page.click(".top button[title=More]")
    page.click("[role=menuitem] >> text=Settings")
    page.wait_for_selector("#preset:not([disabled])")


def save_as(page: Page, name: str) -> None:
    page.click(f"{BUTTON}Save as a preset")
    page.fill("#preset-name", name)
    page.keyboard.press("Enter")


def said(page: Page, words: str) -> None:
    page.wait_for_selector(f"#preset-said >> text={words}")


def kept(client: httpx.Client) -> list[tuple[str, str, Any, str | None, bool]]:
    """Name, system prompt, options, model, default of each preset."""
    found = client.get(PRESETS).json()["data"]
    return [(one["name"], one["system_prompt"], one["options"], one["model"], one["default"]) for one in found]


def test_a_preset_is_saved_chosen_and_changed(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Choosing fills the fields; what is overwritten or deleted can be taken back; a name is taken once."""
    page = visit.page
    with visit.server.connect(signed_in()) as client:
        open_settings(page)
        page.fill("#set-system", "Be exact.")
        page.fill("#set-temperature", "0.5")
        save_as(page, "Exact")
        said(page, "Saved: Exact")
        assert kept(client) == [("Exact", "Be exact.", {"temperature": 0.5}, None, False)]
        page.fill("#set-temperature", "1.5")
        page.check("#preset-model")
        save_as(page, "exact")
        page.wait_for_selector("[role=alert] >> text=Another preset has this name.")
        page.fill("#preset-name", "Lively")
        page.keyboard.press("Enter")
        said(page, "Saved: Lively")
        assert kept(client)[1] == ("Lively", "Be exact.", {"temperature": 1.5}, "echo", False)
        page.select_option("#preset", label="Exact")
        assert (page.input_value("#set-temperature"), page.is_checked("#preset-model")) == ("0.5", False)
        page.fill("#set-top_k", "40")
        page.click(f"{BUTTON}Overwrite")
        said(page, "Saved: Exact")
        assert kept(client)[0][2] == {"temperature": 0.5, "top_k": 40}
        page.click("#preset-said button")
        said(page, "As before: Exact")
        assert kept(client)[0][2] == {"temperature": 0.5}
        page.click(f"{BUTTON}Rename preset")
        page.fill("#preset-name", "Precise")
        page.keyboard.press("Enter")
        said(page, "Saved: Precise")
        page.click(f"{BUTTON}Delete preset")
        said(page, "Deleted: Precise")
        assert [one[0] for one in kept(client)] == ["Lively"]
        assert page.input_value("#preset") == ""
        page.click("#preset-said button")
        said(page, "Saved: Precise")
        assert {one[0] for one in kept(client)} == {"Lively", "Precise"}
    # Its own refusal of the name that was taken.
    visit.complaints[:] = [told for told in visit.complaints if not told.startswith("409")]


def test_choosing_none_brings_back_what_was_written(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Also the system prompt; a preset that has the settings of the conversation is shown as chosen."""
    with visit.server.connect(signed_in()) as client:
        body = {"name": "Exact", "system_prompt": "Be exact.", "options": {"top_p": 0.25, "presence_penalty": 1}}
        client.post(PRESETS, json=body).raise_for_status()
    page = visit.page
    open_settings(page)
    page.fill("#set-system", "A long text that took an hour.")
    page.select_option("#preset", label="Exact")
    assert (page.input_value("#set-system"), page.input_value("#set-presence_penalty")) == ("Be exact.", "1")
    page.select_option("#preset", label="No preset")
    assert (page.input_value("#set-system"), page.input_value("#set-top_p")) == (
        "A long text that took an hour.",
        "",
    )
    page.select_option("#preset", label="Exact")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("dialog", state="detached")
    open_settings(page)
    assert page.locator("#preset option:checked").text_content() == "Exact"


def test_new_conversations_begin_with_the_default(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """Its model, system prompt and options hold for the first question; the screen says so before."""
    page = visit.page
    with visit.server.connect(signed_in()) as client:
        body = {"name": "Short", "model": "thinker", "system_prompt": "Be brief.", "options": {"max_tokens": 3}}
        client.post(PRESETS, json=body).raise_for_status()
        open_settings(page)
        page.select_option("#preset", label="Short")
        page.click(f"{BUTTON}Default for new conversations")
        said(page, "New conversations begin with “Short”.")
        assert page.locator("#preset option:checked").text_content() == "Short (default)"
        assert kept(client)[0][4] is True
        page.keyboard.press("Escape")
        page.wait_for_selector("dialog", state="detached")
        visit.open()
        page.wait_for_selector("#begins >> text=Begins with the preset “Short”.")
        visit.ask("one two three four five six")
        visit.answers()
        [conversation] = client.get("/v1/conversations").json()["data"]
        assert (conversation["model"], conversation["metadata"]["page"]) == ("thinker", '{"max_tokens":3}')
        found = client.get(f"/v1/conversations/{conversation['id']}").json()["messages"]["data"]
        assert [(one["role"], one["content"]) for one in found[:1]] == [("system", "Be brief.")]
        assert found[-1]["usage"]["completion_tokens"] == 3


def test_a_model_that_is_gone_is_named(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """The present one stays; one that is there is asked from then on."""
    with visit.server.connect(signed_in()) as client:
        for name, model in (("Old", "nowhere"), ("New", "small")):
            client.post(PRESETS, json={"name": name, "model": model}).raise_for_status()
    page = visit.page
    open_settings(page)
    page.select_option("#preset", label="Old")
    said(page, "The model nowhere is not served now.")
    page.wait_for_selector("#preset-model:not(:checked)")
    page.select_option("#preset", label="New")
    page.click("dialog button[type=submit]")
    page.wait_for_selector("jan-composer button[aria-label*='small']")
    open_settings(page)
    assert (page.input_value("#preset"), page.is_checked("#preset-model")) == ("", False)
    assert page.text_content("label[for=preset-model]") == "With the model small"


def test_the_keyboard_and_a_narrow_window_suffice(visit: PageVisit, signed_in: Callable[[], str]) -> None:
    """At 320 px nothing is cut off; Tab reaches all, Escape leaves the name and not the dialog."""
    with visit.server.connect(signed_in()) as client:
        client.post(PRESETS, json={"name": "x" * 100}).raise_for_status()
        page = visit.page
        page.set_viewport_size({"width": 320, "height": 640})
        open_settings(page)
        assert page.evaluate("() => document.querySelector('dialog').scrollWidth <= innerWidth")
        page.focus("#preset")
        page.keyboard.press("ArrowDown")
        page.wait_for_selector(f"{BUTTON}Overwrite")
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_selector("#preset-name:focus")
        page.keyboard.type("Typed")
        page.keyboard.press("Escape")
        page.wait_for_selector("#preset-name", state="detached")
        assert page.is_visible("dialog")
        page.keyboard.press("Enter")
        page.wait_for_selector("#preset-name:focus")
        page.keyboard.type("Typed")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        said(page, "Saved: Typed")
        assert [one[0] for one in kept(client)] == ["x" * 100, "Typed"]
        page.wait_for_selector("#preset:focus")
        page.set_viewport_size({"width": 1280, "height": 900})
