"""From a request's body to what the engine is asked for."""

import msgspec
import pytest

from handlers.openai.chat import request as chat_request
from handlers.openai.chat.request import model_request
from handlers.openai.completions import _model_request
from jan.engine.base import ChatPrompt
from jan.engine.formats import OutputFormat
from jan.schema.chat import ChatCompletionRequest
from jan.schema.completions import CompletionRequest
from jan.schema.scopes import Identity

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def chat(**options: object) -> ChatCompletionRequest:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **options}
    return msgspec.convert(body, ChatCompletionRequest)


def test_choices_share_prompt_and_format() -> None:
    """They are made once, however many choices there are; only seeds differ."""
    requests = model_request(chat(n=16, seed=7, response_format=FORMAT), Identity(owner="o")).sequences
    assert [request.sampling.seed for request in requests] == list(range(7, 23))
    assert len({id(request.prompt) for request in requests}) == 1
    assert len({id(request.output) for request in requests}) == 1
    assert msgspec.json.decode(requests[0].output.json_schema) == SCHEMA


def test_the_format_is_written_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writing out a large schema again for each choice held up everybody."""
    made: list[OutputFormat] = []
    whole = chat_request.format_of

    def counted(body: ChatCompletionRequest) -> OutputFormat:
        made.append(whole(body))
        return made[-1]

    monkeypatch.setattr(chat_request, "format_of", counted)
    model_request(chat(n=16, response_format=FORMAT), Identity(owner="o"))
    assert len(made) == 1


def test_completions_are_by_prompt_then_choice() -> None:
    """Choices of one prompt stand together and share it."""
    body = msgspec.convert({"model": "m", "prompt": ["a", "b"], "n": 2, "seed": 1}, CompletionRequest)
    requests = _model_request(body, Identity(owner="o")).sequences
    assert [request.sampling.seed for request in requests] == [1, 2, 1, 2]
    assert requests[0].prompt is requests[1].prompt
    assert requests[0].prompt != requests[2].prompt


def test_a_plain_chat_has_no_format() -> None:
    """Nothing is asked of the engine that the request does not ask for."""
    (request,) = model_request(chat(), Identity(owner="o")).sequences
    assert request.output == OutputFormat()
    assert isinstance(request.prompt, ChatPrompt)
