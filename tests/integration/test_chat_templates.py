"""Models with chat templates of many forms, over HTTP: tiny GGUF files of random weights."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import templates

pytest.importorskip("cyllama")
pytestmark = pytest.mark.model

from support.tiny_gguf import write_tiny_gguf  # noqa: E402

from jan.errors import ConfigurationError  # noqa: E402
from jan.testing import served  # noqa: E402

CHAT = "/api/v1/chat/completions"
OFF = {"enable_thinking": False}
ASKED: dict[str, Any] = {"role": "user", "content": "Weather in Rome?"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
MODELS = {name: {"default": source} for name, source in templates.OWN.items()} | {
    "signatures": {"default": templates.SIGNATURES},
    "named": {"default": templates.PLAIN, "tool_use": templates.TOOL_USE},
    "zero": {"default": "{% for m in messages %}{{ m.content }}{% endfor %}{{ 1 / (messages | length - 4) }}"},
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("gguf")
    models = [
        {
            "id": name,
            "engine": "llamacpp",
            "load": "lazy",
            "options": {"model": str(write_tiny_gguf(folder / f"{name}.gguf", sources)), "threads": 1, "slots": 1},
        }
        for name, sources in MODELS.items()
    ]
    models.append({"id": "mistral", "engine": "echo", "options": {"tool_format": "mistral"}})
    with served(f"models: {json.dumps(models)}") as server:
        yield server.client
        assert server.errors == []


def post(client: httpx.Client, model: str, *messages: Any, **options: Any) -> httpx.Response:
    body = {"model": model, "messages": list(messages), "max_tokens": 1, **options}
    return client.post(CHAT, json=body)


def tokens(client: httpx.Client, model: str, *messages: Any, **options: Any) -> int:
    """Length of the prompt that the model got."""
    response = post(client, model, *messages, **options)
    assert response.status_code == 200, response.text
    return int(response.json()["usage"]["prompt_tokens"])


def called(arguments: Any, call_id: str = "call_29d27aaa89d7dcdd7503dbfd", **members: Any) -> dict[str, Any]:
    function = {"name": "look", "arguments": arguments}
    calls = [{"id": call_id, "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls, **members}


def result(call_id: str = "call_29d27aaa89d7dcdd7503dbfd") -> dict[str, Any]:
    return {"role": "tool", "content": "Sun.", "tool_call_id": call_id}


@pytest.mark.parametrize("name", templates.OWN)
def test_every_template_serves_a_tool_loop(client: httpx.Client, name: str) -> None:
    """Tools, a call and its result, and what a client asks next."""
    history = [{"role": "system", "content": "Be brief."}, ASKED, called('{"at": "R"}'), result(), ASKED]
    assert tokens(client, name, *history, tools=[LOOK]) > tokens(client, name, *history[:2], tools=[LOOK])


def test_a_malformed_schema_of_a_tool_is_shown_somehow(client: httpx.Client) -> None:
    """The template fails at a list, and the tool is shown without it. The header says what is not enforced."""
    odd = {"type": "function", "function": {"name": "odd", "parameters": {"properties": ["at"]}}}
    response = post(client, "signatures", ASKED, tools=[LOOK, odd])
    assert response.status_code == 200, response.text
    assert response.headers["X-Jan-Relaxed"] == "tools[1].function.parameters.properties"
    odd["function"] |= {"strict": True}
    response = post(client, "signatures", ASKED, tools=[LOOK, odd])
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_schema")


@pytest.mark.parametrize("name", templates.OWN)
def test_instructions_alone_are_shown(client: httpx.Client, name: str) -> None:
    """A client that sends nothing but a system message, with tools and without."""
    system = {"role": "system", "content": "Be brief. " * 20}
    assert tokens(client, name, system) > 40
    assert tokens(client, name, system, tools=[LOOK]) > 40


@pytest.mark.parametrize("name", templates.OWN)
def test_results_without_calls_end_no_conversation(client: httpx.Client, name: str) -> None:
    """A client that left out the message with the call, at the beginning or later."""
    answer = {"role": "assistant", "content": "Sun."}
    assert tokens(client, name, result(), answer, ASKED)
    assert tokens(client, name, ASKED, answer, result(), answer, ASKED, result(), ASKED)


def test_ids_of_calls_go_there_and_back(client: httpx.Client) -> None:
    """The id that a server of a Mistral model gives, whole or streamed, is one that its template takes."""
    said = '[TOOL_CALLS][{"name": "look", "arguments": {"at": "R"}}]'
    asked = {
        "tools": [LOOK],
        "max_tokens": 100,
        "messages": [{"role": "user", "content": said}],
        "model": "mistral",
    }
    (call,) = client.post(CHAT, json=asked).json()["choices"][0]["message"]["tool_calls"]
    streamed = client.post(CHAT, json={**asked, "stream": True}).text
    shown = streamed.split('"tool_calls":[{"index":0,"id":"')[1].split('"')[0]
    for one in (call["id"], shown):
        assert len(one) == 9
        assert one.isalnum()
        history = [ASKED, called('{"at": "R"}', one), result(one), ASKED]
        assert tokens(client, "nine", *history, tools=[LOOK])


def test_a_tool_loop_can_be_played_with_a_model(client: httpx.Client) -> None:
    """What the model was made to call goes back to it with a result, as clients do it."""
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    look = {"type": "function", "function": {"name": "look", "parameters": closed}}
    asked = {"tools": [look], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 200}
    choice = post(client, "nine", ASKED, **asked).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    (call,) = choice["message"]["tool_calls"]
    assert len(call["id"]) == 9
    assert tokens(client, "nine", ASKED, choice["message"], result(call["id"]), ASKED, tools=[LOOK])


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}", {}, None])
@pytest.mark.parametrize("name", ["tool_use", "xml", "nine", "glm"])
def test_no_arguments_are_an_empty_object(client: httpx.Client, name: str, arguments: Any) -> None:
    """However a gateway spells that there are none."""
    empty = tokens(client, name, ASKED, called("{}"), result(), tools=[LOOK])
    assert tokens(client, name, ASKED, called(arguments), result(), tools=[LOOK]) == empty


def test_arguments_may_be_sent_as_an_object(client: httpx.Client) -> None:
    """As other servers' own APIs have them: the model gets the same as from their text."""
    sent = [
        tokens(client, "xml", ASKED, called(one), result(), tools=[LOOK]) for one in ('{"at": [1]}', {"at": [1]})
    ]
    assert sent[0] == sent[1]


