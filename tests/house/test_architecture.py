"""The house rules that a machine can check."""

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A module may import what is in its own layer's package or in a lower layer; the longest prefix counts.
LAYERS = {
    "jan.routing": 3,
    "jan.routing.moved": 0,
    "jan.people": 3,
    "jan.background": 3,
    "jan.background.retelling": 1,
    "jan.background.story": 1,
    "jan.http": 2,
    "jan.catalog": 3,
    "jan.idempotency": 3,
    "jan.telemetry": 1,
    "jan": 0,
    "jan.errors": 0,
    "jan.schema": 0,
    "jan.settings": 1,
    "jan.operation": 1,
    "jan.engine.base": 1,
    "jan.engine.generation_events": 1,
    "jan.engine.generation_request": 1,
    "jan.engine.model_info": 1,
    "jan.engine.call_ids": 1,
    "jan.engine.formats": 1,
    "jan.engine.stats": 1,
    "jan.storage.repositories": 1,
    "jan.storage.records": 1,
    "jan.storage.session_records": 1,
    "jan.storage.preset_records": 1,
    "jan.storage.accounting": 1,
    "jan.storage.archive": 1,
    "jan.storage.audit": 1,
    "jan.storage.deletions": 1,
    "jan.storage.completion_records": 1,
    "jan.storage.holdings": 1,
    "jan.storage.idempotent_answers": 1,
    "jan.storage.queued_answers": 1,
    "jan.storage.share_records": 1,
    "jan.storage.conversation_lists": 1,
    "jan.storage.folder_counts": 1,
    "jan.storage.text_search": 1,
    "jan.storage.folded_text": 1,
    "jan.idempotency.ids": 1,
    "jan.tasks": 1,
    "jan.audit": 2,
    "jan.audit.acts": 1,
    "jan.storage": 2,
    "jan.auth": 2,
    "jan.auth.encrypted_texts": 1,
    "jan.engine": 2,
    "jan.limits": 2,
    "jan.rendering": 2,
    "jan.importing": 2,
    "jan.telemetry.tracing": 2,
    "jan.telemetry.trace_sender": 3,
    "jan.http.healthchecks": 3,
    "jan.conversations": 3,
    "jan.http.resumable": 3,
    "jan.http.dispatch": 3,
    "jan.services": 3,
    "jan.http.authenticate": 3,
    "jan.http.responder": 3,
    "jan.http.request_delegate": 3,
    "jan.generation": 3,
    "jan.generation.collected": 1,
    "jan.generation.token_count": 1,
    "jan.http.stream_responder": 3,
    "jan.http.unknown_url": 3,
    "jan.handler": 3,
    "jan.application": 4,
    "jan.loops": 4,
    "jan.bench": 4,
    "jan.cli": 4,
    "jan.testing": 4,
    "jan.__main__": 4,
}
LAYER_0_LIBRARIES = {"msgspec"}
HANDLERS_MAY_USE = ("jan.handler", "handlers")
ONLY_IN = {
    "psutil": "jan.bench",
    "matplotlib": "jan.bench.plot",
    "cyllama": ("jan.engine.backends.llamacpp", "jan.bench.straight"),
    "huggingface_hub": "jan.catalog.hub",
    "exllamav2": "jan.engine.backends.exllama.v2",
    "exllamav3": "jan.engine.backends.exllama.v3",
    "tokenizers": "jan.engine.backends.exllama",
    "torch": "jan.engine.backends.exllama",
    "triton": "jan.engine.backends.exllama.v2",
    "motor": "jan.storage",
    "oauthlib": "jan.auth.oidc",
    "opentelemetry": "jan.telemetry.tracing",
    "pymongo": "jan.storage",
    "markdown_it": "jan.rendering",
    "mdit_py_plugins": "jan.rendering.markdown",
    "pygments": "jan.rendering.code_colours",
    "latex2mathml": "jan.rendering.formulas",
    "nh3": "jan.rendering.safe_html",
    "pypdf": "jan.rendering.pdf_text",
}
ENGINE_LIBRARIES = (
    "cyllama",
    "llguidance",
    "numpy",
    "torch",
    "exllamav2",
    "exllamav3",
    "tokenizers",
    "motor",
    "pymongo",
    "opentelemetry",
    "huggingface_hub",
    "markdown_it",
    "mdit_py_plugins",
    "latex2mathml",
    "nh3",
    "pypdf",
)
LONGEST_FUNCTION = 60
# Importing these imports ExLlamaV2, which compiles its extension for the GPU that it finds. Every test of that
# engine imports them, with stand-ins for the extension.
COMPILED = (
    *(f"jan.engine.backends.exllama.v2.{name}" for name in ("generation", "loading", "salting")),
    *(f"jan.engine.backends.exllama.v3.{name}" for name in ("generation", "loading", "salting")),
)
# Modules that model libraries may be imported with, and those of child processes alone.
ENGINES = (
    *(f"jan.rendering.{name}" for name in ("formulas", "inline_html", "markdown", "pdf_text", "safe_html")),
    "jan.bench.straight",
    "jan.engine.backends.common",
    "jan.engine.backends.token_reading",
    "jan.engine.backends.token_rules",
    "jan.engine.backends.llamacpp",
    "jan.engine.backends.exllama",
    "jan.engine.grammars.constraint",
    "jan.engine.answers.logprobs",
)


