"""Dotted names from before, and what they are called now: each works for one release, with one warning.

``new_name`` looks up the names of a configuration file. ``OldNames`` finds the modules that Python imports by old
names; ``jan`` puts it behind Python's own finders, so that nothing else waits for it.
"""

import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import MappingProxyType, ModuleType
from typing import Any

#: Modules; what is in them has the same name in the new one, unless NAMES says otherwise.
MODULES: Mapping[str, str] = MappingProxyType(
    {
        "handlers.auth": "handlers.people.sessions",
        "handlers.chat": "handlers.openai.chat.endpoint",
        "handlers.chat_chunks": "handlers.openai.chat.chunks",
        "handlers.chat_conversation": "handlers.openai.chat.conversation",
        "handlers.chat_events": "handlers.openai.chat.events",
        "handlers.chat_examples": "handlers.openai.chat.examples",
        "handlers.chat_format": "handlers.openai.chat.format",
        "handlers.chat_request": "handlers.openai.chat.request",
        "handlers.completions": "handlers.openai.completions",
        "handlers.conversation_messages": "handlers.conversations.messages",
        "handlers.conversation_wire": "handlers.conversations.translate",
        "handlers.conversations": "handlers.conversations.endpoints",
        "handlers.docs": "handlers.service.docs",
        "handlers.generation": "handlers.openai.sampling",
        "handlers.google": "handlers.people.sign_in",
        "handlers.health": "handlers.service.health",
        "handlers.metrics": "handlers.service.metrics",
        "handlers.models": "handlers.openai.models",
        "handlers.status": "handlers.service.status",
        "handlers.usage": "handlers.people.usage",
        "handlers.user": "handlers.people.profile",
        "handlers.users": "handlers.people.users",
        "jan.access": "jan.http.authenticate",
        "jan.addresses": "jan.settings.addresses",
        "jan.admin_cli": "jan.cli.admin",
        "jan.auth.accounts": "jan.auth.sessions",
        "jan.auth.scopes": "jan.schema.scopes",
        "jan.bench_cli": "jan.cli.bench",
        "jan.body": "jan.http.body",
        "jan.cli": "jan.cli.commands",
        "jan.config": "jan.settings.load",
        "jan.connections": "jan.http.connections",
        "jan.conversations.answers": "jan.conversations.stored_answer",
        "jan.conversations.messages": "jan.conversations.history",
        "jan.engine.answer": "jan.engine.answers.answer",
        "jan.engine.capacity": "jan.engine.runtime.capacity",
        "jan.engine.constraint": "jan.engine.grammars.constraint",
        "jan.engine.dialect": "jan.engine.prompts.dialects",
        "jan.engine.echo": "jan.engine.backends.echo",
        "jan.engine.executor": "jan.engine.runtime.executor",
        "jan.engine.exllama": "jan.engine.backends.exllama.common",
        "jan.engine.exllamav2": "jan.engine.backends.exllama.v2",
        "jan.engine.exllamav3": "jan.engine.backends.exllama.v3",
        "jan.engine.grammar": "jan.engine.grammars.grammar",
        "jan.engine.grammar_cost": "jan.engine.grammars.grammar_cost",
        "jan.engine.job": "jan.engine.runtime.job",
        "jan.engine.llamacpp": "jan.engine.backends.llamacpp",
        "jan.engine.logprob": "jan.engine.answers.logprobs",
        "jan.engine.messages": "jan.engine.runtime.mailbox",
        "jan.engine.prompt": "jan.engine.prompts.chat_template",
        "jan.engine.reasoning": "jan.engine.answers.reasoning",
        "jan.engine.scheduler": "jan.engine.runtime.fair_queue",
        "jan.engine.schema_cost": "jan.engine.grammars.schema_cost",
        "jan.engine.text": "jan.engine.answers.text",
        "jan.engine.tool_calls": "jan.engine.answers.tool_calls",
        "jan.engine.trial": "jan.engine.grammars.trial_child",
        "jan.engine.trial_process": "jan.engine.grammars.trial_process",
        "jan.engine.trials": "jan.engine.grammars.trials",
        "jan.engine.vocabulary": "jan.engine.prompts.vocabulary",
        "jan.engine.waiting": "jan.engine.runtime.waiting_room",
        "jan.engine.worker": "jan.engine.runtime.worker",
        "jan.generation": "jan.generation.pipeline",
        "jan.histogram": "jan.telemetry.histogram",
        "jan.hub": "jan.catalog.hub",
        "jan.idempotency": "jan.idempotency.once",
        "jan.limits.usage": "jan.limits.usage_writer",
        "jan.limits.wire": "jan.limits.headers",
        "jan.logs": "jan.telemetry.logs",
        "jan.metrics": "jan.telemetry.metrics",
        "jan.mint": "jan.idempotency.ids",
        "jan.model_files": "jan.catalog.model_files",
        "jan.models_cli": "jan.cli.models",
        "jan.observation": "jan.telemetry.request_record",
        "jan.openapi": "jan.routing.openapi",
        "jan.origins": "jan.http.origins",
        "jan.probes": "jan.http.healthchecks",
        "jan.query": "jan.http.query",
        "jan.responder": "jan.http.responder",
        "jan.routes": "jan.routing.table",
        "jan.settings.people": "jan.settings.auth",
        "jan.storage.base": "jan.storage.repositories",
        "jan.storage.idempotency": "jan.storage.idempotent_answers",
        "jan.storage.observed": "jan.storage.measured",
        "jan.storage.rules": "jan.storage.shared_rules",
        "jan.store_keeper": "jan.people.store_keeper",
        "jan.stream_log": "jan.http.resumable",
        "jan.streaming": "jan.http.sse",
        "jan.terminal": "jan.cli.chat",
        "jan.tls": "jan.http.tls",
        "jan.tracing": "jan.telemetry.tracing",
    }
)
#: Classes and functions that have another name.
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "handlers.conversation_messages.Messages": "handlers.conversations.messages.MessageCollection",
        "handlers.conversations.Conversations": "handlers.conversations.endpoints.ConversationCollection",
        "handlers.metrics.Metrics": "handlers.service.metrics.MetricsPage",
        "handlers.usage.Usage": "handlers.people.usage.UsageSummary",
        "handlers.user.ApiKeyRotation": "handlers.people.api_keys.ApiKeyRotation",
        "handlers.user.ApiKeys": "handlers.people.api_keys.ApiKeys",
        "handlers.user.OneApiKey": "handlers.people.api_keys.OneApiKey",
        "handlers.users.Users": "handlers.people.users.UserCollection",
        "jan.auth.accounts.parse_scopes": "jan.people.keys.parse_scopes",
        "jan.conversations.messages.check": "jan.conversations.history.check_message",
        "jan.engine.base.Progress": "jan.engine.base.OnProgress",
        "jan.engine.models.Models": "jan.engine.models.ServedModels",
        "jan.mint.Mint": "jan.idempotency.ids.IdSource",
        "jan.mint.SeededMint": "jan.idempotency.ids.SeededIdSource",
        "jan.observation.Generation": "jan.telemetry.request_record.GenerationRecord",
        "jan.observation.Observed": "jan.telemetry.request_record.RequestRecord",
        "jan.storage.base.Conversations": "jan.storage.repositories.ConversationRepository",
        "jan.storage.base.Keys": "jan.storage.repositories.KeyRepository",
        "jan.storage.base.Messages": "jan.storage.repositories.MessageRepository",
        "jan.storage.base.Sessions": "jan.storage.session_records.SessionRepository",
        "jan.storage.base.Users": "jan.storage.repositories.UserRepository",
        "jan.storage.idempotency.GivenAnswer": "jan.storage.idempotent_answers.IdempotentAnswer",
        "jan.storage.observed.measured": "jan.storage.measured.MeasuredStore",
        "jan.storage.records.Conversation": "jan.storage.records.ConversationRecord",
        "jan.storage.records.Message": "jan.storage.records.MessageRecord",
        "jan.storage.records.Progress": "jan.storage.records.AnswerProgress",
    }
)


