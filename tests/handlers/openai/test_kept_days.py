"""Responses that are deleted by their age, except those in a conversation that somebody named."""

from pathlib import Path

import httpx

from jan.testing import served

EXPIRING = "responses: {keep_days: 0.000001}"


def respond(client: httpx.Client, **others: object) -> str:
    answer = client.post("/v1/responses", json={"model": "echo", "input": "one", **others})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def conversation_of(client: httpx.Client) -> str:
    """The conversation that changed last."""
    return str(client.get("/v1/conversations").json()["data"][0]["id"])


def test_old_responses_go_and_named_conversations_stay(tmp_path: Path) -> None:
    """A chain of responses goes as a whole. What was named by any API since stays."""
    named: list[str] = []
    with served(data=tmp_path) as server:
        client = server.connect(key := server.add_user())
        gone = [first := respond(client), respond(client, previous_response_id=first)]
        for name in ("conversation", "chat", "rename", "message", "item"):
            named.append(respond(client))
            url = f"/v1/conversations/{(own := conversation_of(client))}"
            message = {"role": "user", "content": "more"}
            if name == "conversation":
                named.append(respond(client, conversation=own))
            elif name == "chat":
                body = {"model": "echo", "messages": [message], "conversation_id": own}
                assert client.post("/v1/chat/completions", json=body).status_code == 200
            elif name == "rename":
                assert client.patch(url, json={"title": "mine"}).status_code == 200
            elif name == "message":
                assert client.post(f"{url}/messages", json=message).status_code == 200
            else:
                assert client.post(f"{url}/items", json={"items": [message]}).status_code == 200
    with served(EXPIRING, data=tmp_path) as server:
        client = server.connect(key)
        assert [client.get(f"/v1/responses/{own}").status_code for own in gone] == [404, 404]
        assert {client.get(f"/v1/responses/{own}").status_code for own in named} == {200}
        assert len(client.get("/v1/conversations").json()["data"]) == 5
