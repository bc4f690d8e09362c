"""The processes of models, which belong to the supervisor and serve all web loops."""

from pathlib import Path

from jan.engine.isolation.engine_messages import EngineAddress
from jan.engine.isolation.process_engine import ProcessEngine
from jan.engine.models import LoadReport, ServedModel, ServedModels
from jan.engine.runtime.executor import ThreadedEngine
from jan.errors import ConfigurationError, InternalError, Mistakes, NotFound
from jan.schema.status import ProcessUse
from jan.settings import Settings
from jan.telemetry.process_use import use_of


class OwnedEngines:
    """The models that run in processes of their own. ``failed``: see ``ServedModels``.

    Engines that are no backends run on each loop, and are not among them. Raises ConfigurationError for models
    that run on a thread: no other process could use them.
    """

    def __init__(self, settings: Settings) -> None:
        self._models = ServedModels(settings.models, Path(settings.data) / "run")
        self._owned: dict[str, ServedModel] = {}
        mistakes = Mistakes()
        for index, model in enumerate(self._models):
            with mistakes.collecting():
                self._own(index, model)
        mistakes.raise_any()
        self.failed = self._models.failed

    def _own(self, index: int, model: ServedModel) -> None:
        if isinstance(model.engine, ThreadedEngine):
            raise ConfigurationError(
                "isolation: Several web loops can't share a model that runs on a thread; allowed: process, or "
                "server.workers: 1."
            ).under(f"models[{index}] ({model.id})")
        if isinstance(model.engine, ProcessEngine):
            self._owned[model.id] = model

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of the models."""
        return tuple(self._owned)

    async def start(self, report: LoadReport) -> None:
        """Load the models with ``load: eager``, one after another. Raises ConfigurationError."""
        self._models.begin()
        try:
            for model in self._owned.values():
                if model.eager:
                    await model.load(report)
        finally:
            await self._models.rest()

    async def address(self, name: str, report: LoadReport) -> EngineAddress:
        """Return where a model's process is found, after loading it if necessary. Raises ConfigurationError.

        A loop that asks may have left a process that hangs, and only the supervisor can end one.
        """
        if (model := self._owned.get(name)) is None:
            raise NotFound(f"The supervisor has no process of model '{name}'.", code="model_not_found")
        await model.load(report)
        assert isinstance(model.engine, ProcessEngine)  # the owned ones are
        if model.engine.address is None:
            raise InternalError(f"The process of model '{name}' was closed.")
        model.engine.probe()
        return model.engine.address

    def uses(self) -> list[ProcessUse]:
        """Return what the processes use."""
        engines = [(name, model.engine) for name, model in self._owned.items()]
        pids = [(name, engine.pid) for name, engine in engines if isinstance(engine, ProcessEngine)]
        return [use_of("engine", name, pid) for name, pid in pids if pid is not None]

    async def close(self) -> None:
        """End the processes of all models."""
        await self._models.close()
