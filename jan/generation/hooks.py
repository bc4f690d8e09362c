"""Hooks: classes of the configuration that see each request to a model before it runs, and its answer afterwards.

A hook has one of the two methods, or both. It is made once, at start-up, without arguments::

    class Guard(Hook):
        async def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:
            if context.identity.anonymous:
                raise PermissionDenied("Sign in first.")
            return msgspec.structs.replace(request, model="small")

        def after(self, context: HookContext, answer: GeneratedAnswer) -> None:
            print(context.request_id, answer.choices[0].text, answer.completion_tokens)
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import structlog

from jan.errors import ConfigurationError, InternalError, JanError, Mistakes
from jan.generation.collected import CollectedAnswer, CollectedAnswers
from jan.generation.model_request import ModelRequest
from jan.generation.token_count import TokenCount, UsedTokens
from jan.schema.sampling import FinishReason
from jan.schema.scopes import Identity
from jan.settings.names import DottedName
from jan.settings.plugins import CannotImport, import_class
from jan.tasks import Tasks
from jan.telemetry.metrics import Metrics
from jan.telemetry.request_record import GenerationRecord

log = structlog.get_logger(__name__)

_CLOSE_SECONDS = 5.0


class HookContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where a request to a model comes from. ``route``: the name of the route. ``model``: what the client asked
    for. ``api``: the API that the client speaks, such as ``openai.chat``; '' where the endpoint does not say."""

    request_id: str
    identity: Identity
    route: str
    model: str = ""
    api: str = ""


class GeneratedCall(msgspec.Struct, frozen=True):
    """A tool call of an answer; ``arguments`` is the JSON that the model wrote."""

    name: str
    arguments: str


class GeneratedChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence of an answer. ``finish_reason`` is None where it was cut short: cancelled, or failed."""

    text: str
    reasoning: str
    calls: tuple[GeneratedCall, ...]
    finish_reason: FinishReason | None


class GeneratedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer, or as much as there was when it was cut short. ``model``: the id of the one that answered.
    The counts are in tokens; ``cached_tokens`` of the prompt were not computed again."""

    model: str
    choices: tuple[GeneratedChoice, ...]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int


class Hook:
    """The two methods of a hook. Any class with one of them is a hook, even if it does not extend this."""

    async def before(self, context: HookContext, request: ModelRequest) -> ModelRequest | None:
        """See a request that access and limits let pass, before anything of it is stored or submitted.

        Returns a changed copy (of the same number of sequences), or None for no change. A JanError that it raises
        is the client's answer. Any other exception is a 500, and the request is not served. It need not be async.
        """
        return None

    def after(self, context: HookContext, answer: GeneratedAnswer) -> Any:
        """See the end of an answer, once, whether it was whole, streamed, cancelled or detached. A refused request
        has none.

        It changes nothing. What it raises is logged and counted. It may be async, and runs on its own then.
        """


class Ended(Protocol):
    """The parts of a run that hooks see."""

    count: TokenCount
    record: GenerationRecord


class Hooks:
    """The hooks of a server, in the order of its configuration."""

    def __init__(self, names: Iterable[DottedName], metrics: Metrics) -> None:
        """Make the hooks. Raises ConfigurationError."""
        made: list[tuple[str, Any]] = []
        mistakes = Mistakes()
        for index, name in enumerate(names):
            with mistakes.collecting():
                made.append((str(name), _make(name, f"hooks[{index}]")))
        mistakes.raise_any()
        self._before = [(name, hook.before) for name, hook in made if _has(hook, "before")]
        self._after = [(name, hook.after) for name, hook in made if _has(hook, "after")]
        self._errors = metrics.hook_errors
        self._tasks = Tasks()

    @property
    def want_answers(self) -> bool:
        """True if any hook sees answers."""
        return bool(self._after)

    async def before(self, context: HookContext, request: ModelRequest) -> ModelRequest:
        """Return the request as the hooks leave it. Raises the JanError of one, InternalError if one fails."""
        for name, hook in self._before:
            try:
                changed = hook(context, request)
                if inspect.isawaitable(changed):
                    changed = await changed
                request = _checked(changed, request)
            except JanError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever somebody's hook raises
                self._failed(name, "before", context, error)
                raise InternalError("The server failed to handle this request. Its log says why.") from None
        return request

    def after(self, context: HookContext, answers: CollectedAnswers, run: Ended) -> None:
        """Show the hooks the answer of a run that has ended."""
        used = run.count.used or UsedTokens()
        answer = GeneratedAnswer(
            model=run.record.model,
            choices=tuple(map(_choice, answers.answers)),
            prompt_tokens=used.prompt,
            completion_tokens=used.completion,
            cached_tokens=used.cached,
        )
        for name, hook in self._after:
            try:
                work = hook(context, answer)
            except Exception as error:  # noqa: BLE001 - whatever somebody's hook raises
                self._failed(name, "after", context, error)
                continue
            if inspect.isawaitable(work):
                self._tasks.start(self._awaited(name, context, work))

    async def _awaited(self, name: str, context: HookContext, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever somebody's hook raises
            self._failed(name, "after", context, error)

    def _failed(self, name: str, method: str, context: HookContext, error: Exception) -> None:
        self._errors.labels(name, method).inc()
        log.error("hook failed", hook=name, method=method, request_id=context.request_id, exc_info=error)

    async def close(self) -> None:
        """Let hooks that run on their own end; those that take long are cancelled."""
        await self._tasks.close(_CLOSE_SECONDS)


def _make(name: DottedName, where: str) -> Any:
    try:
        made = import_class(name)()
    except CannotImport as error:
        raise ConfigurationError(f"{where}: {error.message}") from error
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{where}: Can't make '{name}': {type(error).__name__}: {reason}.") from error
    if not (_has(made, "before") or _has(made, "after")):
        raise ConfigurationError(f"{where}: The class '{name}' needs a method 'before' or 'after'.")
    return made


def _has(hook: Any, method: str) -> bool:
    """Return whether a hook has a method of its own."""
    found: Callable[..., Any] | None = getattr(type(hook), method, None)
    return callable(found) and found is not getattr(Hook, method)


def _checked(changed: Any, request: ModelRequest) -> ModelRequest:
    if changed is None:
        return request
    if not isinstance(changed, ModelRequest):
        raise TypeError(f"A hook returns a ModelRequest or None, not a {type(changed).__name__}.")
    if (len(changed.sequences), changed.choices) != (len(request.sequences), request.choices):
        raise ValueError("A hook must not change the number of sequences.")
    return changed


def _choice(answer: CollectedAnswer) -> GeneratedChoice:
    return GeneratedChoice(
        text=answer.text,
        reasoning=answer.reasoning,
        calls=tuple(GeneratedCall(call.name, call.arguments) for call in answer.calls),
        finish_reason=answer.reason,
    )