@pytest.mark.parametrize("arguments", ['{"city": "R', "5", "[1]", '"a"', "nonsense"])
@pytest.mark.parametrize("name", ["xml", "nine", "glm", "minimax"])
def test_arguments_that_are_no_object_end_no_conversation(client: httpx.Client, name: str, arguments: str) -> None:
    """A call that was cut by max_tokens, as this server itself returned it, can be answered."""
    assert tokens(client, name, ASKED, called(arguments), result(), ASKED, tools=[LOOK])


def test_members_that_were_not_sent_are_not_shown(client: httpx.Client) -> None:
    """A tool with nothing but a name makes the same prompt as one with everything spelled out as absent."""
    for name in ("tool_use", "xml", "plain", "named"):
        bare = tokens(client, name, ASKED, tools=[{"type": "function", "function": {"name": "look"}}])
        assert bare == tokens(client, name, ASKED, tools=[LOOK])
        absent = {"description": None, "strict": True}
        full = [{"type": "function", "function": {**LOOK["function"], **absent}}]  # type: ignore[dict-item]
        assert bare == tokens(client, name, ASKED, tools=full)


def test_members_that_were_sent_are_shown(client: httpx.Client) -> None:
    """Also those that nothing here knows, and no header says that they were ignored."""
    more = {**LOOK, "function": {**LOOK["function"], "returns": {"type": "string"}}}  # type: ignore[dict-item]
    response = post(client, "tool_use", ASKED, tools=[more])
    assert response.json()["usage"]["prompt_tokens"] > tokens(client, "tool_use", ASKED, tools=[LOOK])
    assert "x-jan-ignored" not in response.headers


def test_tools_work_without_a_system_role(client: httpx.Client) -> None:
    """Instructions go before the first question, and two results are one message of the user."""
    history = [ASKED, called("{}"), result(), result(), {"role": "assistant", "content": "Sun."}, ASKED]
    assert tokens(client, "no_system", ASKED, tools=[LOOK]) > tokens(client, "no_system", ASKED) + 20
    assert tokens(client, "no_system", *history, tools=[LOOK])


