"""Responses that are made in the background: their requests as they are stored, and ready for a model again."""

import msgspec

from handlers.openai.chat.request import model_request
from handlers.openai.chat.tool_forms import tool_forms_of
from handlers.openai.responses.chat_request import LOGPROBS, ChatRequestOfResponse
from handlers.openai.responses.kept_response import ResponseKeeper
from handlers.openai.responses.response_translator import ResponseTranslator
from handlers.openai.responses.shown_response import asked_response
from jan.engine.call_ids import CallIds
from jan.handler import CollectedCall, Identity, Services, Turn
from jan.schema.responses import ResponseRequest
from jan.schema.stored_items import AnyCall, JsonObject
from jan.storage.records import MessageRecord


class PreparedResponse(ResponseKeeper):
    """A stored request for a response, ready for its model."""

    def call_of(self, number: int, call: CollectedCall, call_ids: CallIds) -> AnyCall:
        """Return a call of the answer as it is stored."""
        return self._translator.stored_call(number, call, call_ids)


class BackgroundResponses:
    """Makes responses of stored requests. Implements ``jan.handler.BackgroundApi``."""

    async def prepare(
        self, services: Services, request: JsonObject, answer: MessageRecord, identity: Identity, turn: Turn
    ) -> PreparedResponse:
        """Return a stored request, ready for its model. Raises InvalidRequest."""
        texts = services.encrypted_texts.of(identity.owner)
        translated = ChatRequestOfResponse(msgspec.convert(request, ResponseRequest), texts)
        tools = tool_forms_of(translated.chat)
        asked = model_request(translated.chat, identity, tools)
        translator = ResponseTranslator(
            asked_response(answer), custom=tools.custom, with_logprobs=False, namespaced=translated.namespaced
        )
        engine_of = services.models.engine
        return PreparedResponse(turn, asked, translated, translator, engine_of, stores=True, set_header=_no_header)


def stored_request(body: ResponseRequest) -> JsonObject:
    """Return a request as it is stored: without its items, which are stored as messages."""
    stored: JsonObject = msgspec.to_builtins(msgspec.structs.replace(body, input=[], stream=True))
    return {name: value for name, value in stored.items() if value is not None}


def without_logprobs(body: ResponseRequest) -> tuple[ResponseRequest, list[str]]:
    """Return a request without log probabilities, which are not stored, and the names of what asked for them."""
    asked = [at for at, name in enumerate(body.include or ()) if name == LOGPROBS]
    names = [f"include[{at}]" for at in asked] + (["top_logprobs"] if body.top_logprobs else [])
    include = [name for name in body.include or () if name != LOGPROBS] or None
    return msgspec.structs.replace(body, include=include, top_logprobs=None), names


def _no_header(_name: str, _value: str) -> None:
    """Drop a header: nobody waits for this answer."""
