"""LiteLLM's SDK: completion, its stream, responses, Anthropic's messages, embeddings."""

import json
from typing import Any, Literal

import litellm
import pydantic
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused

MESSAGES = [{"role": "user", "content": TEXT}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


def _options(url: str, key: str, model: str = SCRIPTED) -> dict[str, Any]:
    return {"model": f"openai/{model}", "api_base": f"{url}/v1", "api_key": key}


def chat(url: str, key: str) -> Any:
    return litellm.completion(messages=MESSAGES, **_options(url, key)).choices[0].message.content


def stream(url: str, key: str) -> Any:
    chunks = litellm.completion(messages=MESSAGES, stream=True, **_options(url, key))
    return joined([chunk.choices[0].delta.content for chunk in chunks if chunk.choices])


def tools(url: str, key: str) -> Any:
    options = {**_options(url, key), "tools": [TOOL]}
    message = litellm.completion(messages=MESSAGES, **options).choices[0].message
    [call] = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    sent = [*MESSAGES, message, {"role": "tool", "tool_call_id": call.id, "content": WEATHER}]
    return litellm.completion(messages=sent, **options).choices[0].message.content


def structured(url: str, key: str) -> Any:
    answer = litellm.completion(messages=MESSAGES, response_format=Trip, **_options(url, key, REAL))
    return json.loads(answer.choices[0].message.content)


def responses(url: str, key: str) -> Any:
    return litellm.responses(input=TEXT, **_options(url, key)).output_text


def responses_stream(url: str, key: str) -> Any:
    events = litellm.responses(input=TEXT, stream=True, **_options(url, key))
    return joined([event.delta for event in events if event.type == "response.output_text.delta"])


async def messages(url: str, key: str) -> Any:
    """Anthropic's form, by the provider of that name and by that of OpenAI."""
    options = {"messages": MESSAGES, "max_tokens": 50, "api_key": key}
    bridged = await litellm.anthropic.messages.acreate(model=f"openai/{SCRIPTED}", api_base=f"{url}/v1", **options)
    assert bridged["content"][0]["text"] == TEXT
    answer = await litellm.anthropic.messages.acreate(
        model=f"anthropic/{SCRIPTED}", api_base=f"{url}/api", **options
    )
    return answer["content"][0]["text"]


def errors(url: str, key: str) -> Any:
    options = _options(url, key, NOBODY)
    return str(refused(litellm.NotFoundError, litellm.completion, messages=MESSAGES, **options))


def embeddings(url: str, key: str) -> Any:
    return len(litellm.embedding(input=[TEXT], **_options(url, key, EMBEDDER)).data[0]["embedding"])
