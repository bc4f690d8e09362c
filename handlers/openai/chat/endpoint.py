"""POST /chat/completions, as in https://platform.openai.com/docs/api-reference/chat/create."""

import secrets
from functools import partial
from typing import Any

from handlers.openai.chat.call_chunks import CallForms
from handlers.openai.chat.chunks import ChatTranslator
from handlers.openai.chat.completion_ids import completion_id_of
from handlers.openai.chat.conversation import check_alone, open_turn
from handlers.openai.chat.examples import EXAMPLES
from handlers.openai.chat.request import model_request
from handlers.openai.chat.stored_completions import CompletionCollection
from handlers.openai.chat.tool_forms import tool_forms_of
from handlers.openai.reports import reports_of
from handlers.openai.sampling import answered_tier, wants_blocks, wants_usage
from jan.errors import Conflict, NotFound, Unavailable
from jan.operation import operation
from jan.schema.chat import ChatCompletionRequest
from jan.schema.chat_completion import ChatCompletion, ChatCompletionChunk
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.storage.records import new_id


class ChatCompletions(CompletionCollection):
    """Chat completions, compatible with OpenAI's."""

    api = "openai.chat"

    @operation(
        summary="Create a chat completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        events=ChatCompletionChunk,
        limit="inference",
        creates=True,
        errors=(NotFound, Conflict, Unavailable),
        examples=EXAMPLES,
    )
    async def post(self, body: ChatCompletionRequest) -> Any:
        """Return the model's answer to a conversation. With `stream: true` it is sent as server-sent events, one
        chunk each, ending with `data: [DONE]`.

        With `conversation_id` the server remembers. The model gets the conversation's stored messages, followed by
        those of the request, which are stored once the model's queue has accepted the request. A refused request
        changes nothing. The answer is stored while it is generated, and marked `partial` if it is cut short, or
        `failed` if it ends before its first token. The question stays then. Send it again with the same
        `message_id`. Or send it without `messages`, and with the header `X-Jan-Parent-Message-Id` of the error as
        `parent_message_id`. This requires the permissions read and write.

        A conversation that has become too long for the model is refused with `context_length_exceeded`. Only
        stored messages that the model can never get are left out, such as images for a model of text. The header
        `X-Jan-Left-Out` names them.

        A model's reasoning before its answer is `reasoning_content`, and `reasoning` too. It is stored with the
        answer, unless `include_reasoning` is false.

        With `store: true` the completion is kept, as a turn of its own conversation unless `conversation_id` is
        given, and found at `.../{id}`.

        With `continue_final_message` the answer continues the last message, which must be an assistant's.

        With `on_disconnect: finish` the answer is completed even if its client disconnects. The rest of it is at
        `.../{id}/events`.
        """
        stored = body.conversation_id is not None or bool(body.keeps)
        completion_id = completion_id_of(new_id("msg")) if stored else f"chatcmpl-{secrets.token_hex(12)}"
        self.take_request_id(body.request_id)
        tools = tool_forms_of(body)
        asked = model_request(body, self.identity, tools)
        translator = ChatTranslator(
            completion_id,
            body.model,
            with_usage=wants_usage(body) or not body.stream,
            tier=answered_tier(body, self.identity),
            calls=CallForms(custom=tools.custom, legacy=tools.legacy, forced=tools.must_call),
            reports=reports_of(body, reasoning=body.include_reasoning is not False),
        )
        keep = None
        if body.conversation_id is None:
            check_alone(body)
        if stored:
            user_id = self.require("read", "write")
            keep = partial(open_turn, self.services, user_id, body, translator, self.set_header, self.mint)
        return await self.answer(
            asked,
            translator,
            stream=bool(body.stream),
            keep=keep,
            detach_as=completion_id if body.on_disconnect == "finish" else "",
            about=body.conversation_id or "",
            blocks=translator if wants_blocks(body) else None,
        )
