"""GET /api/tags, /api/ps and /api/version, and POST /api/show, as Ollama has them."""

import hashlib
from datetime import UTC, datetime

from handlers.ollama.line_translators import moment
from handlers.ollama.ollama_answers import OllamaHandler
from jan.errors import InvalidRequest, NotFound
from jan.operation import Example, operation
from jan.schema.ollama import (
    OllamaDetails,
    OllamaModel,
    OllamaModels,
    OllamaRunning,
    OllamaRunningModels,
    OllamaShown,
    OllamaShowRequest,
    OllamaVersion,
)
from jan.schema.scopes import ANONYMOUS_OR_INFERENCE, PUBLIC

# Clients compare this with the version that brought what they need: tools, thinking, formats.
_API_VERSION = "0.12.0"
_FORMATS = {"llamacpp": "gguf", "exllamav2": "safetensors", "exllamav3": "safetensors"}
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class OllamaModelEntries(OllamaHandler):
    """The base of lists of models."""

    def entry(self, name: str) -> OllamaModel:
        """Return the entry of an id or alias. Raises NotFound."""
        served = self.services.models.get(name)
        known = served.engine.info.fingerprint if served.loaded else ""
        return OllamaModel(
            name=name,
            model=name,
            modified_at=moment(datetime.fromtimestamp(served.created, UTC)),
            digest=hashlib.sha256((known or served.id).encode()).hexdigest(),
            details=OllamaDetails(format=_FORMATS.get(served.kind, served.kind)),
        )


class OllamaTags(OllamaModelEntries):
    """The models that requests can name."""

    @operation(
        summary="List models by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        response=OllamaModels,
        examples=(Example(summary="All models, by Ollama's API"),),
    )
    async def get(self) -> OllamaModels:
        """List every id and alias that a request can give as its model."""
        return OllamaModels(models=[self.entry(name) for name in self.services.models.names])


class OllamaProcesses(OllamaModelEntries):
    """The models that are loaded."""

    @operation(
        summary="List loaded models by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        response=OllamaRunningModels,
        examples=(Example(summary="Loaded models, by Ollama's API"),),
    )
    async def get(self) -> OllamaRunningModels:
        """List the models that are loaded, each by its id."""
        return OllamaRunningModels(
            models=[
                self._running(self.entry(served.id), served.engine.info.context_length)
                for served in self.services.models
                if served.loaded
            ]
        )

    @staticmethod
    def _running(entry: OllamaModel, context: int) -> OllamaRunning:
        return OllamaRunning(
            name=entry.name,
            model=entry.model,
            digest=entry.digest,
            details=entry.details,
            expires_at=moment(_NEVER),
            context_length=context,
        )


class OllamaShow(OllamaModelEntries):
    """One of the models."""

    @operation(
        summary="Get a model by Ollama's API",
        access=ANONYMOUS_OR_INFERENCE,
        tag="ollama",
        request=OllamaShowRequest,
        response=OllamaShown,
        errors=(NotFound,),
        examples=(Example(summary="The default model, by Ollama's API", body={"model": "jan-v1-4b"}),),
    )
    async def post(self, body: OllamaShowRequest) -> OllamaShown:
        """Return what is known of a model. Its abilities are known once it is loaded."""
        asked = body.model or body.name
        if not asked:
            raise InvalidRequest("model: The key 'model' is required.", code="invalid_value", param="model")
        served = self.services.models.get(self.model_of(asked))
        entry = self.entry(served.id)
        info = served.engine.info if served.loaded else None
        abilities = ["completion"] if info is None or info.generates else ["embedding"] if info.embeds else []
        if info is not None and info.chats is not None:
            abilities += ["tools", *(["thinking"] if info.chats.reasoning else [])]
        if info is not None and info.fills_in:
            abilities.append("insert")
        family = entry.details.format
        return OllamaShown(
            details=entry.details,
            model_info={"general.architecture": family}
            | ({} if info is None else {f"{family}.context_length": info.context_length}),
            capabilities=abilities,
            modified_at=entry.modified_at,
        )


class OllamaVersionInfo(OllamaHandler):
    """The version of Ollama's API."""

    @operation(
        summary="Get the version of Ollama's API",
        access=PUBLIC,
        tag="ollama",
        response=OllamaVersion,
        examples=(Example(summary="Which version of Ollama's API?"),),
    )
    async def get(self) -> OllamaVersion:
        """Return the version of Ollama whose API these URLs follow. It is not this server's own."""
        return OllamaVersion(version=_API_VERSION)
