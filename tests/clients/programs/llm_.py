"""The command `llm`, with models of its file `extra-openai-models.yaml`: streams, schemas, tools, errors."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from programs.shared import NOBODY, REAL, SCRIPTED, TEXT, TRIP, WEATHER

TOOL = f'def get_weather(city: str) -> str:\n    "The weather."\n    return {WEATHER!r}\n'


def _run(url: str, key: str, model: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    names = (SCRIPTED, REAL, NOBODY)
    abilities = {"supports_tools": True, "supports_schema": True}
    models = [{"model_id": f"jan-{n}", "model_name": n, "api_base": f"{url}/v1", **abilities} for n in names]
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "extra-openai-models.yaml").write_text(json.dumps(models))
        command = [sys.executable, "-S", "-m", "llm", "-m", f"jan-{model}", "--key", key, *arguments, TEXT]
        environment = {**os.environ, "LLM_USER_PATH": home}
        asked: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": 120}
        return subprocess.run(command, env=environment, **asked)


def _said(*given: str) -> str:
    done = _run(*given)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def chat(url: str, key: str) -> Any:
    return _said(url, key, SCRIPTED, "--no-stream")


def stream(url: str, key: str) -> Any:
    return _said(url, key, SCRIPTED)


def tools(url: str, key: str) -> Any:
    return _said(url, key, SCRIPTED, "--functions", TOOL)


def structured(url: str, key: str) -> Any:
    return json.loads(_said(url, key, REAL, "--schema", json.dumps(TRIP)))


def errors(url: str, key: str) -> Any:
    done = _run(url, key, NOBODY)
    assert done.returncode != 0
    return done.stderr
