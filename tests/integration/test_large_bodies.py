"""Bodies that would take long to decode: refused by a measure that is taken before, or decoded in pieces."""

import json
from collections.abc import Iterator

import httpx
import pytest
from support.server import ServerProcess, http_client

from jan.http.json_structure import has_more_members, lines_in_pieces

CHAT = "/api/v1/chat/completions"
COMPLETIONS = "/api/v1/completions"
CONVERSATIONS = "/api/v1/conversations"
JSON = {"Content-Type": "application/json"}
MANY = 60_000
MESSAGE = '{"role":"user","content":"hi"}'


@pytest.fixture(scope="module")
def admin(echo_server: ServerProcess) -> Iterator[httpx.Client]:
    with http_client(echo_server, headers={"Authorization": f"Bearer {echo_server.admin_key}"}) as client:
        yield client


def chat(more: str, messages: str = MESSAGE) -> str:
    return f'{{"model":"echo","messages":[{messages}],{more}}}'


def names(value: str) -> str:
    return ",".join(f'"{number}":{value}' for number in range(MANY))


MANY_MEMBERS = {
    "metadata": (CHAT, chat(f'"metadata":{{{names(chr(34) * 2)}}}')),
    "logit_bias": (CHAT, chat(f'"logit_bias":{{{names("1")}}}')),
    "unknown names": (CHAT, chat(names("1"))),
    "lists in template options": (CHAT, chat('"chat_template_kwargs":{"a":[' + "[]," * MANY + "[]]}")),
    "content parts": (CHAT, chat('"n":1', f'{{"role":"user","content":[{"{}," * MANY}{{}}]}}')),
    "tool calls": (CHAT, chat('"n":1', f'{{"role":"assistant","tool_calls":[{"{}," * MANY}{{}}]}}')),
    "messages": (CHAT, chat('"n":1', ",".join([MESSAGE] * (MANY // 3)))),
    "tools": (CHAT, chat('"tools":[' + "{}," * MANY + "{}]")),
    "schema": (CHAT, chat(f'"guided_json":{{{names("{}")}}}')),
    "lists of tokens": (COMPLETIONS, '{"model":"echo","prompt":[' + "[1]," * MANY + "[1]]}"),
    "metadata of a conversation": (CONVERSATIONS, f'{{"metadata":{{{names(chr(34) * 2)}}}}}'),
    "a line of an import": (
        f"{CONVERSATIONS}/import",
        f'{{"object":"conversation","metadata":{{{names(chr(34) * 2)}}}}}\n',
    ),
}


@pytest.mark.parametrize("name", MANY_MEMBERS)
def test_a_body_of_too_many_members_is_refused(admin: httpx.Client, name: str) -> None:
    """Objects, arrays and names are counted before anything is decoded: 400 says how many are allowed."""
    path, text = MANY_MEMBERS[name]
    refusal = admin.post(path, content=text, headers=JSON)
    assert refusal.status_code == 400, refusal.text[:500]
    assert refusal.json()["error"]["code"] == "json_too_complex"
    assert "50000" in refusal.json()["error"]["message"]


def test_what_stands_in_texts_is_not_counted(admin: httpx.Client) -> None:
    """A message about JSON has as many brackets and colons as it likes."""
    text = json.dumps({"a": [{"b": '"'}]}) * MANY
    body = {"model": "echo", "max_tokens": 1, "messages": [{"role": "user", "content": text}]}
    answer = admin.post(CHAT, json=body)
    assert answer.json().get("error", {}).get("code") != "json_too_complex"


def test_more_tokens_than_any_context_are_refused(admin: httpx.Client) -> None:
    """A prompt of token ids is bounded, whatever the model."""
    refusal = admin.post(COMPLETIONS, content=f'{{"model":"echo","prompt":[{"1," * 2**20}1]}}', headers=JSON)
    assert refusal.status_code == 400
    assert (refusal.json()["error"]["code"], refusal.json()["error"]["param"]) == ("invalid_value", "prompt")


def exported(count: int) -> list[str]:
    """Return the lines of an exported conversation; each message is below the one before it."""
    times = {"created_at": 1767225600, "updated_at": 1767225600}
    first = {"object": "conversation", "id": "c", "title": "", "model": None, "metadata": {}, **times}
    lines = [json.dumps({**first, "head_id": None, "message_count": count})]
    for number in range(1, count + 1):
        message = {"object": "conversation.message", "id": f"m{number}", "conversation_id": "c"}
        parent = {"parent_id": f"m{number - 1}" if number > 1 else None, "sequence": number}
        content = {"role": "user", "content": "Hello!", "status": "complete"}
        lines.append(json.dumps({**message, **parent, **content, **times}))
    return lines


def test_an_import_is_decoded_in_pieces(admin: httpx.Client) -> None:
    """Together its lines may have more members than one body; an error names the line and byte in the whole."""
    lines = exported(5000)
    text = "\n".join(lines)
    stored = admin.post(f"{CONVERSATIONS}/import", content=text, headers=JSON)
    assert (stored.status_code, stored.json()["message_count"]) == (200, 5000)
    wrong = "\n".join([*lines[:4000], lines[4000].replace('"user"', '"nobody"'), *lines[4001:]])
    refusal = admin.post(f"{CONVERSATIONS}/import", content=wrong, headers=JSON)
    assert refusal.json()["error"]["param"] == "[4000].role"
    before = "\n".join(lines[:4000]) + "\n"
    refusal = admin.post(f"{CONVERSATIONS}/import", content=before + "x" + text, headers=JSON)
    assert f"(byte {len(before)})" in refusal.json()["error"]["message"]


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("escape", [r"\\", r"\"", r"\\\"", "a"])
def test_members_are_counted_across_slices(escape: str, shift: int) -> None:
    """Wherever a long text is cut to be measured, brackets in its strings are not counted, and others are."""
    text = "[" + '"' + "x" * shift + (escape + "[{:") * 30_000 + '"' + ",{}" * 9 + "]"
    assert not has_more_members(text.encode(), 10)
    assert has_more_members(text.encode(), 9)


def test_pieces_of_lines_are_all_of_the_text() -> None:
    """Pieces are whole lines, and no longer than asked unless one line is."""
    text = b"\n".join([b"a" * 10, b"b" * 50, b"", b"c", b"d" * 19, b"e" * 3])
    pieces = list(lines_in_pieces(text, 20))
    assert b"".join(pieces) == text
    assert pieces == [b"a" * 10 + b"\n", b"b" * 50 + b"\n", b"\nc\n", b"d" * 19 + b"\n", b"e" * 3]
