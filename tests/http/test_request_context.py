"""Requests of one connection have nothing in common but the connection."""

from contextvars import ContextVar

import msgspec

from jan.handler import PUBLIC, Handler, operation
from jan.testing import route, served

NOTED: ContextVar[str] = ContextVar("noted", default="nothing")


class Seen(msgspec.Struct):
    """What a request found in its context."""

    noted: str


class Note(Handler):
    """Leaves a note in the context of its request."""

    @operation(summary="Note", access=PUBLIC, response=Seen)
    async def get(self) -> Seen:
        """Return the note that was there before."""
        before = NOTED.get()
        NOTED.set("something of a request before")
        return Seen(noted=before)


def test_a_request_does_not_see_the_context_of_one_before() -> None:
    """On a connection that is kept alive, as proxies do for many people."""
    with served(routes=[route("/note", Note)]) as server:
        answers = [server.client.get("/note").json()["noted"] for _ in range(3)]
        assert server.errors == []
    assert answers == ["nothing"] * 3
