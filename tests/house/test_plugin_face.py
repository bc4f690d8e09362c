"""The names that plugins may use: frozen, described, and shown by an example that runs."""

import inspect
import textwrap
from typing import Any

import jan.handler
from jan.handler import Handler
from jan.testing import route, served

# A name that goes, or changes what it means, breaks plugins; one that comes is here to stay.
EXPORTED = (
    "ADMIN ANONYMOUS_OR_INFERENCE Access AnswerQueue AuthenticationFailed BackgroundApi BlockForm ChatPrompt "
    "CollectedAnswer CollectedAnswers CollectedCall Conflict EmbeddingPrompt EventStream Example Frames "
    "GeneratedAnswer GeneratedCall GeneratedChoice GenerationRequest Handler Hook HookContext Identity "
    "InternalError InvalidRequest JanError Keeper KeptAnswer LOOPBACK_OR_ADMIN LimitClass ModelRequest "
    "NotFound Operation PUBLIC PayloadTooLarge PairPrompt PermissionDenied PreparedAnswer READ RateLimited Run "
    "Sampling Scope Services Sink Standing TextForm TextPrompt TokenCount TokenPrompt Tokenization "
    "TokenizedText Translator Turn TypedFrames Unavailable UnsupportedMediaType WRITE operation tightest "
    "BackgroundRequest NewBlock GrowingBlocks Renderer"
)
OF_HANDLERS = (
    "Options allowed_methods answer api background check_run complete count_prompt error_body error_type "
    "generate identity ignore limit_headers mint name_notes operations require required_credential resume "
    "route_options services user_id"
)


def test_the_exported_names_are_frozen() -> None:
    """Each is there, and the list of the module is this one."""
    assert sorted(jan.handler.__all__) == sorted(EXPORTED.split())
    assert all(hasattr(jan.handler, name) for name in EXPORTED.split())


def test_what_handlers_have_is_frozen() -> None:
    """The class has what plugins use."""
    annotated = {name for kind in Handler.__mro__ for name in inspect.get_annotations(kind)}
    assert [name for name in OF_HANDLERS.split() if not (hasattr(Handler, name) or name in annotated)] == []


def test_the_example_of_the_docstring_runs() -> None:
    """As printed: it greets, asks a model, and refuses."""
    example = textwrap.dedent((jan.handler.__doc__ or "").split("::\n")[1].split("\nThe route")[0])
    namespace: dict[str, Any] = {"__name__": "summaries"}
    exec(example, namespace)
    routes = [route("/summary", namespace["Summary"], model="echo", max_tokens=2)]
    with served(routes=routes) as server:
        assert server.client.get("/summary").json() == {"text": "The model echo sums up texts."}
        assert server.client.post("/summary", json={"text": "one two three"}).json() == {"text": "one two "}
        assert server.client.post("/summary", json={"text": ""}).json()["error"]["param"] == "text"
        assert server.errors == []
