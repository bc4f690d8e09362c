"""Instructor with its default mode: a function that must be called."""

from typing import Any, Literal

import instructor
import openai
import pydantic
from programs.shared import NOBODY, REAL, TEXT, refused

MESSAGES: Any = [{"role": "user", "content": TEXT}]


class Trip(pydantic.BaseModel):
    city: Literal["Paris"]
    days: Literal[2]


def _client(url: str, key: str, **more: Any) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=f"{url}/v1", api_key=key), **more)


def structured(url: str, key: str) -> Any:
    trip = _client(url, key).chat.completions.create(model=REAL, messages=MESSAGES, response_model=Trip)
    return trip.model_dump()


def responses(url: str, key: str) -> Any:
    """A forced call of the Responses API has the only possible trip."""
    client = _client(url, key, mode=instructor.Mode.RESPONSES_TOOLS)
    trip = client.chat.completions.create(model=REAL, messages=MESSAGES, response_model=Trip)
    assert trip.model_dump() == {"city": "Paris", "days": 2}
    return TEXT


def errors(url: str, key: str) -> Any:
    call = _client(url, key).chat.completions.create
    asked = {"model": NOBODY, "messages": MESSAGES, "response_model": Trip, "max_retries": 0}
    return str(refused(Exception, call, **asked))
