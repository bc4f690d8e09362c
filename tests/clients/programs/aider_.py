"""The command aider, as it is documented for servers like this one, whole and streamed."""

import os
import subprocess
import sys
import tempfile
from typing import Any

from programs.shared import NOBODY, SCRIPTED, TEXT

# It would ask a registry for a newer version, and its owners for leave to count.
OFFLINE = ("--no-check-update", "--analytics-disable", "--no-show-release-notes", "--no-show-model-warnings")


def _say(url: str, key: str, model: str, *arguments: str) -> str:
    with tempfile.TemporaryDirectory() as home:
        command = [sys.executable, "-S", "-m", "aider", "--model", f"openai/{model}", *OFFLINE, *arguments]
        command += ["--no-git", "--no-pretty", "--yes-always", "--message", TEXT]
        environment = {**os.environ, "HOME": home, "OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": key}
        done = subprocess.run(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
        )
    return done.stdout + done.stderr


def _answer(said: str) -> str:
    [line] = [line for line in said.splitlines() if line.endswith(TEXT) or line == TEXT]
    return line


def chat(url: str, key: str) -> Any:
    return _answer(_say(url, key, SCRIPTED, "--no-stream"))


def stream(url: str, key: str) -> Any:
    return _answer(_say(url, key, SCRIPTED))


def errors(url: str, key: str) -> Any:
    return _say(url, key, NOBODY)
