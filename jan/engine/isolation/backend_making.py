"""Make the backend of an engine's process by its plan."""

from pathlib import Path

from jan.engine.base import Backend, ChoosingBackend
from jan.engine.engine_kinds import arguments_of, class_of
from jan.engine.isolation.engine_messages import BackendPlan
from jan.settings.names import DottedName


def made_backend(plan: BackendPlan) -> Backend:
    """Make the backend for the model, on the engine's thread. Raises ConfigurationError.

    The parent has checked the options and had the model's files tried.
    """
    kind = DottedName(plan.kind) if plan.file is None else DottedName.written_in(Path(plan.file), plan.kind)
    found = class_of(kind)
    backend: Backend = found(*arguments_of(found, plan.options))
    return backend.for_model() if isinstance(backend, ChoosingBackend) else backend
