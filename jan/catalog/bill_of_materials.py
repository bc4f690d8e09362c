"""The software bill of materials: what is installed with this server, in CycloneDX's JSON (ECMA-424)."""

import hashlib
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, cast

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from jan.engine.model_trials.pulled_files import read_record

_VERSION_OF_FORMAT = "1.6"
_OURS = "jan-server"
_CLASSIFIER = "License :: OSI Approved :: "
# Names of licences are short; older packages put the whole text into the field.
_LONGEST_NAME = 100

Component = dict[str, Any]


def bill_of_materials(models: Iterable[Path]) -> dict[str, Any]:
    """Return the bill for this environment, the same one for the same packages.

    ``models``: files and folders of models. Those that were pulled are listed with their hashes.
    """
    installed = {_name(package): package for package in distributions()}
    ours = installed.pop(_OURS, None)
    components = [_component(name, package) for name, package in sorted(installed.items())]
    components += [component for path in models for component in _model(path)]
    graph = [_needs(name, package, installed) for name, package in sorted(installed.items())]
    root = {"type": "application", "bom-ref": _OURS, "name": _OURS, "version": ours.version if ours else "0"}
    graph += [{"ref": _OURS, "dependsOn": _direct(ours, installed)}]
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": _VERSION_OF_FORMAT,
        "version": 1,
        "metadata": {"component": root},
        "components": components,
        "dependencies": graph,
    }
    digest = hashlib.sha256(msgspec.json.encode(bill, order="deterministic")).digest()
    return {**bill, "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}"}


def _name(package: Distribution) -> str:
    """Return a package's name in the form that indexes use (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package.metadata["Name"] or "").lower()


def _ref(name: str, package: Distribution) -> str:
    return f"pkg:pypi/{name}@{package.version.replace('+', '%2B')}"


def _component(name: str, package: Distribution) -> Component:
    licences = _licences(package)
    return {
        "type": "library",
        "bom-ref": _ref(name, package),
        "name": name,
        "version": package.version,
        "purl": _ref(name, package),
        **({"licenses": licences} if licences else {}),
    }


def _licences(package: Distribution) -> list[dict[str, Any]]:
    metadata = cast(Message, package.metadata)
    if expression := metadata.get("License-Expression"):
        return [{"expression": expression}]
    named = [
        text.rpartition(" :: ")[2]
        for text in metadata.get_all("Classifier") or []
        if text.startswith(_CLASSIFIER) and text != _CLASSIFIER
    ]
    text = (metadata.get("License") or "").strip()
    names = named or ([text] if 0 < len(text) <= _LONGEST_NAME and "\n" not in text else [])
    return [{"license": {"name": name}} for name in dict.fromkeys(names)]


def _needs(name: str, package: Distribution, installed: Mapping[str, Distribution]) -> dict[str, Any]:
    return {"ref": _ref(name, package), "dependsOn": _direct(package, installed, extras=False)}


def _direct(
    package: Distribution | None, installed: Mapping[str, Distribution], *, extras: bool = True
) -> list[str]:
    """Return the installed packages that one asks for; with ``extras`` those of its extras too."""
    needed = set()
    for line in (package.requires if package else None) or []:
        try:
            asked = Requirement(line)
        except InvalidRequirement:
            continue  # of a package whose metadata is wrong
        name = re.sub(r"[-_.]+", "-", asked.name).lower()
        if name in installed and (extras or asked.marker is None or asked.marker.evaluate({"extra": ""})):
            needed.add(_ref(name, installed[name]))
    return sorted(needed)


def _model(path: Path) -> Iterator[Component]:
    """Yield a component for a pulled model, with one for each of its files."""
    records = (read_record(folder) for folder in (path, *path.parents[:3]))
    record = next((found for found in records if found is not None), None)
    if record is None:
        return
    commits = sorted({file.commit for file in record.files.values()})
    yield {
        "type": "machine-learning-model",
        "bom-ref": f"model:{record.repo}",
        "name": record.repo,
        "version": ", ".join(commits),
        "components": [
            {
                "type": "file",
                "bom-ref": f"model:{record.repo}/{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": file.sha256}],
            }
            for name, file in sorted(record.files.items())
        ],
    }
