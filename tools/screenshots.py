"""Make the pictures of the web page: `tools/screenshots [FOLDER]`, by default docs/."""

import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from playwright.sync_api import Page
from support.browser import chromium

from jan.testing import ThreadServer, served

CONFIGURATION = """
extends: default
shares: {enabled: true}
limits: {user: {tokens_per_minute: 20000, tokens_per_day: 1000000}}
models:
  - {id: garden-8b, engine: echo, options: {tool_format: hermes, reasoning: auto, context: 32768}}
  - {id: garden-70b, engine: echo, load: lazy}
"""
QUESTION = "When do I sow tomatoes on a balcony, and how much water do they need?"
ANSWER = """Sow **indoors** in late March. The balcony follows after the last frost:

| Week | What to do | Light |
|---|---|--:|
| 1 | Sow 1 cm deep, at 22 °C | 14 hours |
| 8 | Plant out, one to a pot | sun |

A pot of the area $A$ and the depth $d$ takes:

$$V = A \\cdot d$$

```python
def litres(area: float, depth: float) -> float:
    return 1000 * area * depth
```
"""
OTHERS = ("Regex for ISO dates", "Letter to the landlord", "Names for a boat", "Thai curry for six")


class Picture(NamedTuple):
    """A file, the place of the page, and what to wait for. ``width``, ``height``: pixels."""

    name: str
    place: str
    shown: str
    scheme: Any
    width: int
    height: int


def filled(client: httpx.Client) -> str:
    """Store conversations, with two versions of a question in the last one; return its id."""
    client.patch("/v1/user/profile", json={"name": "Ada"})
    for title in OTHERS:
        made = client.post("/v1/conversations", json={"title": title, "model": "garden-8b"}).json()
        if title == OTHERS[0]:
            client.patch(f"/v1/conversations/{made['id']}", json={"pinned": True})
        if title == OTHERS[1]:
            client.patch(f"/v1/conversations/{made['id']}", json={"folder": "Home"})
    made = client.post("/v1/conversations", json={"title": "Tomatoes on a balcony", "model": "garden-8b"}).json()
    for question, answer in (("When do I sow tomatoes?", "In late March, indoors."), (QUESTION, ANSWER)):
        asked = {"role": "user", "content": question, "parent_id": None}
        parent = client.post(f"/v1/conversations/{made['id']}/messages", json=asked).json()["id"]
        said = {"role": "assistant", "content": answer, "parent_id": parent, "model": "garden-8b"}
        client.post(f"/v1/conversations/{made['id']}/messages", json=said)
    for name, permissions in (("Laptop", ["inference"]), ("Backup", ["read"])):
        client.post("/v1/user/api-keys", json={"name": name, "permissions": permissions})
    return str(made["id"])


def pictures(conversation: str) -> tuple[Picture, ...]:
    """Return all pictures."""
    thread = ".text table"
    return (
        Picture("page-light", f"?c={conversation}", thread, "light", 1024, 690),
        Picture("page-dark", f"?c={conversation}", thread, "dark", 1024, 690),
        Picture("page-tree", f"?view=tree&c={conversation}", ".split .text", "light", 1024, 520),
        Picture("page-phone", f"?c={conversation}", thread, "dark", 390, 780),
        Picture("page-keys", "?account=keys", "tbody", "light", 390, 640),
    )


def sign_in(page: Page, server: ThreadServer, key: str) -> None:
    """Sign in with an API key."""
    page.goto(server.url)
    page.fill("#key", key)
    page.keyboard.press("Enter")
    page.wait_for_selector("jan-composer textarea")


def main(folder: Path) -> None:
    """Write the pictures into a folder."""
    with served(CONFIGURATION) as server, tempfile.TemporaryDirectory() as profile:
        key = server.add_user()
        conversation = filled(server.connect(key))
        with chromium(Path(profile), locale="en-GB", reduced_motion="reduce") as context:
            page = context.new_page()
            sign_in(page, server, key)
            for picture in pictures(conversation):
                page.set_viewport_size({"width": picture.width, "height": picture.height})
                page.emulate_media(color_scheme=picture.scheme)
                page.goto(f"{server.url}/{picture.place}")
                page.wait_for_selector(picture.shown)
                page.wait_for_load_state("networkidle")
                page.evaluate("() => { scrollTo(0, 0); document.activeElement.blur(); }")
                file = folder / f"{picture.name}.png"
                page.screenshot(path=file)
                print(f"{file} {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))
