"""Imports of conversations from files of other applications, by POST /imports on both stores."""

import json
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import pytest
from support.conversation import API, CONVERSATIONS, messages_of, pages
from support.foreign_exports import MAKERS, Made, session_lines

from jan.conversations.history import check_message
from jan.importing.kinds import read_pieces
from jan.importing.pieces import joined, pieces

IMPORTS = f"{API}/imports"
COUNT = 20
KINDS = pytest.mark.parametrize("kind", sorted(MAKERS))


def send(client: httpx.Client, content: bytes | str, **query: str) -> Any:
    """What became of a file."""
    answer = client.post(IMPORTS, content=content, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def made(kind: str, numbers: Iterable[int]) -> list[Made]:
    return [MAKERS[kind](number) for number in numbers]


def counts(report: Any) -> dict[str, int]:
    return {name: report[name] for name in ("total", "imported", "known", "failed", "untried")}


def conversations(client: httpx.Client) -> list[Any]:
    return [one for page in pages(client, CONVERSATIONS, limit=100) for one in page]


@KINDS
def test_every_conversation_is_imported_once(me: httpx.Client, kind: str) -> None:
    data = json.dumps(made(kind, range(COUNT))).encode()
    report = send(me, data)
    assert counts(report) == {"total": COUNT, "imported": COUNT, "known": 0, "failed": 0, "untried": 0}
    assert report["sources"] == [kind]
    assert report["skipped"] == []
    assert report["error"] is None
    again = send(me, data, source=kind)
    assert counts(again) == {"total": COUNT, "imported": 0, "known": COUNT, "failed": 0, "untried": 0}
    found = conversations(me)
    assert sorted(one["title"] for one in found) == sorted(f"Talk {number}" for number in range(COUNT))
    assert all(one["origin"].startswith(f"{kind}:") for one in found)


@KINDS
def test_branches_reasoning_calls_and_times_are_kept(me: httpx.Client, kind: str) -> None:
    send(me, json.dumps(made(kind, [7])))
    (conversation,) = conversations(me)
    assert conversation["created_at"] // 10 == 175000070
    found = messages_of(me, conversation["id"])
    by_text = {one["content"]: one for one in found if one["content"]}
    question, answer, other = by_text["Question 7?"], by_text["Answer 7."], by_text["Another answer 7."]
    (caller,) = (one for one in found if one["tool_calls"])
    (result,) = (one for one in found if one["role"] == "tool")
    assert [question["role"], answer["role"], other["role"]] == ["user", "assistant", "assistant"]
    assert question["parent_id"] is None
    assert other["parent_id"] == caller["parent_id"] == question["id"]
    assert [result["parent_id"], answer["parent_id"]] == [caller["id"], result["id"]]
    assert caller["reasoning_content"].endswith("Count 7.")
    assert result["tool_call_id"] == caller["tool_calls"][0]["id"]
    assert result["content"].strip() == "7"
    assert conversation["head_id"] == answer["id"] == found[-1]["id"]
    assert len(found) == 5
    if kind != "lm-studio":  # which keeps no times of messages
        assert 1750000700 < question["created_at"] < other["created_at"] < 1750000710
    assert answer["model"] or kind == "claude"  # whose export names none


@KINDS
def test_one_spoilt_conversation_is_named_and_the_others_are_imported(me: httpx.Client, kind: str) -> None:
    whole = made(kind, range(5))
    texts = [json.dumps(one) for one in whole]
    texts[2] = texts[2].replace("Question 2?", "Question \\ud800?")  # half a character
    report = send(me, "[" + ",".join(texts) + "]")
    assert counts(report) == {"total": 5, "imported": 4, "known": 0, "failed": 1, "untried": 0}
    (skipped,) = report["skipped"]
    assert skipped["conversation"] == "conversation 3 of the file"
    assert skipped["reason"].startswith("It is not valid JSON: ")
    mended = send(me, json.dumps(whole))
    assert counts(mended) == {"total": 5, "imported": 1, "known": 4, "failed": 0, "untried": 0}


def test_lines_of_sessions_are_conversations(me: httpx.Client) -> None:
    report = send(me, "\n".join(map(session_lines, range(3))))
    assert counts(report) == {"total": 3, "imported": 3, "known": 0, "failed": 0, "untried": 0}
    assert counts(send(me, json.dumps(made("llama.cpp", range(3)))))["known"] == 3


def test_a_user_imports_what_another_has(me: httpx.Client, somebody: httpx.Client) -> None:
    data = json.dumps(made("claude", range(2)))
    assert send(me, data)["imported"] == send(somebody, data)["imported"] == 2
    mine = conversations(me)[0]["id"]
    assert somebody.get(f"{CONVERSATIONS}/{mine}").status_code == 404
    assert me.delete(f"{CONVERSATIONS}/{mine}").status_code == 200
    assert counts(send(me, data)) == {"total": 2, "imported": 1, "known": 1, "failed": 0, "untried": 0}


def test_an_imported_conversation_goes_on_and_is_exported(me: httpx.Client) -> None:
    send(me, json.dumps(made("open-webui", [1])))
    (conversation,) = conversations(me)
    export = me.get(f"{CONVERSATIONS}/{conversation['id']}/export").text
    copy = me.post(f"{CONVERSATIONS}/import", content=export, headers={"Content-Type": "application/jsonl"}).json()
    assert "origin" not in copy
    assert copy["message_count"] == conversation["message_count"]


def spoil(kind: str, change: Callable[[Made], None]) -> str:
    conversation = MAKERS[kind](1)
    change(conversation)
    return json.dumps(conversation)


def add_image(one: Made) -> None:
    content = {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer"}, "See?"]}
    one["mapping"]["u1"]["message"]["content"] = content


def add_loop(one: Made) -> None:
    one["mapping"]["u1"]["parent"] = "a1"


def add_file(one: Made) -> None:
    one["chat_messages"][0]["files"] = [{"file_name": "cat.png"}]
    one["chat_messages"][0]["content"] = []


def add_role(one: Made) -> None:
    one["chat"]["history"]["messages"]["u1"]["role"] = "narrator"


def repeat_message(one: Made) -> None:
    one["messages"].append(one["messages"][1])


def empty_answer(one: Made) -> None:
    one["messages"][1]["versions"][0]["steps"] = []


@pytest.mark.parametrize(
    ("kind", "change", "message", "reason"),
    [
        ("chatgpt", add_image, "u1", "It has image asset pointer, which were not imported."),
        ("claude", add_file, "u1-1", "The file 'cat.png' is not in the export."),
        ("open-webui", add_role, "u1", "Messages of 'narrator' are not kept."),
        ("llama.cpp", repeat_message, "u1-1", "An earlier message has the same id."),
        ("lm-studio", empty_answer, "2.0", "It is empty."),
    ],
    ids=lambda value: value if isinstance(value, str) and value in MAKERS else "",
)
def test_what_is_left_out_of_a_conversation_is_named(
    me: httpx.Client, kind: str, change: Callable[[Made], None], message: str, reason: str
) -> None:
    report = send(me, spoil(kind, change))
    assert report["imported"] == 1
    (skipped,) = report["skipped"]
    assert [skipped["conversation"], skipped["message_id"], skipped["reason"]] == ["Talk 1", message, reason]
    assert skipped["conversation_id"] in str(MAKERS[kind](1)) or kind == "lm-studio"


def test_messages_below_themselves_are_left_out(me: httpx.Client) -> None:
    report = send(me, spoil("chatgpt", add_loop))
    assert report["imported"] == 1
    assert {one["reason"] for one in report["skipped"]} == {"It is below itself."}
    assert sorted(one["message_id"] for one in report["skipped"]) == ["a1", "c1", "r1", "t1", "u1"]
    (conversation,) = conversations(me)
    assert [one["content"] for one in messages_of(me, conversation["id"])] == ["Another answer 1."]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 100_000, "The file ends in the middle of it."),
        (b"[" + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]", "Its JSON is nested too deeply."),
        (b'{"mapping": {}} trailing', "It has no message that can be imported."),
        (b'{"some": "thing"}', "It is no conversation of a known application."),
        (b'[{"mapping": {"a": {"message": {"author', "The file ends in the middle of it."),
        (b'{"chat_messages": [1, null, "x", {"sender": 5}, {}]}', "It has no message that can be imported."),
        (b'{"mapping": {"a": 1, "b": {"parent": [], "message": {"content": []}}}}', "It has no message"),
        (b'{"chat": {"history": {"messages": {"a": {"parentId": {}, "role": []}}}}}', "It has no message"),
        (b'{"conversationId": [], "messages": [{"children": [{}, 7], "content": 9}]}', "It has no message"),
        (b'{"messages": [{"versions": [{"role": "user", "content": {}}, 3]}]}', "It has no message"),
        (b'{"conv": {}, "messages": [{"role": "tool", "content": 8, "toolCalls": "["}]}', "It has no message"),
    ],
    ids=["brackets", "deep", "rest", "unknown", "cut", *MAKERS],
)
def test_a_hostile_file_is_named_and_stores_nothing(me: httpx.Client, content: bytes, reason: str) -> None:
    report = send(me, content)
    assert report["imported"] == 0
    assert report["skipped"][0]["reason"].startswith(reason)
    assert conversations(me) == []


