"""POST /responses, and the URLs below it."""

import secrets
import time
from functools import partial
from typing import Any

import msgspec

from handlers.openai.chat.request import model_request
from handlers.openai.chat.tool_forms import tool_forms_of
from handlers.openai.chat.unservable import unservable
from handlers.openai.responses.background_responses import (
    BackgroundResponses,
    stored_request,
    without_logprobs,
)
from handlers.openai.responses.chat_request import ENCRYPTED, ChatRequestOfResponse, conversation_of
from handlers.openai.responses.examples_of_responses import COUNTED, EXAMPLES
from handlers.openai.responses.followed_response import followed
from handlers.openai.responses.kept_response import ResponseKeeper, after, follows, turn_of
from handlers.openai.responses.referenced_items import with_referenced_items
from handlers.openai.responses.response_translator import ResponseTranslator
from handlers.openai.responses.sent_items import pieces_of
from handlers.openai.responses.shown_response import ENCRYPTS, shown_response
from handlers.openai.responses.summaries import SummaryTranslator, ask_for_summary, without_trigger
from handlers.openai.sampling import refused, tier_of
from jan.errors import Conflict, InvalidRequest, NotFound, Unavailable
from jan.handler import BackgroundRequest, Handler, ModelRequest, Turn
from jan.operation import operation
from jan.schema.response_events import ResponseEvent
from jan.schema.responses import CountedInput, PromptOfResponse, Response, ResponseRequest
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE
from jan.tasks import apart


class Responses(Handler):
    """Responses, compatible with OpenAI's."""

    api = "openai.responses"
    background = BackgroundResponses()

    @operation(
        summary="Create a response",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=ResponseRequest,
        response=Response,
        events=ResponseEvent,
        limit="inference",
        creates=True,
        errors=(NotFound, Conflict, Unavailable),
        examples=EXAMPLES,
    )
    async def post(self, body: ResponseRequest) -> Any:
        """Return the model's answer as items. With `stream: true` it is sent as server-sent events.

        With `background: true` it is queued, answered at once, and made whether or not the client stays. Tools and
        items that nothing here runs are left out and named in `X-Jan-Ignored`.
        """
        stores = self._stores(body)
        body = await with_referenced_items(self, body)
        if (conversation := without_trigger(body)) is not None:
            return await self._summarised(conversation)
        if body.background:
            body, names = without_logprobs(body)
            self.ignore(*names)
        texts = self.services.encrypted_texts.of(self.identity.owner)
        translated = await apart(pieces_of(body.input), lambda: ChatRequestOfResponse(body, texts))
        self.ignore(*translated.ignored)
        translated.check()
        with translated.names.used_by(self):
            tools = tool_forms_of(translated.chat)
            asked = model_request(translated.chat, self.identity, tools)
            response = response_of(body, translated, f"resp_{secrets.token_hex(16)}")
            response.kept = stores
            response.service_tier = tier_of(translated.chat, self.identity)
            translator = ResponseTranslator(
                response,
                custom=tools.custom,
                with_logprobs=bool(translated.chat.logprobs),
                encrypt=partial(texts.encrypt, "reasoning") if ENCRYPTED in (body.include or ()) else None,
                namespaced=translated.namespaced,
            )
            blocks = translator if _wants_blocks(body) else None
            if body.background:
                return await self._in_background(body, translated, translator, asked)
            keep = None
            if stores or follows(body):
                keep = partial(self._keep, body, translated, translator)
            return await self.answer(asked, translator, stream=bool(body.stream), keep=keep, blocks=blocks)

    async def _summarised(self, body: ResponseRequest) -> Any:
        """Return a summary of the conversation as the only item of a response, which is never stored."""
        if body.background:
            raise refused("background", "Not allowed with an item compaction_trigger.")
        texts = self.services.encrypted_texts.of(self.identity.owner)
        translated = await apart(pieces_of(body.input), lambda: ChatRequestOfResponse(body, texts))
        self.ignore(*translated.ignored, *(["store"] if body.keeps else []))
        if not follows(body):
            translated.check()
        response = response_of(body, translated, f"resp_{secrets.token_hex(16)}")
        engine = await self.services.models.engine(body.model)
        ask_for_summary(translated, engine.info.context_length)
        with translated.names.used_by(self):
            asked = model_request(translated.chat, self.identity)
            if follows(body):
                asked = after(
                    await turn_of(self.services, self.user_id, body, translated, self.mint), asked, translated
                )
            translator = SummaryTranslator(response, partial(texts.encrypt, "compaction"))
            return await self.answer(asked, translator, stream=bool(body.stream))

    def _stores(self, body: ResponseRequest) -> bool:
        """Return True if the response is to be stored. Raises AuthenticationFailed and PermissionDenied."""
        if body.background and body.keeps is False:
            raise InvalidRequest(
                "background: Not allowed with store: false. It is made from the store.",
                code="invalid_value",
                param="background",
            )
        if body.keeps or body.background or (body.conversation and body.keeps is None):
            self.require("read", "write")
        elif follows(body):
            self.require("read")
        may_store = not self.identity.anonymous and {"read", "write"} <= self.identity.scopes
        return may_store and body.keeps is not False

    async def _keep(
        self,
        body: ResponseRequest,
        translated: ChatRequestOfResponse,
        translator: ResponseTranslator,
        asked: ModelRequest,
    ) -> tuple[ModelRequest, ResponseKeeper]:
        turn = await turn_of(self.services, self.user_id, body, translated, self.mint)
        stores = translator.response.kept
        engine_of = self.services.models.engine
        keeper = ResponseKeeper(
            turn, asked, translated, translator, engine_of, stores=stores, set_header=self.set_header
        )
        keeper.repeatable = self.mint.repeatable
        return keeper.asked, keeper

    async def _in_background(
        self,
        body: ResponseRequest,
        translated: ChatRequestOfResponse,
        translator: ResponseTranslator,
        asked: ModelRequest,
    ) -> Any:
        """Put a response into the queue and return it, or the stream of its events."""
        renderer = self.services.renderer if _wants_blocks(body) else None
        turn = await turn_of(self.services, self.user_id, body, translated, self.mint)
        engine_of = self.services.models.engine
        keeper = ResponseKeeper(
            turn, asked, translated, translator, engine_of, stores=True, set_header=self.set_header
        )
        await self.check_run(keeper.asked, keeper.instead)
        keeper.name_left_out()
        translator.response.status = "queued"
        shown = {**keeper.shown(), ENCRYPTS: ENCRYPTED in (body.include or ())}
        texts = self.services.encrypted_texts.of(self.identity.owner)
        answer = await self.services.background.put(
            turn,
            turn.begun_answer(asked.model, shown, self.mint.new_id("msg")),
            BackgroundRequest(
                api=self.api, route=self.route_name, request=stored_request(body), permit=self.permit
            ),
            self.mint,
        )
        self.set_header("X-Jan-Message-Id", answer.id)
        if not body.stream:
            return shown_response(answer, texts)
        return followed(self.services.background, answer, texts, renderer=renderer)


