"""LlamaIndex: OpenAILike, a FunctionAgent, and the model of the Responses API."""

from typing import Any, Literal

import openai
import pydantic
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.embeddings.openai import OpenAIEmbedding
from llama_index.llms.openai import OpenAIResponses
from llama_index.llms.openai_like import OpenAILike
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused

MESSAGES = [ChatMessage(role="user", content=TEXT)]


class Trip(pydantic.BaseModel):
    """A trip."""

    city: Literal["Paris"]
    days: Literal[2]


def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _model(url: str, key: str, model: str = SCRIPTED, **more: Any) -> Any:
    options = {"is_chat_model": True, "is_function_calling_model": True, "context_window": 2048}
    return OpenAILike(model=model, api_base=f"{url}/v1", api_key=key, **options, **more)


def chat(url: str, key: str) -> Any:
    return _model(url, key).chat(MESSAGES).message.content


def stream(url: str, key: str) -> Any:
    return joined([piece.delta for piece in _model(url, key).stream_chat(MESSAGES)])


async def tools(url: str, key: str) -> Any:
    return str(await FunctionAgent(tools=[get_weather], llm=_model(url, key)).run(TEXT))


def structured(url: str, key: str) -> Any:
    return _model(url, key, REAL).as_structured_llm(Trip).chat(MESSAGES).raw.model_dump()


def _responses(url: str, key: str) -> Any:
    return OpenAIResponses(model=SCRIPTED, api_base=f"{url}/v1", api_key=key, context_window=2048)


def responses(url: str, key: str) -> Any:
    return _responses(url, key).chat(MESSAGES).message.content


def responses_stream(url: str, key: str) -> Any:
    return joined([piece.delta for piece in _responses(url, key).stream_chat(MESSAGES)])


def errors(url: str, key: str) -> Any:
    return str(refused(openai.NotFoundError, _model(url, key, NOBODY, max_retries=0).chat, MESSAGES))


def embeddings(url: str, key: str) -> Any:
    model = OpenAIEmbedding(model_name=EMBEDDER, api_base=f"{url}/v1", api_key=key)
    return len(model.get_text_embedding(TEXT))