# Those that were packages: what is below them moved along.
_PACKAGES = ("jan.engine.exllama", "jan.engine.exllamav2", "jan.engine.exllamav3", "jan.engine.llamacpp")
# Frames between a warning and the line that it is about.
_BETWEEN = (
    "importlib",
    "importlib._bootstrap",
    "importlib._bootstrap_external",
    "jan.routing.moved",
    "jan.settings.beside",
)


class MovedName(FutureWarning):
    """A name works for one more release only. Shown to whoever runs the server, not to developers alone."""


def new_name(old: str) -> str | None:
    """Return what a dotted name of a class is called now; None if it is not from before."""
    if old in NAMES:
        return NAMES[old]
    module, _, name = old.rpartition(".")
    moved = _new_module(module)
    return f"{moved}.{name}" if moved else None


def _new_module(old: str) -> str | None:
    package, _, name = old.rpartition(".")
    return f"{MODULES[package]}.{name}" if package in _PACKAGES else MODULES.get(old)


def warn_of_name(old: str, new: str, file: str, line: int, registry: Any) -> None:
    """Warn that a name in a file has moved, once for each ``registry``."""
    text = f"{old} is now {new}. The old name works for one more release."
    warnings.warn_explicit(text, MovedName, file, line, registry=registry)


def _warn_of_import(old: str, new: str) -> None:
    """Warn at the line that imports an old name, wherever Python's own frames end."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    warn_of_name(old, new, frame.f_code.co_filename, frame.f_lineno, registry)


def old_names_of(module: str) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a module or package that has names from before."""

    def find(name: str) -> Any:
        old = f"{module}.{name}"
        new = None if name.startswith("__") else new_name(old)
        found = new and _attribute(new)
        if not new or found is None:
            raise AttributeError(f"module '{module}' has no attribute '{name}'")
        _warn_of_import(old, new)
        return found

    return find


def _attribute(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(import_module(module), name, None)


class OldNames(MetaPathFinder, Loader):
    """Finds modules by the names that they had before."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that stands for the moved one; None for all other names."""
        return ModuleSpec(fullname, self, is_package=True) if _new_module(fullname) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Leave it to Python."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module with all that the moved one has, under the old names too."""
        old = module.__name__
        new = _new_module(old)
        assert new is not None  # else it was not found here
        if old.rpartition(".")[0] not in _PACKAGES:  # which was warned of
            _warn_of_import(old, new)
        there = import_module(new)
        module.__dict__.update({name: value for name, value in vars(there).items() if not name.startswith("__")})
        for name, renamed in NAMES.items():
            if name.rpartition(".")[0] == old:
                setattr(module, name.rpartition(".")[2], _attribute(renamed))

    @classmethod
    def install(cls) -> None:
        """Find old names from now on, after all others."""
        if not any(type(finder).__qualname__ == cls.__qualname__ for finder in sys.meta_path):
            sys.meta_path.append(cls())
