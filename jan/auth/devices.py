"""Names of devices for people, by what their programs say of themselves."""

import re
from functools import lru_cache

# The first match counts: browsers also name those that they resemble.
_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox", "Firefox"),
    ("FxiOS", "Firefox"),
    ("CriOS", "Chrome"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
)
_PROGRAM = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,39}")
# A User-Agent is read up to this many characters.
_LONGEST = 400


@lru_cache(256)
def device_of(user_agent: str) -> str:
    """Return a name such as "Firefox on Linux", or the name of a program such as "curl"; '' if nothing is known.

    It is for people only: a client can say anything.
    """
    text = user_agent[:_LONGEST]
    browser = next((name for sign, name in _BROWSERS if f"{sign}/" in text), "")
    system = next((name for sign, name in _SYSTEMS if sign in text), "")
    if browser or (system and text.startswith("Mozilla/")):
        return " on ".join(filter(None, (browser or "Browser", system)))
    found = _PROGRAM.match(text)
    return found[0] if found else ""
