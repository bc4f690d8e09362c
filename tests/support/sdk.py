"""Shared parts of the SDKs' tests: clients, requests, sums of streams, the server's own counters."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import openai
from openai.types.chat import ChatCompletionChunk
from prometheus_client.parser import text_string_to_metric_families

from support.server import MODEL, ServerProcess, http_client, tls

TEXT = "How are you, dear server?"
WORDS = len(TEXT.split())
REQUEST_ID = re.compile(r"req_[0-9a-f]{24}")

StartServer = Callable[[str], ServerProcess]


def options(server: ServerProcess) -> dict[str, Any]:
    return {"base_url": f"{server.url}/api/v1", "api_key": server.admin_key, "max_retries": 0}


def connect(server: ServerProcess, **more: Any) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(trust_env=False, verify=tls(), **more)
    return openai.OpenAI(**options(server), http_client=http)


def connect_async(server: ServerProcess) -> openai.AsyncOpenAI:
    http = openai.DefaultAsyncHttpxClient(trust_env=False, verify=tls())
    return openai.AsyncOpenAI(**options(server), http_client=http)


def ask(text: str = TEXT, model: str = MODEL, **more: Any) -> dict[str, Any]:
    """Arguments of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def said(chunks: Iterable[ChatCompletionChunk], index: int = 0) -> str:
    """The sum of one choice's deltas."""
    choices = [choice for chunk in chunks for choice in chunk.choices if choice.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


def reasons(chunks: Iterable[ChatCompletionChunk]) -> list[tuple[int, str]]:
    """Every finish reason with its choice's index, in order."""
    return [(c.index, c.finish_reason) for chunk in chunks for c in chunk.choices if c.finish_reason]


def measured(server: ServerProcess, name: str, **labels: str) -> float:
    """A metric's value, all its series that have these labels together."""
    with http_client(server) as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())


def running(server: ServerProcess, model: str) -> float:
    """How many answers a model is giving at this moment."""
    return measured(server, "jan_engine_running", model=model)
