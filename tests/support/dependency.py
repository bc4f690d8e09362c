"""The dependencies of this server, by setup.cfg and by what is installed, and the licences they may have."""

from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from email.message import Message
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from boolean import ParseError
from license_expression import ExpressionError, Licensing, get_spdx_licensing
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.server import ROOT

#: SPDX identifiers of licences that let anyone use, change and pass on what is under them.
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "HPND", "ISC"),
    *("MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib"),
}
#: What metadata from before SPDX expressions calls them.
OLD_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "Historical Permission Notice and Disclaimer (HPND)": "HPND",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}


def requirements(extra: str = "") -> list[Requirement]:
    """Return the requirements in setup.cfg: of the core, or of one extra."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = setup["options.extras_require"][extra] if extra else setup["options"]["install_requires"]
    return [Requirement(line) for line in listed.splitlines() if line and not line.startswith("#")]


def extras() -> list[str]:
    """The names of setup.cfg's extras."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return list(setup["options.extras_require"])


def missing(extra: str = "") -> list[str]:
    """Which of the direct requirements aren't installed."""
    return [asked.name for asked in requirements(extra) if _find(asked.name) is None]


def pulled_in(extra: str = "") -> dict[str, Distribution]:
    """Everything that these requirements have installed, whoever asked for it, by canonical name."""
    found: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(asked.name, wanted) for asked in requirements(extra) for wanted in ("", *asked.extras)]
    while waiting:
        name, wanted = waiting.pop()
        key = canonicalize_name(name), wanted
        if key in seen or (package := _find(name)) is None:
            continue
        seen.add(key)
        found[key[0]] = package
        waiting.extend(_needs(package, wanted))
    return found


def _needs(package: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for line in package.requires or []:
        asked = Requirement(line)
        if asked.marker is None or asked.marker.evaluate({"extra": extra}):
            yield from ((asked.name, wanted) for wanted in ("", *asked.extras))


@cache
def _find(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def licence(metadata: Message) -> str:
    """What a package says its licence is, as an SPDX expression where it says so; '' if nowhere.

    The classifiers of older metadata don't tell 'and' from 'or': each counts as one that binds.
    """
    if expression := metadata.get("License-Expression"):
        return str(expression)
    named = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    if named:
        return " AND ".join(OLD_NAMES.get(name, name) for name in named)
    text = str(metadata.get("License") or "").strip()
    return OLD_NAMES.get(text, text)


@cache
def _spdx() -> Licensing:
    """All licences by their identifiers; reading them takes a while."""
    return get_spdx_licensing()


@cache
def allowed(expression: str) -> bool:
    """Return True if allowed licences alone can satisfy an SPDX expression. Other text can't."""
    try:
        return _met(_spdx().parse(expression, validate=True))
    except (ExpressionError, ParseError):
        return False


def _met(node: object) -> bool:
    parts: Iterable[object] = getattr(node, "args", ())
    operator = getattr(node, "operator", "").strip()
    if operator == "OR":
        return any(_met(part) for part in parts)
    if operator == "AND":
        return all(_met(part) for part in parts)
    # 'X WITH exception' permits more than X does.
    return getattr(getattr(node, "license_symbol", node), "key", None) in ALLOWED


def refused(packages: Iterable[tuple[str, Message]]) -> dict[str, str]:
    """The packages whose licence isn't allowed, with what it is."""
    said = {name: licence(metadata) for name, metadata in packages}
    return {name: text for name, text in said.items() if not allowed(text)}
