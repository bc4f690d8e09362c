"""POST /api/chat and POST /api/generate, as in https://github.com/ollama/ollama/blob/main/docs/api.md."""

from typing import Any

import msgspec

from handlers.ollama.line_translators import ChatLines, GenerationLines, LineTranslator, error_of, moment
from handlers.ollama.ollama_requests import (
    OllamaRequest,
    chat_of,
    generation_of,
    ignored_of,
    model_named,
    names_of,
    unused_to_load,
)
from handlers.openai.chat.request import model_request
from jan.errors import JanError, NotFound, Unavailable
from jan.handler import Handler, ModelRequest, TextPrompt
from jan.operation import Example, operation
from jan.schema.chat import ChatCompletionRequest
from jan.schema.ollama import (
    OllamaAnswered,
    OllamaChatAnswer,
    OllamaChatRequest,
    OllamaError,
    OllamaGenerateAnswer,
    OllamaGenerateRequest,
)
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE

_MODEL = "jan-v1-4b"


class OllamaHandler(Handler):
    """The base of all: errors in Ollama's form, and models by Ollama's names."""

    error_type = OllamaError

    @classmethod
    def error_body(cls, error: JanError, request_id: str) -> msgspec.Struct:
        """Make the body of an error in Ollama's form."""
        return error_of(error)

    def model_of(self, name: str) -> str:
        """Return the name of a model here."""
        return model_named(name, list(self.services.models.names))

    async def load(self, name: str) -> None:
        """Load a model, which a request without a prompt asks for. Raises NotFound and Unavailable."""
        await self.services.models.engine(self.model_of(name))

    async def answered(self, body: OllamaRequest, chat: ChatCompletionRequest, translator: LineTranslator) -> Any:
        """Answer a request, and name in the headers what nothing here uses."""
        self.ignore(*ignored_of(body))
        with names_of(body).used_by(self):
            asked = model_request(chat, self.identity)
            return await self.answer(_prompted(body, asked), translator, stream=body.stream)


def _prompted(body: OllamaRequest, asked: ModelRequest) -> ModelRequest:
    """Return the request with its prompt as a text, if it is to be used without the chat template."""
    if not isinstance(body, OllamaGenerateRequest) or not (body.raw or body.suffix):
        return asked
    [sequence] = asked.sequences
    prompt = TextPrompt(body.prompt, suffix=body.suffix or "")
    return msgspec.structs.replace(asked, sequences=(msgspec.structs.replace(sequence, prompt=prompt),))


class OllamaChat(OllamaHandler):
    """Chats, compatible with Ollama's."""

    api = "ollama.chat"

    @operation(
        summary="Chat by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        request=OllamaChatRequest,
        response=OllamaChatAnswer,
        events=OllamaChatAnswer,
        events_media_type="application/x-ndjson",
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="A chat by Ollama's API",
                body={
                    "model": _MODEL,
                    "messages": [{"role": "user", "content": "Hello, how are you?"}],
                    "options": {"num_predict": 30},
                    "stream": False,
                },
            ),
        ),
    )
    async def post(self, body: OllamaChatRequest) -> Any:
        """Return the model's answer to a conversation. Unless `stream` is false it is sent as lines of JSON.

        Without messages, the model is loaded.
        """
        if not body.messages:
            self.ignore(*unused_to_load(body))
            await self.load(body.model)
            return OllamaChatAnswer(
                model=body.model, created_at=moment(), message=OllamaAnswered(), done=True, done_reason="load"
            )
        chat = chat_of(body, self.model_of(body.model))
        shows = body.think is not False
        translator = ChatLines(body.model, self.began, seed=self.request_id, shows_thinking=shows)
        return await self.answered(body, chat, translator)


class OllamaGenerate(OllamaHandler):
    """Completions, compatible with Ollama's."""

    api = "ollama.generate"

    @operation(
        summary="Complete a prompt by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        request=OllamaGenerateRequest,
        response=OllamaGenerateAnswer,
        events=OllamaGenerateAnswer,
        events_media_type="application/x-ndjson",
        limit="inference",
        errors=(NotFound, Unavailable),
        examples=(
            Example(
                summary="A completion by Ollama's API",
                body={
                    "model": _MODEL,
                    "prompt": "The meaning of life is",
                    "options": {"num_predict": 30},
                    "stream": False,
                },
            ),
        ),
    )
    async def post(self, body: OllamaGenerateRequest) -> Any:
        """Return the model's answer to a prompt. Unless `stream` is false it is sent as lines of JSON.

        With `raw`, or with a `suffix`, the prompt is used without the model's chat template. Without a prompt, the
        model is loaded.
        """
        if not (body.prompt or body.suffix or body.images):
            self.ignore(*unused_to_load(body))
            await self.load(body.model)
            return OllamaGenerateAnswer(
                model=body.model, created_at=moment(), response="", done=True, done_reason="load"
            )
        chat = generation_of(body, self.model_of(body.model))
        shows = body.think is not False
        translator = GenerationLines(body.model, self.began, seed=self.request_id, shows_thinking=shows)
        return await self.answered(body, chat, translator)
