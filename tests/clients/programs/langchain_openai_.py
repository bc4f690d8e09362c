"""LangChain's ChatOpenAI: calls, streams, bound tools, structured output, the Responses API, embeddings."""

from typing import Any, Literal

import langchain_openai
import openai
import pydantic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from programs.shared import EMBEDDER, NOBODY, REAL, SCRIPTED, TEXT, WEATHER, joined, refused


class Trip(pydantic.BaseModel):
    """A trip."""

    city: Literal["Paris"]
    days: Literal[2]


@tool
def get_weather(city: str) -> str:
    """Return the weather of a city."""
    assert city == "Paris"
    return WEATHER


def _model(url: str, key: str, model: str = SCRIPTED, **more: Any) -> Any:
    return langchain_openai.ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=key, **more)


def chat(url: str, key: str) -> Any:
    return _model(url, key).invoke(TEXT).content


def stream(url: str, key: str) -> Any:
    return joined([chunk.content for chunk in _model(url, key).stream(TEXT)])


def _with_tools(model: Any) -> Any:
    bound = model.bind_tools([get_weather])
    called = bound.invoke([HumanMessage(TEXT)])
    [call] = called.tool_calls
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    return bound.invoke([HumanMessage(TEXT), called, result])


def tools(url: str, key: str) -> Any:
    return _with_tools(_model(url, key)).content


def structured(url: str, key: str) -> Any:
    return _model(url, key, REAL).with_structured_output(Trip).invoke(TEXT).model_dump()


def responses(url: str, key: str) -> Any:
    """Text, tools and schemas by the Responses API."""
    assert _with_tools(_model(url, key, use_responses_api=True)).text == WEATHER
    trip = _model(url, key, REAL, use_responses_api=True).with_structured_output(Trip).invoke(TEXT)
    assert trip == Trip(city="Paris", days=2)
    return _model(url, key, use_responses_api=True).invoke(TEXT).text


def responses_stream(url: str, key: str) -> Any:
    return joined([chunk.text for chunk in _model(url, key, use_responses_api=True).stream(TEXT)])


def errors(url: str, key: str) -> Any:
    return str(refused(openai.NotFoundError, _model(url, key, NOBODY).invoke, TEXT))


def embeddings(url: str, key: str) -> Any:
    # Its default sends token ids of OpenAI's own vocabulary, which it would load from OpenAI.
    model = langchain_openai.OpenAIEmbeddings(
        model=EMBEDDER, base_url=f"{url}/v1", api_key=key, check_embedding_ctx_length=False
    )
    return len(model.embed_query(TEXT))
