"""The base of all endpoints, and everything else that a plugin may use: the names in ``__all__``.

An endpoint is a class that extends ``Handler``. ``@operation`` declares each of its HTTP methods, and the YAML
route table names the class::

    import msgspec
    from jan.handler import ANONYMOUS_OR_INFERENCE, PUBLIC
    from jan.handler import GenerationRequest, Handler, InvalidRequest, ModelRequest, TextPrompt, operation

    class Text(msgspec.Struct):
        text: str

    class Summary(Handler):
        class Options(msgspec.Struct, forbid_unknown_fields=True):
            model: str
            max_tokens: int = 100

        @operation(summary="Say what this is for", access=PUBLIC, response=Text)
        async def get(self) -> Text:
            return Text(f"The model {self.route_options.model} sums up texts.")

        @operation(
            summary="Sum up a text", access=ANONYMOUS_OR_INFERENCE, limit="inference", request=Text, response=Text
        )
        async def post(self, body: Text) -> Text:
            if not body.text:
                raise InvalidRequest("text: It is empty.", param="text")
            options, owner = self.route_options, self.identity.owner
            sequence = GenerationRequest(prompt=TextPrompt(body.text), max_tokens=options.max_tokens, owner=owner)
            answers = await self.complete(ModelRequest(model=options.model, sequences=(sequence,)))
            return Text(answers.answers[0].text)

The route ``{path: /summary, handler: summaries.Summary, name: summary, options: {model: echo}}`` serves it. A
method may return an ``EventStream`` of a generator's events. ``jan.testing`` has what its tests need.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import msgspec

from jan.auth.credentials import check_scopes
from jan.background.answer_queue import AnswerQueue, BackgroundRequest
from jan.background.apis import BackgroundApi, PreparedAnswer
from jan.conversations import KeptAnswer, Turn
from jan.engine.base import (
    ChatPrompt,
    EmbeddingPrompt,
    GenerationRequest,
    PairPrompt,
    Sampling,
    TextPrompt,
    Tokenization,
    TokenizedText,
    TokenPrompt,
)
from jan.errors import (
    AuthenticationFailed,
    Conflict,
    InternalError,
    InvalidRequest,
    JanError,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    RateLimited,
    Unavailable,
    UnsupportedMediaType,
)
from jan.generation.answering import Answering, Instead, Keep
from jan.generation.block_sink import BlockForm
from jan.generation.collected import CollectedAnswer, CollectedAnswers, CollectedCall
from jan.generation.delivery import Keeper, Nowhere, lead
from jan.generation.growing_blocks import GrowingBlocks, NewBlock
from jan.generation.hooks import GeneratedAnswer, GeneratedCall, GeneratedChoice, Hook, HookContext
from jan.generation.model_request import ModelRequest
from jan.generation.pipeline import Run, Sink
from jan.generation.sinks import Translator
from jan.generation.token_count import TokenCount
from jan.http.authenticate import required_credential, user_of
from jan.http.dispatch import Dispatcher
from jan.http.sse import EventStream, Frames, TextForm, TypedFrames
from jan.limits import Standing, tightest
from jan.operation import Example, LimitClass, Operation, operation
from jan.rendering.renderer import Renderer
from jan.schema.scopes import (
    ADMIN,
    ANONYMOUS_OR_INFERENCE,
    LOOPBACK_OR_ADMIN,
    PUBLIC,
    READ,
    WRITE,
    Access,
    Identity,
    Scope,
)
from jan.services import Services

__all__ = [
    "ADMIN",
    "ANONYMOUS_OR_INFERENCE",
    "LOOPBACK_OR_ADMIN",
    "PUBLIC",
    "READ",
    "WRITE",
    "Access",
    "AnswerQueue",
    "AuthenticationFailed",
    "BackgroundApi",
    "BackgroundRequest",
    "BlockForm",
    "ChatPrompt",
    "CollectedAnswer",
    "CollectedAnswers",
    "CollectedCall",
    "Conflict",
    "EmbeddingPrompt",
    "EventStream",
    "Example",
    "Frames",
    "GeneratedAnswer",
    "GeneratedCall",
    "GeneratedChoice",
    "GenerationRequest",
    "GrowingBlocks",
    "Handler",
    "Hook",
    "HookContext",
    "Identity",
    "InternalError",
    "InvalidRequest",
    "JanError",
    "Keeper",
    "KeptAnswer",
    "LimitClass",
    "ModelRequest",
    "NewBlock",
    "NotFound",
    "Operation",
    "PairPrompt",
    "PayloadTooLarge",
    "PermissionDenied",
    "PreparedAnswer",
    "RateLimited",
    "Renderer",
    "Run",
    "Sampling",
    "Scope",
    "Services",
    "Sink",
    "Standing",
    "TextForm",
    "TextPrompt",
    "TokenCount",
    "TokenPrompt",
    "Tokenization",
    "TokenizedText",
    "Translator",
    "Turn",
    "TypedFrames",
    "Unavailable",
    "UnsupportedMediaType",
    "operation",
    "tightest",
]


class Handler(Dispatcher):
    """The base of an endpoint. A method that ``@operation`` declares may use what is here, ``route_options``,
    ``identity``, ``services`` and ``mint``; a subclass may call it with its arguments.

    Attributes:
        route_options: the route's ``options`` in the YAML, of the type ``Options``.
        identity: who calls, once access was checked.
        services: the parts of the server.
        mint: the source of ids and secrets for the objects that the request creates.
    """

    #: The type of the route's ``options``; None if it has none.
    Options: ClassVar[type[msgspec.Struct] | None] = None
    #: The API that the endpoint speaks, such as ``openai.chat``, for hooks.
    api: ClassVar[str] = ""
    #: What makes the API's answers in the background; None if there are none.
    background: ClassVar[BackgroundApi | None] = None

    @property
    def user_id(self) -> str:
        """The caller's user id. Raises AuthenticationFailed for an anonymous caller."""
        return user_of(self.identity)

    def require(self, *scopes: Scope) -> str:
        """Check scopes that a request needs beyond its operation's access, and return the caller's ``user_id``.

        Raises AuthenticationFailed or PermissionDenied.
        """
        user_id = self.user_id
        check_scopes(self.identity, *scopes)
        self.permit.needs += scopes
        return user_id

    def required_credential(self) -> str:
        """Return the token or API key of the Authorization header. Raises AuthenticationFailed without one."""
        return required_credential(self.request)

    # --- models -------------------------------------------------------------------------------------

    async def generate(self, asked: ModelRequest) -> Run:
        """Start a run on a model, which the caller must close.

        Raises NotFound for an unknown model, RateLimited if a token budget is used up, and the engine's refusals.
        """
        return await self._models().generate(asked)

    async def complete(self, asked: ModelRequest) -> CollectedAnswers:
        """Return the whole answers of a model. Raises what ``generate`` does, and what ends an answer early."""
        run = await self.generate(asked)
        answers = run.collect()
        await lead(run, Nowhere(), None)
        return answers

    async def answer(
        self,
        asked: ModelRequest,
        translator: Translator,
        *,
        stream: bool,
        keep: Keep | None = None,
        detach_as: str = "",
        about: str = "",
        blocks: BlockForm | None = None,
    ) -> Any:
        """Answer a request to a model in the form of an API: with an EventStream or a whole answer.

        ``keep`` reads the history of the request, and its Keeper stores messages and answer. With ``detach_as``,
        the answer is completed even if the client disconnects, and ``resume`` reads it under this id, unless the
        conversation ``about`` is deleted. A stream has ``blocks`` of HTML, if they have a form.
        """
        ask = partial(self._models().answer, self.generate, asked, translator)
        return await ask(stream=stream, keep=keep, detach_as=detach_as, about=about, blocks=blocks)

    async def check_run(self, asked: ModelRequest, instead: Instead) -> None:
        """Check that a run of this request could begin now. Nothing is queued.

        Raises NotFound for an unknown model, RateLimited if a token budget is used up, and the engine's refusals.
        """
        await self._models().check(asked, instead)

    async def count_prompt(self, asked: ModelRequest) -> int:
        """Return the tokens of a request's prompt. Raises NotFound for an unknown model, and what the engine
        refuses."""
        return await self._models().count_prompt(asked)

    async def read_tokens(self, asked: ModelRequest) -> TokenizedText:
        """Return the tokens and the text of a request's Tokenization. Raises NotFound for an unknown model, and
        what the engine refuses."""
        return await self._models().read_tokens(asked)

    def name_notes(self, named: Callable[[str], str]) -> None:
        """Name in the headers what the engine left out as the clients of this API know it. A name that becomes
        empty is left out."""
        if self.answering is not None:
            notes = self.answering.notes
            ignored, relaxed = (tuple(filter(None, map(named, one))) for one in (notes.ignored, notes.relaxed))
            self.answering.notes = msgspec.structs.replace(notes, ignored=ignored, relaxed=relaxed)

    def resume(self, stream_id: str, number: int) -> EventStream:
        """Return the caller's own stream after the event with this number. Raises NotFound or InvalidRequest."""
        return self._models().resume(stream_id, number)

    def _models(self) -> Answering:
        if self.answering is None:
            context = HookContext(
                request_id=self.request_id, identity=self.identity, route=self.route_name, api=self.api
            )
            self.answering = Answering(self.services, context, self.permit, self.began)
        return self.answering
