"""Answers for every URL that the route table does not have."""

import re
from types import MappingProxyType

import msgspec

from jan.errors import JanError, NotFound
from jan.http.dispatch import Dispatcher
from jan.http.responder import Responder
from jan.schema.anthropic_answer import MessagesError, MessagesErrorEnvelope
from jan.schema.ollama import OllamaError

_CHAT = "use {api}/chat/completions"
_RESPONSES = "use {api}/responses with a conversation of {api}/conversations"
_FILES = "use {api}/documents/text, which reads the text of a file, and {api}/chat/completions with it"
_TEXT = "its models read and write text: " + _CHAT
# APIs of OpenAI and other servers that clients ask for, by the beginning of the path: the name, and what to use.
_UNSERVED = MappingProxyType(
    {
        "responses": ("such URL in its Responses API", "use {api}/responses"),
        "messages": ("API of batches and stored messages of Anthropic", "use {api}/messages"),
        "chat/completions": ("such URL in its API of chat completions", _CHAT),
        "fim/completions": ("FIM API of Mistral", "use {api}/completions with a suffix"),
        "moderations": ("Moderations API", "a hook can judge requests and answers, see docs/plugins.md"),
        "audio": ("Audio API", _TEXT),
        "images": ("Images API", _TEXT),
        "videos": ("Videos API", _TEXT),
        "files": ("Files API", _FILES),
        "uploads": ("Uploads API", _FILES),
        "batches": ("Batch API", _CHAT + " for each request, with service_tier flex"),
        "pooling": ("Pooling API", ""),
        "classify": ("Classify API", ""),
        "vector_stores": ("Vector Stores API", "use {api}/embeddings and {api}/rerank"),
        "containers": ("Containers API", "run tools where the client is"),
        "evals": ("Evals API", _CHAT),
        "fine_tuning": ("Fine-tuning API", "models are trained elsewhere and named in the configuration"),
        "assistants": ("Assistants API", _RESPONSES),
        "threads": ("Assistants API", _RESPONSES),
        "chatkit": ("ChatKit API", _RESPONSES),
        "realtime": ("Realtime API", "use {api}/responses with stream: true"),
        "organization": ("Administration API of OpenAI", "use {api}/users, {api}/usage and {api}/audit"),
        "openai/deployments": ("URLs of Azure", _CHAT + " and name the model in the body"),
        "deployments": ("URLs of Azure", _CHAT + " and name the model in the body"),
        "api/chat": ("Ollama API", _CHAT),
        "api/generate": ("Ollama API", "use {api}/completions"),
        "api/pull": ("API of Ollama for models' files", "jan pull fetches models"),
        "api/push": ("API of Ollama for models' files", ""),
        "api/create": ("API of Ollama for models' files", "name models in the configuration"),
        "api/copy": ("API of Ollama for models' files", "give models aliases in the configuration"),
        "api/delete": ("API of Ollama for models' files", ""),
        "api/blobs": ("API of Ollama for models' files", ""),
    }
)
# What clients ask for whose base URL lacks the prefix.
_WITHOUT_PREFIX = frozenset({"chat/completions", "completions", "models"})
_LONGEST_PATH = 200
# Secrets of links to conversations, and API keys.
_SECRETS = re.compile(r"\b(jans?_)[\w-]{16,}")


class UnknownUrl(Dispatcher):
    """Answers for a URL that is not there. APIs that are known elsewhere are named: no model is missing."""

    def prepare(self) -> None:
        """Refuse the request, unless it asks whether the server is there. Raises NotFound."""
        self.log_fields["path"] = shown_path(self.request.path)
        Responder.prepare(self)
        if (self.request.method, self.request.path) == ("OPTIONS", "*"):
            return  # about the server as a whole (RFC 9110 9.3.7)
        prefixes = self.services.settings.server.api_prefixes
        if (path := self.request.path.strip("/")) in _WITHOUT_PREFIX:
            said = f"There is no such URL. Use {prefixes[0]}/{path}. "
            raise NotFound(f"{said}The base URL of a client ends with {prefixes[0]}.", code="endpoint_not_served")
        found = _UNSERVED.get(_family(self.request.path, prefixes))
        if found is None:
            raise NotFound("There is no such URL. /api/swagger/index.html lists all URLs.")
        name, instead = found
        advice = f"; {instead.format(api=prefixes[0])}" if instead else ""
        raise NotFound(f"This server has no {name}{advice}.", code="endpoint_not_served")

    def body_of(self, error: JanError) -> msgspec.Struct:
        """Make the body of the error in the form of the API that was asked for."""
        family = _family(self.request.path, self.services.settings.server.api_prefixes)
        if family.startswith("api/"):
            return OllamaError(error=error.message, code=error.code)
        if family == "messages":
            kind = "not_found_error" if isinstance(error, NotFound) else "invalid_request_error"
            detail = MessagesError(type=kind, message=error.message, code=error.code)
            return MessagesErrorEnvelope(error=detail, request_id=self.request_id)
        return super().body_of(error)


def _family(path: str, prefixes: tuple[str, ...]) -> str:
    """Return the beginning of a path by which its API is known; '' for an unknown one."""
    for beginning in [prefix + "/" for prefix in (*prefixes, "")]:
        parts = path.removeprefix(beginning).split("/") if path.startswith(beginning) else []
        for count in (2, 1):
            if (family := "/".join(parts[:count])) in _UNSERVED:
                return family
    return ""


def shown_path(path: str) -> str:
    """Return a path, which has no query, for the log: printable ASCII of at most 200 characters.

    What could begin a line of its own, or look like one, is escaped, and secrets of ours are masked.
    """
    return ascii(_SECRETS.sub(r"\1...", path)[:_LONGEST_PATH])[1:-1][:_LONGEST_PATH]
