"""Responses of many items: they are read on a thread, so that nobody else waits."""

import threading
from typing import Any

import pytest

from handlers.openai.responses import chat_request
from jan.testing import served

API = "/api/v1"
ITEM = {"role": "user", "content": "x"}
PARTS = {"role": "user", "content": [{"type": "input_text", "text": "x"}] * 1000}
CALLS = [
    {"type": "function_call", "call_id": f"c{number}", "name": "f", "arguments": "{}"} for number in range(300)
]


async def _thread() -> int:
    return threading.get_ident()


@pytest.mark.parametrize("given", [[ITEM] * 1000, [PARTS], CALLS], ids=["items", "parts of one item", "calls"])
def test_many_items_do_not_hold_up_the_loop(monkeypatch: pytest.MonkeyPatch, given: list[Any]) -> None:
    """Neither to be answered nor to be counted."""
    seen: list[int] = []
    works = chat_request.read_items

    def read(items: Any, texts: Any) -> Any:
        seen.append(threading.get_ident())
        return works(items, texts)

    monkeypatch.setattr(chat_request, "read_items", read)
    with served() as server:
        own = server.run(_thread())
        for path in ("/responses", "/responses/input_tokens"):
            answer = server.client.post(f"{API}{path}", json={"model": "echo", "input": given})
            assert answer.status_code == 200, answer.text
    assert len(seen) == 2
    assert own not in seen