# Programs for the environments of others, which the harness starts there and nothing of ours imports.
PEER_PROGRAMS = ROOT / "jan" / "bench" / "peers" / "servers"


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted([*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")]):
        if path.is_relative_to(PEER_PROGRAMS):
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


@cache
def parsed(path: Path) -> ast.Module:
    """Parse a file once for all tests."""
    return ast.parse(path.read_text())


@cache
def imports_of(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, wherever in it."""
    return frozenset(names_in(ast.walk(parsed(path)), str(path)))


def names_in(nodes: Iterable[ast.AST], place: str = "") -> set[str]:
    """Dotted names that the imports among these nodes name."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place}: relative import"
            assert node.module is not None
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def place(name: str) -> str:
    """The entry of LAYERS that governs a dotted name."""
    while name not in LAYERS:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("jan")])
def test_imports_lead_downward(name: str) -> None:
    """A module imports only lower layers; packages of layer 2 do not import each other."""
    own = place(name)
    for imported in imports_of(MODULES[name]):
        assert not imported.startswith("handlers"), f"{name} imports {imported}"
        if not imported.startswith("jan."):
            continue
        other = place(imported)
        assert LAYERS[other] <= LAYERS[own], f"{name} (layer {LAYERS[own]}) imports {imported}"
        if LAYERS[own] == LAYERS[other] == 2:
            assert own == other, f"{name} imports {imported}, another package of layer 2"


def module_of(imported: str) -> str:
    """The module that an imported name is or is in; '' for one of others."""
    while imported and imported not in MODULES:
        imported = imported.rpartition(".")[0]
    return imported


def circle_from(start: str, needs: dict[str, set[str]]) -> list[str]:
    """Modules that lead from one back to it; none if there is no such way."""
    ways, seen = [[start]], set[str]()
    while ways:
        way = ways.pop()
        for name in needs[way[-1]]:
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []


def test_no_imports_go_round() -> None:
    """No module leads back to itself, not even by imports for types alone or within functions."""
    needs = {
        name: {module_of(imported) for imported in imports_of(path)} - {"", name} for name, path in MODULES.items()
    }
    assert [circle for name in MODULES if (circle := circle_from(name, needs))] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("jan") and LAYERS[place(name)] == 0])
def test_layer_0_needs_msgspec_only(name: str) -> None:
    """Errors, schemas and scopes use the standard library and msgspec, nothing else."""
    outside = {imported.partition(".")[0] for imported in imports_of(MODULES[name])} - {"jan"}
    assert outside - sys.stdlib_module_names <= LAYER_0_LIBRARIES


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("handlers")])
def test_handlers_use_the_public_seam(name: str) -> None:
    """Handlers use layers 0 and 1 and jan.handler, so that they stay plugins."""
    for imported in imports_of(MODULES[name]):
        if imported.startswith("jan.") and not imported.startswith(HANDLERS_MAY_USE):
            assert LAYERS[place(imported)] <= 1, f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_libraries_stay_in_their_rooms(name: str) -> None:
    """Model libraries and database drivers appear only in the one package that wraps them."""
    for imported in imports_of(MODULES[name]):
        room = ONLY_IN.get(imported.partition(".")[0])
        assert room is None or name.startswith(room), f"{name} imports {imported}"


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name: str) -> None:
    """No function is longer than 60 lines."""
    for node in ast.walk(parsed(MODULES[name])):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < LONGEST_FUNCTION, f"{name}.{node.name}"


