"""The part of an API whose answers can be made in the background."""

from typing import Protocol

from jan.conversations import Turn
from jan.engine.call_ids import CallIds
from jan.errors import InvalidRequest
from jan.generation.collected import CollectedCall
from jan.generation.model_request import ModelRequest
from jan.schema.scopes import Identity
from jan.schema.stored_items import AnyCall, JsonObject
from jan.services import Services
from jan.storage.records import MessageRecord


class PreparedAnswer(Protocol):
    """A stored request, ready for its model."""

    @property
    def asked(self) -> ModelRequest:
        """The request with the stored messages."""
        ...

    async def instead(self, error: InvalidRequest) -> ModelRequest | None:
        """Return the request to try after a refusal; None if the refusal stands."""
        ...

    def call_of(self, number: int, call: CollectedCall, call_ids: CallIds) -> AnyCall:
        """Return a call of the answer as messages have it."""
        ...


class BackgroundApi(Protocol):
    """An API whose requests are stored and carried out later."""

    async def prepare(
        self, services: Services, request: JsonObject, answer: MessageRecord, identity: Identity, turn: Turn
    ) -> PreparedAnswer:
        """Return a stored request, ready for its model. Raises InvalidRequest.

        ``turn``: the stored question, answered again. ``answer``: the message of the answer.
        """
        ...
