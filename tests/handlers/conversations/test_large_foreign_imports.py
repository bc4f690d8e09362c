"""Imports of a thousand conversations of each application on both stores, and of a file of 200 MB."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.conversation import StoredServer
from support.foreign_exports import MAKERS, session_lines
from support.server import ECHO_CONFIG

from jan.cli.commands import main

# The MongoDB server of the tests takes 5 ms of CPU time for each message.
pytestmark = [pytest.mark.heavy, pytest.mark.timeout(1800)]

COUNT = 1000
# Runs the command, and prints the most memory that its process had, in KiB.
_MEASURED = """
import atexit, resource, sys
from jan.cli.commands import main
atexit.register(lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
main(sys.argv[1:])
"""


def written(folder: Path, kind: str, *, spoilt: int | None = None) -> Path:
    """An export; LM Studio has a folder of files, LibreChat exports each conversation by itself."""
    texts = [json.dumps(MAKERS[kind](number)) for number in range(COUNT)]
    if spoilt is not None:
        texts[spoilt] = texts[spoilt][:-20]
    target = folder / kind
    target.mkdir(exist_ok=True)
    if kind in ("lm-studio", "librechat"):
        for number, text in enumerate(texts):
            (target / f"{number:04}.json").write_text(text)
    elif spoilt is None:
        (target / "conversations.json").write_text(f"[{','.join(texts)}]")
    else:  # an object that is cut off ends an array too, and not the lines behind it
        broken = texts[spoilt] + '"' * (texts[spoilt].count('"') % 2)
        depth = broken.count("{") - broken.count("}"), broken.count("[") - broken.count("]")
        texts[spoilt] = broken + "]" * depth[1] + "}" * depth[0]
        (target / "conversations.json").write_text(f"[{','.join(texts)}]")
    return target


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_thousand_conversations_are_imported_once(
    stored_server: StoredServer, tmp_path: Path, kind: str
) -> None:
    key = stored_server.add_user()

    def jan_import(path: Path) -> Result:
        url = f"{stored_server.process.url}/api/v1"
        return CliRunner().invoke(main, ["import", str(path), "--url", url, "--api-key", key])

    spoilt = jan_import(written(tmp_path, kind, spoilt=499))
    assert f"999 of 1000 conversations are here, from {_NAMES[kind]}: 999 new, 1 failed." in spoilt.stdout
    assert spoilt.stderr.count("Left out: conversation ") == 1
    whole = jan_import(written(tmp_path, kind))
    assert whole.output == f"1000 of 1000 conversations are here, from {_NAMES[kind]}: 1 new, 0 failed.\n"
    again = jan_import(tmp_path / kind)
    assert again.output == f"1000 of 1000 conversations are here, from {_NAMES[kind]}: 0 new, 0 failed.\n"


_NAMES = {
    "chatgpt": "ChatGPT",
    "claude": "Claude",
    "librechat": "LibreChat",
    "llama.cpp": "llama.cpp",
    "lm-studio": "LM Studio",
    "open-webui": "Open WebUI",
}


def test_a_large_file_takes_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """Files of 200 MB and of 1 MB, with conversations of 100 kB."""
    config = tmp_path / "jan.yaml"
    config.write_text(f"{ECHO_CONFIG}\ndata: {tmp_path}/data\n")
    made = CliRunner().invoke(main, ["user", "--config", str(config), "add", "ada@example.org"])
    assert made.exit_code == 0

    def most_memory(count: int, kind: str) -> int:
        file = tmp_path / "conversations.json"
        with file.open("w") as out:
            for number in range(count):
                line = session_lines(number) if kind == "lines" else json.dumps(MAKERS[kind](number))
                line = line.replace(f"Another answer {number}.", f"Another answer {number}. " + "Words. " * 14_000)
                out.write(("\n" if kind == "lines" else ",["[number == 0]) + line)
            out.write("" if kind == "lines" else "]")
        command = [sys.executable, "-c", _MEASURED, "import", str(file), "--user", "ada@example.org"]
        ran = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, timeout=600)
        *_, said, memory = ran.stdout.splitlines()
        assert said.startswith(f"{count} of {count} conversations are here"), ran.stderr
        return int(memory)

    small = most_memory(10, "claude")
    for kind in ("claude", "lines"):
        large = most_memory(2000, kind)
        print(f"{kind}: {small} KiB, {large} KiB")
        assert large < small + 100 * 1024, (kind, small, large)
