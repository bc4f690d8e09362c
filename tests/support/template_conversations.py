"""Conversations of many kinds, as clients send them, to render with many chat templates."""

from typing import Any

import msgspec

Entry = dict[str, Any]

ODD = "Grüße <b>&amp;</b> \"q\" 'a' \\n \t {{ x }} {% y %} 🎉 漢字\r\nend"
SYSTEM: Entry = {"role": "system", "content": "You are brief."}
FIRST: Entry = {"role": "user", "content": "How warm is Rome?"}
ANSWER: Entry = {"role": "assistant", "content": "It is warm."}
SECOND: Entry = {"role": "user", "content": "And Oslo?"}
LOOK: Entry = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Look up the weather of a città.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Its name"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "array", "items": {"type": "integer"}},
            },
            "required": ["city"],
        },
    },
}
UNDESCRIBED: Entry = {**LOOK, "function": {k: v for k, v in LOOK["function"].items() if k != "description"}}
BARE: Entry = {"type": "function", "function": {"name": "now", "strict": True}}


class ClientChat(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request, as far as a template sees it."""

    messages: list[Entry]
    tools: list[Entry] = msgspec.field(default_factory=list)
    documents: list[Entry] | None = None
    options: Entry = msgspec.field(default_factory=dict)
    add_generation_prompt: bool = True
    continue_final_message: bool = False


def call(*arguments: str, content: str | None = None, ids: str = "abcdefghi", **members: Any) -> Entry:
    """An answer that calls the weather once for each text of arguments."""
    calls = [
        {"id": f"{ids[:-1]}{number}", "type": "function", "function": {"name": "get_weather", "arguments": one}}
        for number, one in enumerate(arguments)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls, **members}


def told(number: int = 0, content: str = '{"degrees": 21}', ids: str = "abcdefghi") -> Entry:
    """The result of a call."""
    return {"role": "tool", "content": content, "tool_call_id": f"{ids[:-1]}{number}"}


def parts(message: Entry) -> Entry:
    """The message with its content as two parts."""
    text = message["content"]
    return {**message, "content": [{"type": "text", "text": text[:4]}, {"type": "text", "text": text[4:]}]}


ROME, OSLO = '{"city": "Rome", "days": [1, 2]}', '{"city": "Osló", "unit": "celsius"}'
LOOP = [FIRST, call(ROME), told()]
FOREIGN = "call_00001111x"
THOUGHT = {"reasoning_content": "The user wants Rome.\nSo I look."}

CONVERSATIONS = {
    "a question": ClientChat(messages=[FIRST]),
    "instructions": ClientChat(messages=[SYSTEM, FIRST]),
    "turns": ClientChat(messages=[FIRST, ANSWER, SECOND]),
    "instructions and turns": ClientChat(messages=[SYSTEM, FIRST, ANSWER, SECOND]),
    "odd characters": ClientChat(messages=[{**SYSTEM, "content": ODD}, {**FIRST, "content": ODD}]),
    "white space": ClientChat(messages=[{**SYSTEM, "content": "\n a \n"}, {**FIRST, "content": "  b\n\n"}]),
    "empty contents": ClientChat(messages=[{**FIRST, "content": ""}, {**ANSWER, "content": ""}, SECOND]),
    "no generation prompt": ClientChat(messages=[SYSTEM, FIRST, ANSWER], add_generation_prompt=False),
    "an answered question": ClientChat(messages=[FIRST, ANSWER]),
    "a tool": ClientChat(messages=[FIRST], tools=[LOOK]),
    "a tool and instructions": ClientChat(messages=[SYSTEM, FIRST], tools=[LOOK]),
    "a tool without parameters": ClientChat(messages=[FIRST], tools=[BARE, LOOK]),
    "a tool without a description": ClientChat(messages=[FIRST], tools=[LOOK, UNDESCRIBED]),
    "a call": ClientChat(messages=[SYSTEM, *LOOP], tools=[LOOK]),
    "a call with text": ClientChat(messages=[FIRST, call(ROME, content="Let me see."), told()], tools=[LOOK]),
    "an empty text beside a call": ClientChat(messages=[FIRST, call(ROME, content=""), told()], tools=[LOOK]),
    "parallel calls": ClientChat(messages=[FIRST, call(ROME, OSLO), told(), told(1)], tools=[LOOK]),
    "calls one after another": ClientChat(messages=[*LOOP, call(OSLO), told()], tools=[LOOK]),
    "a call and turns": ClientChat(messages=[SYSTEM, *LOOP, ANSWER, SECOND], tools=[LOOK]),
    "a call of the past": ClientChat(messages=[*LOOP, ANSWER, SECOND]),
    "no arguments": ClientChat(messages=[FIRST, call(""), told()], tools=[LOOK]),
    "cut arguments": ClientChat(messages=[FIRST, call('{"city": "R'), told(), SECOND], tools=[LOOK]),
    "ids from elsewhere": ClientChat(
        messages=[FIRST, call(ROME, ids="call_00001111x"), told(ids="call_00001111x")]
    ),
    "reasoning between calls": ClientChat(messages=[FIRST, call(ROME, **THOUGHT), told()], tools=[LOOK]),
    "reasoning of the past": ClientChat(messages=[FIRST, {**ANSWER, **THOUGHT}, SECOND]),
    "a developer": ClientChat(messages=[{"role": "developer", "content": "Be kind."}, FIRST]),
    "two questions": ClientChat(messages=[FIRST, SECOND]),
    "the assistant first": ClientChat(messages=[ANSWER, FIRST]),
    "late instructions": ClientChat(messages=[FIRST, ANSWER, SYSTEM, SECOND]),
    "parts": ClientChat(messages=[parts(FIRST)]),
    "parts everywhere": ClientChat(messages=[parts(SYSTEM), parts(FIRST), parts(ANSWER), parts(SECOND)]),
    "names": ClientChat(messages=[{**FIRST, "name": "ada"}, ANSWER, {**SECOND, "name": "ben"}]),
    "an answer to continue": ClientChat(
        messages=[FIRST, ANSWER], add_generation_prompt=False, continue_final_message=True
    ),
    "a space to continue": ClientChat(
        messages=[FIRST, {**ANSWER, "content": "It is "}], add_generation_prompt=False, continue_final_message=True
    ),
    "thinking off": ClientChat(messages=[SYSTEM, FIRST], options={"enable_thinking": False}),
    "thinking on": ClientChat(messages=LOOP, tools=[LOOK], options={"enable_thinking": True, "thinking": True}),
    "much effort": ClientChat(messages=[FIRST], options={"reasoning_effort": "high"}),
    "documents": ClientChat(messages=[FIRST], documents=[{"title": "Rome", "text": ODD}]),
}