class ResponseInputTokens(Handler):
    """The number of tokens that the prompt of a response has."""

    api = "openai.responses"

    @operation(
        summary="Count the tokens of a response's input",
        access=ANONYMOUS_OR_INFERENCE,
        tag="inference",
        request=PromptOfResponse,
        response=CountedInput,
        errors=(NotFound, Conflict, Unavailable),
        examples=COUNTED,
    )
    async def post(self, body: PromptOfResponse) -> CountedInput:
        """Return the number of tokens of a prompt, which is what the usage of its response says. Nothing is
        generated."""
        if follows(body):
            self.require("read")
        body = await with_referenced_items(self, body)
        texts = self.services.encrypted_texts.of(self.identity.owner)
        translated = await apart(pieces_of(body.input), lambda: ChatRequestOfResponse(body, texts))
        self.ignore(*translated.ignored)
        translated.check()
        with translated.names.used_by(self):
            asked = model_request(translated.chat, self.identity)
            if not follows(body):
                return CountedInput(input_tokens=await self.count_prompt(asked))
            turn = await turn_of(self.services, self.user_id, body, translated, self.mint)
            return CountedInput(input_tokens=await self._count_after(turn, asked, translated))

    async def _count_after(self, turn: Turn, asked: ModelRequest, translated: ChatRequestOfResponse) -> int:
        """Return the tokens of a prompt with stored messages, without those that the model can never get."""
        engine = await self.services.models.engine(asked.model)
        while True:
            try:
                return await self.count_prompt(after(turn, asked, translated))
            except InvalidRequest as error:
                ids = await unservable(engine, turn, error, translated.instructed)
                if not ids:
                    raise
                turn.leave_out(ids)


def _wants_blocks(body: ResponseRequest) -> bool:
    """Return True if a stream has the blocks of its texts as HTML. Raises InvalidRequest without a stream."""
    if body.stream_options is None or not body.stream_options.include_html:
        return False
    if not body.stream:
        message = "stream_options.include_html: Not allowed unless stream is true."
        raise InvalidRequest(message, param="stream_options.include_html")
    return True


def response_of(body: ResponseRequest, translated: ChatRequestOfResponse, own: str) -> Response:
    """Return the response to a request, before its output."""
    reasoning, text = body.reasoning, body.text
    output: dict[str, Any] = {"type": "text"}
    if text is not None and text.format is not None:
        output = msgspec.to_builtins(text.format)
    conversation = conversation_of(body)
    return Response(
        id=own,
        created_at=int(time.time()),
        status="in_progress",
        background=bool(body.background),
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        max_tool_calls=body.max_tool_calls,
        model=body.model,
        parallel_tool_calls=body.parallel_tool_calls is not False,
        previous_response_id=body.previous_response_id,
        conversation=None if conversation is None else {"id": conversation},
        prompt_cache_key=body.prompt_cache_key,
        reasoning={"effort": None if reasoning is None else reasoning.effort, "summary": None},
        safety_identifier=body.safety_identifier,
        temperature=1.0 if body.temperature is None else body.temperature,
        text={"format": output, "verbosity": "medium"},
        tool_choice=body.tool_choice or "auto",
        tools=translated.tools,
        top_logprobs=body.top_logprobs or 0,
        top_p=1.0 if body.top_p is None else body.top_p,
        truncation=body.truncation or "disabled",
        user=body.user,
        metadata=body.metadata or {},
    )
