"""LiteLLM and LangChain take our errors for what they are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.server import ServerProcess

pytestmark = [pytest.mark.heavy, pytest.mark.sdk]

VERSIONS = ("litellm==1.110.2", "langchain-openai==1.7.4")

# LiteLLM would load a list of prices.
OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}

PROGRAM = """\
import sys
import langchain_openai, litellm
from langchain_openai.chat_models.base import OpenAIContextOverflowError

url, text = sys.argv[1], "word " * 5000
messages = [{"role": "user", "content": text}]
model = langchain_openai.ChatOpenAI(model="echo", base_url=url, api_key="x", max_retries=0)
try:
    litellm.completion(model="openai/echo", api_base=url, api_key="x", messages=messages)
except litellm.ContextWindowExceededError as error:
    print("litellm", "4096 tokens" in str(error))
try:
    litellm.text_completion(model="text-completion-openai/echo", api_base=url, api_key="x", prompt=text)
except litellm.ContextWindowExceededError as error:
    print("litellm text", "4096 tokens" in str(error))
for call in ("invoke", "stream"):
    try:
        list(getattr(model, call)(text))
    except OpenAIContextOverflowError as error:
        print("langchain", call, "4096 tokens" in str(error))
"""


def test_a_prompt_that_is_too_long_is_recognised(
    echo_server: ServerProcess, install_once: Callable[..., Path]
) -> None:
    """LiteLLM raises the error that its fallbacks to longer models wait for, LangChain its own for this."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    name = f"clients-{VERSIONS[0]}-{sys.implementation.cache_tag}"
    folder = install_once(name, *pip, "--target", ".", *VERSIONS)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"{echo_server.url}/v1"],
        env={**os.environ, "PYTHONPATH": str(folder), "NO_PROXY": "127.0.0.1", **OFFLINE},
        capture_output=True,
        text=True,
        timeout=240,
    )
    # LiteLLM prints advice between them.
    said = [line for line in done.stdout.splitlines() if line.startswith(("litellm", "langchain"))]
    wanted = ["litellm True", "litellm text True", "langchain invoke True", "langchain stream True"]
    assert said == wanted, done.stderr
