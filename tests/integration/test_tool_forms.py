"""All forms of tools and tool choices: allowed tools, custom tools, and OpenAI's older functions."""

import json
import re
from typing import Any

import httpx
import pytest
from support.server import MODEL

CHAT = "/api/v1/chat/completions"
PLACE = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]}
WEATHER = {"name": "weather", "description": "The weather", "parameters": PLACE}
TIME = {"name": "time", "description": "The time", "parameters": PLACE}
TOOLS = [{"type": "function", "function": WEATHER}, {"type": "function", "function": TIME}]
CODE: dict[str, Any] = {"type": "custom", "custom": {"name": "run", "description": "Run code"}}
DIGITS = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[0-9]{3}"}}
NAMED = {"type": "function", "function": {"name": "time"}}


def called(name: str, **arguments: str) -> str:
    """A call as a model writes it, which the echo engine repeats."""
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def ask(client: httpx.Client, model: str, text: str, **parameters: Any) -> Any:
    response = client.post(CHAT, json={"model": model, "messages": say(text), **parameters})
    assert response.status_code == 200, response.text
    assert "x-jan-ignored" not in response.headers
    return response.json()["choices"][0]


def deltas(client: httpx.Client, model: str, text: str, **parameters: Any) -> list[Any]:
    body = {"model": model, "messages": say(text), "stream": True, **parameters}
    with client.stream("POST", CHAT, json=body) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: ")]
    return [json.loads(line)["choices"][0] for line in lines[:-1]]


def allowed(mode: str, *tools: Any) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(tools)}}


@pytest.mark.model
@pytest.mark.parametrize("choice", ["any", allowed("required", NAMED)], ids=str)
def test_a_model_must_call(model: httpx.Client, choice: Any) -> None:
    """By any of the forms; of allowed tools, it calls only those."""
    answer = ask(model, MODEL, "What time is it in Rome?", tools=TOOLS, tool_choice=choice, max_tokens=40)
    names = {call["function"]["name"] for call in answer["message"]["tool_calls"]}
    assert names <= {"weather", "time"}
    if isinstance(choice, dict):
        assert names == {"time"}


