"""One word, one thing: public classes have names of their own, and so have modules, but where folders mirror."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Programs for other environments, which nothing of ours imports.
PEER_PROGRAMS = ROOT / "jan" / "bench" / "peers" / "servers"
MODULES = sorted(
    path
    for path in [*ROOT.glob("jan/**/*.py"), *ROOT.glob("handlers/**/*.py")]
    if path.stem not in ("__init__", "__main__") and not path.is_relative_to(PEER_PROGRAMS)
)
# Folders that mirror each other: a module of one bears the name of its counterparts in the others.
MIRRORS = (
    # A resource on the wire, in the settings, in the store, on the command line; its service, and its endpoint.
    (
        "jan/schema",
        "jan/settings",
        "jan/storage",
        "jan/storage/sqlite",
        "jan/storage/mongo",
        "jan/cli",
        "jan/auth",
        "jan/people",
        "handlers/openai",
        "handlers/anthropic",
        "handlers/ollama",
        "handlers/conversations",
        "handlers/people",
        "handlers/service",
    ),
    # What each engine's library needs.
    (
        "jan/engine/backends/llamacpp",
        "jan/engine/backends/exllama/common",
        "jan/engine/backends/exllama/v2",
        "jan/engine/backends/exllama/v3",
    ),
)
# Modules that share a name outside of such folders, and why.
SAME_MODULE_NAMES = {
    "errors": "jan/errors.py has the errors, jan/schema/errors.py what they look like on the wire",
    "metrics": "jan/telemetry/metrics.py counts what handlers/service/metrics.py shows",
    "models": "jan/engine/models.py serves what the settings list and the endpoint shows",
    "sign_in": "jan/auth/oidc/sign_in.py does what the settings and the endpoint of the name are for",
    "tracing": "jan/telemetry/tracing.py does what the settings of the name are for",
}
# Public classes that share a name, and why. Each handler and each engine of a plugin may have its own ``Options``,
# which is found under this name.
SAME_CLASS_NAMES = {
    # The two generations of one library mirror each other.
    "ConstraintFilter": "the filter of either ExLlama library",
    "CudaDevice": "the devices of either ExLlama library",
    "LoadedModel": "a model of either ExLlama library",
    "OwnedJob": "a job of either ExLlama library",
    "SampledJob": "a job of either ExLlama library",
}


def mirrored(paths: list[Path]) -> bool:
    """Tell if all of these modules are in folders of one mirror."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in paths}
    return any(folders <= set(mirror) for mirror in MIRRORS)


def test_no_two_modules_share_a_name() -> None:
    """A name leads to one module, or to counterparts in mirrored folders."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in MODULES:
        found[path.stem].append(path)
    shared = {name for name, paths in found.items() if len(paths) > 1 and not mirrored(paths)}
    assert shared == set(SAME_MODULE_NAMES)


def test_no_two_public_classes_share_a_name() -> None:
    """A name leads to one class."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    shared = {name for name, paths in found.items() if len(paths) > 1 and name != "Options"}
    assert shared == set(SAME_CLASS_NAMES)