@pytest.mark.parametrize(
    "given",
    [
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"enable_thinking": False},
        # The template has no levels of effort, but can be told not to reason.
        {"reasoning_effort": "none"},
        {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}},
    ],
)
def test_a_switch_reaches_the_template(client: httpx.Client, given: dict[str, Any]) -> None:
    """The prompt is another one, and nothing was ignored."""
    response = post(client, "glm", ASKED, **given)
    assert response.json()["usage"]["prompt_tokens"] > tokens(client, "glm", ASKED)
    assert "x-jan-ignored" not in response.headers


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"enable_thinking": True}, "enable_thinking"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"chat_template_kwargs": {"thinking": True}}, "thinking"),
        ({"messages": [{**ASKED, "name": "Ada"}]}, "messages[0].name"),
        (
            {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}, ASKED]},
            "messages[0].reasoning_content",
        ),
    ],
)
@pytest.mark.parametrize("model", ["plain", "mistral"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_template_lacks_is_named(
    client: httpx.Client, model: str, given: dict[str, Any], name: str, stream: bool
) -> None:
    """A switch, a name or reasoning that changes nothing is served and reported."""
    response = client.post(
        CHAT, json={"model": model, "messages": [ASKED], "stream": stream, "max_tokens": 1, **given}
    )
    assert response.status_code == 200, response.text
    assert response.headers["x-jan-ignored"] == name


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"chat_template_kwargs": {"wibble": 1}}, "chat_template_kwargs.wibble"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        ({"chat_template_kwargs": {"bos_token": "a"}}, "chat_template_kwargs.bos_token"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "chat_template_kwargs.add_generation_prompt"),
        ({"chat_template_kwargs": {"documents": "a"}}, "chat_template_kwargs.documents"),
        ({"chat_template_kwargs": {"documents": []}, "documents": []}, "chat_template_kwargs.documents"),
        (
            {"chat_template_kwargs": {"enable_thinking": False}, "enable_thinking": True},
            "chat_template_kwargs.enable_thinking",
        ),
        ({"documents": [{"text": "a"}]}, "documents"),
        ({"documents": ["a"]}, "documents[0]"),
        ({"reasoning_effort": "wibble"}, "reasoning_effort"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs"),
    ],
    ids=str,
)
@pytest.mark.parametrize("model", ["glm", "mistral"])
def test_variables_that_nobody_reads_are_refused(
    client: httpx.Client, model: str, given: dict[str, Any], param: str
) -> None:
    """By name: nothing that a client sets is dropped in silence."""
    response = post(client, model, ASKED, **given)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


def test_documents_reach_a_template_that_shows_them(client: httpx.Client) -> None:
    """As a parameter, or among the variables of the template."""
    plain, documents = tokens(client, "generation", ASKED), [{"title": "Rome", "text": "It is sunny."}]
    shown = tokens(client, "generation", ASKED, documents=documents)
    assert shown > plain
    assert tokens(client, "generation", ASKED, chat_template_kwargs={"documents": documents}) == shown


def test_reasoning_of_earlier_answers_reaches_the_template(client: httpx.Client) -> None:
    """Between the calls of one turn, where models were trained to have it."""
    history = [ASKED, called("{}"), result()]
    thought = [ASKED, called("{}", reasoning_content="It is noon, so the sun is high."), result()]
    assert tokens(client, "glm", *thought, tools=[LOOK]) > tokens(client, "glm", *history, tools=[LOOK])


def test_the_template_for_tools_is_taken(client: httpx.Client) -> None:
    """A model with a second template for tools gets them as that one shows them."""
    with_tools = tokens(client, "named", ASKED, tools=[LOOK])
    assert with_tools == tokens(client, "tool_use", ASKED, tools=[LOOK])
    assert tokens(client, "named", ASKED) == tokens(client, "plain", ASKED)


def test_a_template_that_fails_refuses_the_messages(client: httpx.Client) -> None:
    """A division by zero is the template's fault, and no failure of the server."""
    assert post(client, "zero", ASKED).status_code == 200
    response = post(client, "zero", *[ASKED] * 4)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("unsupported_messages", "messages")
    assert "division by zero" in error["message"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("a\n{% break %}", "line 2: 'break' outside loop"),
        ("{% wibble %}", "line 1: Encountered unknown tag 'wibble'"),
    ],
)
def test_a_template_that_is_none_stops_the_start(tmp_path: Path, source: str, reason: str) -> None:
    """With one line that says where it is wrong."""
    file = write_tiny_gguf(tmp_path / "wrong.gguf", {"default": source})
    models = [{"id": "wrong", "engine": "llamacpp", "options": {"model": str(file), "threads": 1, "slots": 1}}]
    with pytest.raises(ConfigurationError) as refused, served(f"models: {json.dumps(models)}"):
        pass
    assert reason in refused.value.message