@pytest.mark.parametrize(
    "content",
    [b"", b" [ ] ", b"PK\x03\x04rest", b"\xff\xfe[\x00", b"# Title"],
    ids=["nothing", "no-conversation", "zip", "utf-16", "text"],
)
def test_a_file_without_conversations_is_refused(me: httpx.Client, content: bytes) -> None:
    answer = me.post(IMPORTS, content=content)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "file"


def test_titles_and_names_of_models_are_made_printable(me: httpx.Client) -> None:
    conversation = MAKERS["open-webui"](1)
    conversation["title"] = "Pay\u202e\x1b[2J me\n" + "x" * 500
    conversation["chat"]["history"]["messages"]["a1"]["model"] = "m\u0000" * 400
    assert send(me, json.dumps(conversation))["imported"] == 1
    (found,) = conversations(me)
    assert found["title"].startswith("Pay[2J me x")
    assert len(found["title"]) == 200
    assert all(len(one["model"] or "") <= 128 for one in messages_of(me, found["id"]))


def test_a_number_that_is_no_time_is_passed_over(me: httpx.Client) -> None:
    """JSON has whole numbers that no float holds. The conversation is imported without that time."""
    times = {"create_time": 10**400, "update_time": -(10**400)}
    report = send(me, json.dumps([{**MAKERS["chatgpt"](1), **times}, MAKERS["chatgpt"](2)]))
    assert [report["imported"], report["skipped"]] == [2, []]


