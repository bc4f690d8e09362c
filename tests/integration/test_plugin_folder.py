"""A plugin's folder outside the checkout: its author's tests pass, and it is served, from a checkout and a
wheel."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support.server import ROOT

pytestmark = pytest.mark.slow

FOLDER = ROOT / "tests" / "support" / "plugin_folder"
SOURCES = ("jan", "handlers", "conf", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def run(*command: str, cwd: Path, **environ: str) -> str:
    """Return the output of a program that succeeds."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def unpacked_wheel(folder: Path) -> Path:
    """Build the wheel of the sources and unpack it, which is all that installing it does with them."""
    source, wheels, site = folder / "source", folder / "wheels", folder / "site"
    source.mkdir()
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / name)
    wheel = run("-c", BUILD, str(wheels), cwd=source).splitlines()[-1]
    zipfile.ZipFile(wheels / wheel).extractall(site)
    return site


@pytest.mark.parametrize("kind", ["checkout", "wheel"])
def test_a_folder_of_plugins_works(tmp_path: Path, kind: str) -> None:
    """The folder's own handlers.py stands beside our package, whose endpoints are served as well. Its author's
    tests run in the folder, `jan check` in it and elsewhere."""
    root = ROOT if kind == "checkout" else unpacked_wheel(tmp_path)
    folder = shutil.copytree(FOLDER, tmp_path / "mine", ignore=shutil.ignore_patterns("__pycache__"))
    environ = {"PYTHONPATH": str(root), "JAN_ROOT": str(root), "JAN_DEFAULT": str(root / "conf" / "jan.yaml")}
    told = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "author_tests.py", cwd=folder, **environ)
    assert " passed" in told
    assert run("-m", "jan", "check", "my.yaml", cwd=folder, **environ).startswith("my.yaml: fine; ")
    assert "/greet/{name}" in run("-m", "jan", "routes", "--config", "mine/my.yaml", cwd=tmp_path, **environ)