def test_only_allowed_tools_are_called(echo: httpx.Client) -> None:
    """A call of another tool is text."""
    choice = allowed("auto", NAMED)
    answer = ask(echo, "echo", called("time", city="Rome"), tools=TOOLS, tool_choice=choice)
    assert answer["message"]["tool_calls"][0]["function"]["name"] == "time"
    answer = ask(echo, "echo", called("weather", city="Rome"), tools=TOOLS, tool_choice=choice)
    assert "tool_calls" not in answer["message"]
    assert "weather" in answer["message"]["content"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_custom_tool_gets_a_text(echo: httpx.Client, stream: bool) -> None:
    """Whole and streamed, the call has the text itself, beside calls of functions."""
    text = called("run", input='print("a\\n")') + "\n" + called("time", city="Rome")
    tools = [CODE, *TOOLS]
    if stream:
        pieces = [
            piece
            for one in deltas(echo, "echo", text, tools=tools)
            for piece in one["delta"].get("tool_calls", [])
        ]
        custom = [piece for piece in pieces if piece.get("type") == "custom"]
        assert [piece["index"] for piece in custom] == [0]
        assert custom[0]["custom"] == {"name": "run", "input": 'print("a\\n")'}
        assert "function" not in custom[0]
        assert {piece["index"] for piece in pieces} == {0, 1}
        return
    answer = ask(echo, "echo", text, tools=tools)
    first, second = answer["message"]["tool_calls"]
    assert first["type"] == "custom"
    assert first["custom"] == {"name": "run", "input": 'print("a\\n")'}
    assert second["function"]["name"] == "time"
    assert answer["finish_reason"] == "tool_calls"
    history = [*say("a"), answer["message"], {"role": "tool", "tool_call_id": first["id"], "content": "done"}]
    history.append({"role": "tool", "tool_call_id": second["id"], "content": "noon"})
    again = echo.post(CHAT, json={"model": "echo", "messages": history, "tools": tools})
    assert again.status_code == 200, again.text


@pytest.mark.model
def test_a_custom_tools_text_has_its_form(model: httpx.Client) -> None:
    """A regular expression holds for the text; the tool can be named."""
    tool = {"type": "custom", "custom": CODE["custom"] | {"format": DIGITS}}
    choice = {"type": "custom", "custom": {"name": "run"}}
    answer = ask(model, MODEL, "Run something.", tools=[tool], tool_choice=choice, max_tokens=40)
    (call,) = answer["message"]["tool_calls"]
    assert re.fullmatch("[0-9]{3}", call["custom"]["input"])


@pytest.mark.parametrize("stream", [False, True])
def test_older_functions(echo: httpx.Client, stream: bool) -> None:
    """The answer has a function_call, and ends for that reason."""
    text = called("time", city="Rome")
    if stream:
        pieces = deltas(echo, "echo", text, functions=[WEATHER, TIME])
        found = [piece["delta"]["function_call"] for piece in pieces if "function_call" in piece["delta"]]
        assert found[0]["name"] == "time"
        assert json.loads("".join(piece.get("arguments", "") for piece in found)) == {"city": "Rome"}
        assert not any("tool_calls" in piece["delta"] for piece in pieces)
        assert pieces[-1]["finish_reason"] == "function_call"
        return
    answer = ask(echo, "echo", text, functions=[WEATHER, TIME], function_call="auto")
    assert answer["message"]["function_call"] == {"name": "time", "arguments": '{"city": "Rome"}'}
    assert "tool_calls" not in answer["message"]
    assert answer["finish_reason"] == "function_call"
    history = [*say("a"), answer["message"], {"role": "function", "name": "time", "content": "noon"}]
    again = echo.post(CHAT, json={"model": "echo", "messages": history, "functions": [TIME]})
    assert again.status_code == 200, again.text


@pytest.mark.model
def test_an_older_function_is_forced(model: httpx.Client) -> None:
    """By its name; with none, nothing is called."""
    asked = {"functions": [WEATHER, TIME], "max_tokens": 60}
    forced = ask(model, MODEL, "Hello", function_call={"name": "weather"}, **asked)
    assert forced["message"]["function_call"]["name"] == "weather"
    free = ask(model, MODEL, "Hello", function_call="none", **asked)
    assert "function_call" not in free["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (
            {"tools": TOOLS, "tool_choice": allowed("auto", {"type": "function", "function": {"name": "x"}})},
            "tool_choice",
        ),
        ({"tools": TOOLS, "tool_choice": {"type": "custom", "custom": {"name": "x"}}}, "tool_choice"),
        ({"tools": TOOLS, "functions": [TIME]}, "functions"),
        ({"functions": [TIME], "function_call": {"name": "x"}}, "function_call"),
        ({"function_call": {"name": "x"}}, "function_call"),
        ({"tools": TOOLS, "tool_choice": {"type": "sth"}}, "tool_choice.type"),
        (
            {"tools": [{"type": "custom", "custom": {"name": "a", "format": {"type": "grammar", "grammar": {}}}}]},
            "tools[0].custom.format.grammar.syntax",
        ),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(echo: httpx.Client, body: dict[str, Any], param: str) -> None:
    """With the place of the mistake."""
    response = echo.post(CHAT, json={"model": "echo", "messages": say("a"), **body})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param


@pytest.mark.model
def test_every_form_of_tools_is_named_as_it_was_sent(model: httpx.Client) -> None:
    """Where its schema or regular expression is wrong, in errors and in the header."""
    body = {"model": MODEL, "messages": say("a"), "max_tokens": 1}
    odd = {"name": "odd", "parameters": {"properties": {"p": None}}}
    response = model.post(CHAT, json=body | {"functions": [TIME, odd]})
    assert response.headers["X-Jan-Relaxed"] == "functions[1].parameters.properties.p"
    format = DIGITS | {"grammar": {"syntax": "regex", "definition": "("}}
    custom = {"type": "custom", "custom": {"name": "c", "format": format}}
    for parameters, place in (
        ({"functions": [TIME, odd | {"parameters": {"type": "string"}}]}, "functions[1].parameters"),
        ({"tools": [*TOOLS, custom]}, "tools[2].custom.format"),
    ):
        error = model.post(CHAT, json=body | parameters).json()["error"]
        assert (error["code"], error["param"]) == ("invalid_schema", place)


_CALL = {"id": "c", "type": "function", "function": {"name": "", "arguments": "{}"}}
_NO_NAME = "Not a name; allowed: 1 to 64 letters, digits, _ and -."


@pytest.mark.parametrize(
    ("change", "param", "reason"),
    [
        ({"tools": [{"type": "function", "function": {"name": ""}}]}, "tools[0].function.name", _NO_NAME),
        ({"tools": [{"type": "custom", "custom": {"name": "a b"}}]}, "tools[0].custom.name", _NO_NAME),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "The key 'function' is required."),
        (
            {"messages": [{"role": "assistant", "tool_calls": [_CALL]}, *say("hi")]},
            "messages[0].tool_calls[0].function.name",
            "Expected `str` of length >= 1.",
        ),
    ],
    ids=["no name", "a space", "no function", "a call without a name"],
)
def test_wrong_names_are_told(echo: httpx.Client, change: dict[str, Any], param: str, reason: str) -> None:
    """The error says where the name is, and which names are allowed."""
    refused = echo.post(CHAT, json={"model": "echo", "messages": say("hi"), **change})
    error = refused.json()["error"]
    assert (refused.status_code, error["param"], error["message"]) == (400, param, f"{param}: {reason}")