def many_details(count: int) -> str:
    return json.dumps({"chat": {"messages": [{"role": "assistant", "content": "<details " * count}]}})


def many_results(count: int) -> str:
    node = {"message": {"author": {"role": "tool"}, "content": {"content_type": "text", "parts": ["x"]}}}
    return json.dumps({"mapping": {str(n): {**node, "parent": str(n - 1)} for n in range(count)}})


def many_thoughts(count: int) -> str:
    content = {"content_type": "thoughts", "thoughts": [{"content": "x" * 60}]}
    node = {"message": {"author": {"role": "assistant"}, "content": content}}
    return json.dumps({"mapping": {str(n): {**node, "parent": str(n - 1)} for n in range(count)}})


def many_backticks(count: int) -> str:
    file = {"file_name": "x", "extracted_content": "`" * count}
    return json.dumps({"chat_messages": [{"sender": "human", "content": [], "attachments": [file]}]})


def many_calls(count: int) -> str:
    parts: list[Made] = [{"type": "tool_use", "id": str(n)} for n in range(count)]
    parts += [{"type": "tool_result", "tool_use_id": str(n)} for n in reversed(range(count))]
    return json.dumps({"chat_messages": [{"sender": "assistant", "content": parts}]})


@pytest.mark.parametrize(
    ("made", "count"),
    [
        (many_details, 20_000),
        (many_results, 300),
        (many_thoughts, 300),
        (many_backticks, 100_000),
        (many_calls, 200),
    ],
)
def test_reading_takes_as_long_as_the_file_is(made: Callable[[int], str], count: int) -> None:
    """Ten times the text takes about ten times the CPU time, and not a hundred times."""
    small, large = cpu_seconds(made(count)), cpu_seconds(made(10 * count))
    assert large < 40 * max(small, 0.001), (small, large)


def cpu_seconds(text: str) -> float:
    """The least CPU time of this thread for reading a conversation, of three times."""
    taken = []
    for _ in range(3):
        began = time.thread_time()
        found = read_pieces(joined(pieces([text.encode()])), None, "user_1", check_message)
        taken.append(time.thread_time() - began)
        assert len(found) == 1
    return min(taken)


def test_a_file_of_nothing_becomes_no_large_answer(me: httpx.Client) -> None:
    report = send(me, b"[" + b"{}," * 30_000 + b"{}]")
    assert [report["failed"], len(report["skipped"]), report["unnamed"]] == [30_001, 10_000, 20_001]


def test_a_conversation_of_too_many_parts_is_named(me: httpx.Client) -> None:
    report = send(me, b'{"mapping": {"a": [' + b"{}," * 500_000 + b"{}]}}")
    assert report["skipped"][0]["reason"] == "It has more than 500000 objects, lists and texts."