def python(code: str, seconds: float = 240) -> str:
    """Return what a clean process prints within so many seconds."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout


def importable() -> list[str]:
    """The modules that can be imported here as they are."""
    shared, names = ("torch", "tokenizers"), []
    wanted = {
        "jan.engine.backends.exllama.v2.attention_triton": (*shared, "triton"),
        "jan.engine.backends.exllama.v2": (*shared, "exllamav2"),
        "jan.engine.backends.exllama.v3": (*shared, "exllamav3"),
        "jan.engine.backends.exllama.common": shared,
        "jan.rendering.markdown": ("markdown_it", "mdit_py_plugins", "nh3"),
        "jan.rendering.safe_html": ("nh3",),
        "jan.rendering.pdf_text": ("pypdf",),
    }
    for name in MODULES:
        libraries = next((needed for prefix, needed in wanted.items() if name.startswith(prefix)), ())
        if all(map(find_spec, libraries)) and name != "jan.__main__" and name not in COMPILED:
            names.append(name)
    return names


@cache
def loaded_by(name: str) -> frozenset[str]:
    """Modules of ours that importing one imports, it among them."""
    found = frozenset({name}).union(*map(loaded_by, first_imports(name)))
    assert name not in frozenset().union(*map(loaded_by, first_imports(name)))
    return found


def loads_engines(name: str) -> bool:
    """Return True if a module loads a library that may have threads, after which no process can be forked."""
    named = frozenset().union(*(imports_of(MODULES[one]) for one in loaded_by(name)))
    return not {*ENGINE_LIBRARIES, "triton"}.isdisjoint(imported.partition(".")[0] for imported in named)


def first_imports(name: str) -> set[str]:
    """Modules of ours that one imports before anything else of it is run."""
    body = [node for node in parsed(MODULES[name]).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return set(map(module_of, names_in(body))) - {"", name}


# Imports a module in a process of its own, and there those that begin by importing this one.
BRANCH = """
def branch(name):
    if (process := os.fork()) == 0:
        importlib.import_module(name)
        for later in AFTER.get(name, ()):
            branch(later)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == 0, name
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", ["most", "torch"])
def test_every_module_imports_in_a_clean_process(part: str) -> None:
    """Each module can be the first one of ours imported: no hidden order, no cycle, no warning.

    Its process has no other modules of ours than those that it imports: it is forked from the one that has most of
    these and nothing else.
    """
    names = importable()
    # Others' libraries once for all, before the forks, but engines'.
    libraries = {imported.partition(".")[0] for path in MODULES.values() for imported in imports_of(path)}
    libraries -= {"jan", "handlers", *ENGINE_LIBRARIES, "triton"}
    libraries |= set(filter(find_spec, ("motor", "pymongo")))
    late = [name for name in names if name.startswith("jan.engine.backends.exllama.")]
    after: dict[str, list[str]] = {"": []}
    if part == "torch":
        # It takes seconds to import, and a process that has it takes long to fork.
        libraries |= {"torch"} if "jan.engine.backends.exllama.common.device" in late else set()
        after[""] = late
    else:
        for name in sorted({*names} - {*late}):
            known = {one for one in first_imports(name) if one in names and not loads_engines(one)}
            parent = max(known, key=lambda one: (len(loaded_by(one)), one), default="")
            after.setdefault(parent, []).append(name)
    beginning = f"import importlib, os, tornado.web, {', '.join(sorted(libraries))}\nAFTER = {after!r}\n"
    python(f"{beginning}{BRANCH}\nfor first in AFTER['']:\n    branch(first)", 840)


def test_importing_jan_loads_no_engine_library() -> None:
    """Importing the whole core and all handlers loads neither a model library nor a database driver."""
    names = [n for n in MODULES if n != "jan.__main__" and not n.startswith(ENGINES) and "mongo" not in n]
    names = [n for n in names if n != "jan.telemetry.tracing"]
    wanted = "; ".join(f"import {name}" for name in names)
    loaded = python(f"import sys; {wanted}; print([m for m in {ENGINE_LIBRARIES!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_the_package_has_no_module_level_mutable_state() -> None:
    """No module of jan or handlers keeps a list, dict or set at its top level."""
    allowed = importable()
    for name, path in MODULES.items():
        if name not in allowed:
            continue
        for node in parsed(path).body:
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                if isinstance(target, ast.Name) and not target.id.startswith("__") and target.id.islower():
                    value = getattr(importlib.import_module(name), target.id)
                    assert not isinstance(value, list | dict | set), f"{name}.{target.id}"
