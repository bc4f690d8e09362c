"""Exports of other applications in their published shapes, made for tests: conversations with branches, reasoning,
calls of tools, files and instructions."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

Made = dict[str, Any]
_START = 1_750_000_000


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def chatgpt(number: int) -> Made:
    """A question with thoughts, a call of a tool, its result, an answer, and a second answer in a branch."""
    at = _START + number * 100

    def node(name: str, parent: str | None, message: Made | None) -> tuple[str, Made]:
        return name, {"id": name, "message": message, "parent": parent, "children": []}

    def said(role: str, content: Made, seconds: int, recipient: str = "all", **metadata: Any) -> Made:
        author = {"role": role, "name": None, "metadata": {}}
        return {
            "author": author,
            "create_time": at + seconds + 0.25,
            "content": content,
            "status": "finished_successfully",
            "recipient": recipient,
            "metadata": metadata,
        }

    def text(words: str) -> Made:
        return {"content_type": "text", "parts": [words]}

    thoughts = {"content_type": "thoughts", "thoughts": [{"summary": "Counting", "content": f"Count {number}."}]}
    code = {"content_type": "code", "language": "python", "text": f"print({number})"}
    output = {"content_type": "execution_output", "text": f"{number}\n"}
    mapping = dict(
        [
            node("root", None, None),
            node("u1", "root", said("user", text(f"Question {number}?"), 1)),
            node("t1", "u1", said("assistant", thoughts, 2)),
            node("c1", "t1", said("assistant", code, 3, "python", model_slug="o5")),
            node("r1", "c1", said("tool", output, 4)),
            node("a1", "r1", said("assistant", text(f"Answer {number}."), 5, model_slug="o5")),
            node("a2", "u1", said("assistant", text(f"Another answer {number}."), 6, model_slug="gpt-5")),
        ]
    )
    return {
        "title": f"Talk {number}",
        "create_time": at + 0.5,
        "update_time": at + 50.0,
        "mapping": mapping,
        "current_node": "a1",
        "conversation_id": f"00000000-0000-4000-8000-{number:012d}",
        "id": f"00000000-0000-4000-8000-{number:012d}",
        "default_model_slug": "o5",
    }


def claude(number: int) -> Made:
    """The same by Claude, with the result of its tool within the answer."""
    at = _START + number * 100

    def said(own: str, parent: str, sender: str, content: list[Made], seconds: int) -> Made:
        return {
            "uuid": f"{own}-{number}",
            "text": "",
            "content": content,
            "sender": sender,
            "created_at": _iso(at + seconds),
            "updated_at": _iso(at + seconds),
            "attachments": [],
            "files": [],
            "parent_message_uuid": parent,
        }

    answer = [
        {"type": "thinking", "thinking": f"Count {number}."},
        {"type": "tool_use", "id": f"toolu_{number}", "name": "count", "input": {"to": number}},
        {
            "type": "tool_result",
            "tool_use_id": f"toolu_{number}",
            "content": [{"type": "text", "text": str(number)}],
        },
        {"type": "text", "text": f"Answer {number}."},
    ]
    root = "00000000-0000-4000-8000-000000000000"
    return {
        "uuid": f"11111111-0000-4000-8000-{number:012d}",
        "name": f"Talk {number}",
        "created_at": _iso(at),
        "updated_at": _iso(at + 50),
        "account": {"uuid": "2"},
        "chat_messages": [
            said("u1", root, "human", [{"type": "text", "text": f"Question {number}?"}], 1),
            said("a2", f"u1-{number}", "assistant", [{"type": "text", "text": f"Another answer {number}."}], 2),
            said("a1", f"u1-{number}", "assistant", answer, 3),
        ],
        "current_leaf_message_uuid": f"a1-{number}",
    }


def open_webui(number: int) -> Made:
    """The same by Open WebUI, with reasoning and the call as elements of HTML."""
    at = _START + number * 100
    answer = (
        f'<details type="reasoning" done="true" duration="2">\n<summary>Thought for 2 seconds</summary>\n'
        f"&gt; Count {number}.\n</details>\n"
        f'<details type="tool_calls" done="true" id="call_{number}" name="count" '
        f'arguments="{{&quot;to&quot;: {number}}}" result="{number}">\n'
        f"<summary>Tool Executed</summary>\n</details>\n"
        f"Answer {number}."
    )
    messages: list[Made] = [
        {
            "id": "u1",
            "parentId": None,
            "childrenIds": ["a1", "a2"],
            "role": "user",
            "content": f"Question {number}?",
        },
        {
            "id": "a1",
            "parentId": "u1",
            "childrenIds": [],
            "role": "assistant",
            "content": answer,
            "model": "qwen3",
        },
        {
            "id": "a2",
            "parentId": "u1",
            "childrenIds": [],
            "role": "assistant",
            "content": f"Another answer {number}.",
            "model": "llama3",
        },
    ]
    by_id = {one["id"]: {**one, "timestamp": at + place} for place, one in enumerate(messages, 1)}
    return {
        "id": f"22222222-0000-4000-8000-{number:012d}",
        "user_id": "3",
        "title": f"Talk {number}",
        "chat": {
            "title": f"Talk {number}",
            "models": ["qwen3"],
            "params": {},
            "history": {"messages": by_id, "currentId": "a1"},
            "messages": [],
            "timestamp": at * 1000,
        },
        "created_at": at,
        "updated_at": at + 50,
        "archived": False,
        "pinned": False,
    }


def librechat(number: int) -> Made:
    """The same by LibreChat, where odd conversations have their messages within each other."""
    at = _START + number * 100

    def said(own: str, parent: str, by_user: bool, seconds: int, **fields: Any) -> Made:
        return {
            "messageId": f"{own}-{number}",
            "parentMessageId": parent,
            "sender": "User" if by_user else "Assistant",
            "isCreatedByUser": by_user,
            "createdAt": _iso(at + seconds),
            "model": None if by_user else "gpt-5",
            "text": "",
            **fields,
        }

    call = {"id": f"call_{number}", "name": "count", "args": json.dumps({"to": number}), "output": str(number)}
    parts = [
        {"type": "think", "think": f"Count {number}."},
        {"type": "tool_call", "tool_call": call},
        {"type": "text", "text": f"Answer {number}."},
    ]
    question = said("u1", "00000000-0000-0000-0000-000000000000", True, 1, text=f"Question {number}?")
    answers = [
        said("a2", f"u1-{number}", False, 2, text=f"Another answer {number}."),
        said("a1", f"u1-{number}", False, 3, content=parts),
    ]
    recursive = number % 2 == 1
    messages = [{**question, "children": answers}] if recursive else [question, *answers]
    return {
        "conversationId": f"33333333-0000-4000-8000-{number:012d}",
        "endpoint": "openAI",
        "title": f"Talk {number}",
        "exportAt": "13:18:04 GMT-0400",
        "branches": True,
        "recursive": recursive,
        "options": {"model": "gpt-5"},
        "messages": messages,
    }


def lm_studio(number: int) -> Made:
    """The same by LM Studio, with versions of the answer."""

    def version(*steps: Made) -> Made:
        return {
            "type": "multiStep",
            "role": "assistant",
            "senderInfo": {"senderName": "qwen3"},
            "steps": list(steps),
        }

    def block(*content: Made, **fields: Any) -> Made:
        return {"type": "contentBlock", "content": list(content), **fields}

    def text(words: str) -> Made:
        return {"type": "text", "text": words}

    called = {"type": "toolCallRequest", "toolCallRequestId": "1", "name": "count", "parameters": {"to": number}}
    answer = version(
        block(text(f"Count {number}."), style={"type": "thinking", "ended": True}),
        block(called),
        {"type": "toolStatus"},
        block({"type": "toolCallResult", "content": str(number)}),
        block(text(f"Answer {number}.")),
        {"type": "debugInfoBlock", "debugInfo": "named"},
    )
    question = {"type": "singleStep", "role": "user", "content": [text(f"Question {number}?")]}
    return {
        "name": f"Talk {number}",
        "pinned": False,
        "createdAt": (_START + number * 100) * 1000,
        "tokenCount": 10,
        "systemPrompt": "",
        "lastUsedModel": {"identifier": "qwen3"},
        "messages": [
            {"currentlySelected": 0, "versions": [question]},
            {"currentlySelected": 1, "versions": [version(block(text(f"Another answer {number}."))), answer]},
        ],
    }


def llamacpp(number: int) -> Made:
    """The same by the page of llama.cpp's server."""
    at = (_START + number * 100) * 1000
    own = f"44444444-0000-4000-8000-{number:012d}"

    def said(name: str, parent: str | None, role: str, content: str, seconds: int, **fields: Any) -> Made:
        return {
            "id": f"{name}-{number}",
            "convId": own,
            "type": "text",
            "timestamp": at + seconds * 1000,
            "role": role,
            "content": content,
            "parent": None if parent is None else f"{parent}-{number}",
            "children": [],
            **fields,
        }

    call = {"id": "c1", "type": "function", "function": {"name": "count", "arguments": json.dumps({"to": number})}}
    return {
        "conv": {"id": own, "name": f"Talk {number}", "lastModified": at + 50_000, "currNode": f"a1-{number}"},
        "messages": [
            said("root", None, "system", "", 0, type="root"),
            said("u1", "root", "user", f"Question {number}?", 1),
            said("a2", "u1", "assistant", f"Another answer {number}.", 2, model="qwen3"),
            said(
                "c1", "u1", "assistant", "", 3, reasoningContent=f"Count {number}.", toolCalls=json.dumps([call])
            ),
            said("r1", "c1", "tool", str(number), 4, toolCallId="c1"),
            said("a1", "r1", "assistant", f"Answer {number}.", 5, model="qwen3"),
        ],
    }


#: What makes a conversation of each application, by the application's name in the API.
MAKERS: Mapping[str, Callable[[int], Made]] = MappingProxyType(
    {
        "chatgpt": chatgpt,
        "claude": claude,
        "librechat": librechat,
        "llama.cpp": llamacpp,
        "lm-studio": lm_studio,
        "open-webui": open_webui,
    }
)


def session_lines(number: int) -> str:
    """A conversation of llama.cpp's page as lines, the newer of its shapes."""
    made = llamacpp(number)
    lines: list[Made] = [{"harness": "llama.cpp", "type": "session", **made["conv"]}]
    for message in made["messages"]:
        calls = {"toolCalls": json.loads(message["toolCalls"])} if "toolCalls" in message else {}
        lines.append({"message": {**message, **calls}, "type": "message"})
    return "\n".join(map(json.dumps, lines))
