"""POST /chat/completions."""

import secrets
from functools import partial
from typing import Any

from handlers.openai.chat.chunks import ChatTranslator
from handlers.openai.chat.conversation import begin_turn, check_alone
from handlers.openai.chat.examples import EXAMPLES
from handlers.openai.chat.request import model_request
from handlers.openai.sampling import told_tier, wants_usage
from jan.errors import Conflict, NotFound, Unavailable
from jan.handler import Handler
from jan.operation import operation
from jan.schema.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionRequest
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE


class ChatCompletions(Handler):
    """OpenAI's chat completions."""

    @operation(
        summary="Create a chat completion",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ChatCompletionRequest,
        response=ChatCompletion,
        events=ChatCompletionChunk,
        limit="inference",
        errors=(NotFound, Conflict, Unavailable),
        examples=EXAMPLES,
    )
    async def post(self, body: ChatCompletionRequest) -> Any:
        """The model's answer to a conversation; with `stream: true` as server-sent events, one chunk a
        piece, the last one `data: [DONE]`.

        With `conversation_id` the server remembers: the model gets the conversation's stored messages, then
        those of the request, which are stored before the model begins; the answer is stored while it is made,
        and marked `partial` if it is cut short. This takes the permissions read and write. Nothing is left out
        of a conversation that has grown too long for the model: that is `context_length_exceeded`. A request
        that is refused has stored its messages, unless it was wrong in itself: send it again with the same
        `message_id`, or with no `messages` and, as `parent_message_id`, what the refusal's header
        `X-Jan-Parent-Message-Id` says.

        What a model thinks before it answers is its `reasoning_content`; a conversation keeps the answer without
        it. With `continue_final_message` the answer goes on with the last message, an assistant's.

        With `on_disconnect: finish` the answer is made to its end even if its client leaves, and the rest of it
        can be had from `.../{id}/events`.
        """
        completion_id = f"chatcmpl-{secrets.token_hex(12)}"
        asked = model_request(body, self.identity)
        translator = ChatTranslator(
            completion_id,
            body.model,
            asked.choices,
            with_usage=wants_usage(body) or not body.stream,
            tier=told_tier(body, self.identity),
        )
        keep = None
        if body.conversation_id is None:
            check_alone(body)
        else:
            user_id = self.require("read", "write")
            keep = partial(begin_turn, self.services, user_id, body, translator, self.set_header)
        return await self.answer(
            asked,
            translator,
            stream=bool(body.stream),
            keep=keep,
            go_on_as=completion_id if body.on_disconnect == "finish" else "",
        )
