"""The files of the page, read and compressed once. The name of their folder has their hash, so that browsers may
keep them for ever."""

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import msgspec

_FOLDER = Path(__file__).parent / "static"
_SHELL = "index.html"
_SCRIPT = "app.js"
# Loaded by its own URL, whose place is what it may serve.
_WORKER = "sw.js"
_TYPES = MappingProxyType(
    {
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".webmanifest": "application/manifest+json",
    }
)
_COMPRESSED = (".css", ".html", ".js", ".json", ".svg", ".webmanifest")
# `import a from "./b.js"`, `export * from "./b.js"`, `import "./b.js"`, over several lines.
_IMPORT = re.compile(r"""^(?:import|export)\b[^;"']*["'](\.[^"']+)["']""", re.MULTILINE)
_WORDS = "words/"
# `"list.new"`, which may be a word's name, and t(`list.${state}`), which is any that begins so.
_NAMED = re.compile(r'"([\w.]+)"')
_BEGINNINGS = re.compile(r"\bt\(`([\w.]+)\$\{")
# What may be left out of styles: blanks after marks, and around braces.
_BLANKS = re.compile(r"(?<=[;,:{}])\s+|\s+(?=[{}])")
# Comments on lines of their own, and indentation: a sixth of the scripts.
_COMMENTS = re.compile(r"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)?[ \t]*\n|^[ \t]+", re.MULTILINE)


class PageFile(msgspec.Struct, frozen=True):
    """A file as it is sent: plain, and compressed where that is worth it."""

    media_type: str
    plain: bytes
    zipped: bytes | None


class Bundle(msgspec.Struct, frozen=True):
    """All files. ``version``: the name of their folder, from the hash of them all. ``shell`` is the document."""

    version: str
    files: Mapping[str, PageFile]
    shell: PageFile
    worker: PageFile


@cache
def page_bundle(api: str) -> Bundle:
    """Read the page's files. The first call takes about 50 ms. ``api``: the API's path below the page's own."""
    sources = {
        path.relative_to(_FOLDER).as_posix(): _sent(path)
        for path in sorted(_FOLDER.rglob("*"))
        if path.suffix in _TYPES
    }
    _split_words(sources)
    digest = hashlib.sha256()
    for name, content in sources.items():
        digest.update(f"{name} {len(content)}\n".encode() + content)
    version = digest.hexdigest()[:16]
    shell = _filled(sources.pop(_SHELL), version, sources).replace(b"API", api.encode())
    worker = _filled(sources.pop(_WORKER), version, sources)
    files = {name: _file(name, content) for name, content in sources.items()}
    return Bundle(version, MappingProxyType(files), _file(_SHELL, shell), _file(_WORKER, worker))


def _sent(path: Path) -> bytes:
    """Return a file as it is sent: scripts and styles without comments, styles without blanks."""
    content = path.read_bytes()
    if path.suffix not in (".css", ".js"):
        return content
    text = _COMMENTS.sub("", content.decode())
    return (_BLANKS.sub("", text) if path.suffix == ".css" else text).encode()


def _filled(template: bytes, version: str, sources: Mapping[str, bytes]) -> bytes:
    """Return a file with the names of the others filled in."""
    scripts = first_scripts(sources)
    preloads = "\n".join(f'<link rel="modulepreload" href="page/{version}/{name}">' for name in scripts)
    text = template.decode().replace("<!-- preloads -->", preloads)
    names = ",".join(f'"{name}"' for name in [*scripts, "jan.css"])
    return text.replace("VERSION", version).replace('"FILES"', names).encode()


def _split_words(sources: dict[str, bytes]) -> None:
    """Put the words that no script of the first load names into files of their own, which are read on demand."""
    names = first_words(sources)
    for file in [name for name in sources if name.startswith(_WORDS)]:
        words: dict[str, object] = msgspec.json.decode(sources[file])
        sources[file] = msgspec.json.encode({name: words[name] for name in words if name in names})
        rest = {name: words[name] for name in words if name not in names}
        sources[file.replace(_WORDS, f"{_WORDS}more/")] = msgspec.json.encode(rest)


def first_words(sources: Mapping[str, bytes]) -> set[str]:
    """Return the names of words that the scripts of the first load may ask for."""
    scripts = "\n".join(sources[name].decode() for name in first_scripts(sources))
    named, beginnings = set(_NAMED.findall(scripts)), tuple(_BEGINNINGS.findall(scripts))
    words: dict[str, object] = msgspec.json.decode(sources[f"{_WORDS}en.json"])
    return {name for name in words if name in named or name.startswith(beginnings)}


def first_scripts(sources: Mapping[str, bytes]) -> list[str]:
    """Return the names of the scripts that the page needs at once, each before those that it imports."""
    found: list[str] = []
    waiting = [_SCRIPT]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found.append(name)
        imports = _IMPORT.findall(sources[name].decode())
        waiting += [_beside(name, reference) for reference in imports]
    return found


def _beside(name: str, reference: str) -> str:
    """Return the name of a file that another one refers to."""
    parts: list[str] = []
    for part in (PurePosixPath(name).parent / reference).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def _file(name: str, content: bytes) -> PageFile:
    suffix = PurePosixPath(name).suffix
    zipped = gzip.compress(content, 9, mtime=0) if suffix in _COMPRESSED else None
    return PageFile(_TYPES[suffix], content, zipped)
