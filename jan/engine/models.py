"""The served models, found by id or alias. A model is loaded at start-up or at its first request."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from jan.engine.base import Engine
from jan.engine.model_trials.tried_models import ModelTrials
from jan.engine.registry import Surroundings, create_engine
from jan.engine.rules import rules_of
from jan.errors import ConfigurationError, JanError, Mistakes, NotFound, Unavailable
from jan.routing.moved import old_names_of
from jan.settings import ModelSettings
from jan.tasks import Tasks

log = structlog.get_logger(__name__)

if not TYPE_CHECKING:
    __getattr__ = old_names_of(__name__)

# Called with a model's id and the part of it that is loaded, 0..1.
LoadReport = Callable[[str, float], None]


class ServedModel:
    """One configured model and its engine."""

    def __init__(self, settings: ModelSettings, engine: Engine) -> None:
        self.id = settings.id
        #: The name of its engine in the configuration.
        self.kind = str(settings.engine)
        self.names = (settings.id, *settings.aliases)
        self.eager = settings.load == "eager"
        self.engine = engine
        self.created = int(time.time())
        self.loaded = False
        #: The part that is loaded, 0..1, while a load runs.
        self.loading: float | None = None
        self._task: asyncio.Task[None] | None = None

    async def load(self, report: LoadReport) -> None:
        """Start the engine unless it runs. Raises ConfigurationError if that fails.

        All callers wait for the same load. It continues if they leave, because the engine's thread can't stop in
        the middle. After a failure, the next caller tries again.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._load(report))
            self._task.add_done_callback(self._ended)
        await asyncio.shield(self._task)

    async def _load(self, report: LoadReport) -> None:
        def progress(part: float) -> None:
            # Each part once.
            if self.loading is None or part > self.loading:
                self.loading = part
                report(self.id, part)

        began = time.monotonic()
        # Before the first part comes the trial.
        progress(0.0)
        await self.engine.start(progress)
        self.loaded = True
        chats = self.engine.info.chats
        forms = {} if chats is None else msgspec.structs.asdict(chats)
        log.info("model loaded", model=self.id, seconds=round(time.monotonic() - began, 2), **forms)

    def _ended(self, loading: "asyncio.Task[None]") -> None:
        self.loading = None
        if loading.cancelled() or loading.exception() is not None:
            self._task = None


class ServedModels:
    """All served models. Also a Prometheus collector of their engines' counters.

    ``failed``: set when a model fails that is configured with ``on_failure: exit``. ``sockets``: the folder of the
    sockets of models' processes; by default temporary ones. ``elsewhere`` makes the engine of a model that runs in
    a process of another one, and returns None for any other.

    Usage::

        models = ServedModels(settings.models)
        await models.start(report)
        engine = await models.engine("my-model")
    """

    def __init__(
        self,
        settings: Iterable[ModelSettings],
        sockets: Path | None = None,
        elsewhere: Callable[[ModelSettings], Engine | None] = lambda _settings: None,
    ) -> None:
        self._elsewhere = elsewhere
        self.failed = asyncio.Event()
        self._trials = ModelTrials()
        self._around = Surroundings(self._trials, sockets)
        self._served: list[ServedModel] = []
        self._tasks = Tasks()
        mistakes = Mistakes()
        for index, model in enumerate(settings):
            with mistakes.collecting():
                self._served.append(self._make(index, model))
        mistakes.raise_any()
        self._by_name = {name: model for model in self._served for name in model.names}

    def _make(self, index: int, settings: ModelSettings) -> ServedModel:
        if (attached := self._elsewhere(settings)) is not None:
            return ServedModel(settings, attached)
        rules = rules_of(settings)
        try:
            engine = create_engine(
                settings.id,
                settings.engine,
                settings.options,
                rules,
                self.failed.set,
                settings.isolation,
                self._around,
            )
        except ConfigurationError as error:
            raise error.under(f"models[{index}] ({settings.id})") from error
        return ServedModel(settings, engine)

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._served)

    @property
    def names(self) -> list[str]:
        """Every id and alias that a request may use."""
        return list(self._by_name)

    def get(self, name: str) -> ServedModel:
        """Return the model with this id or alias. Raises NotFound with the names that exist."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NotFound(
                f"There is no model '{name[:128]}'; available: {', '.join(self._by_name) or 'none'}.",
                code="model_not_found",
                param="model",
            ) from None

    async def engine(self, name: str) -> Engine:
        """Return the engine of a model, after loading it if necessary.

        Raises:
            NotFound: if there is no such model.
            Unavailable: if it can't be loaded.
        """
        model = self.get(name)
        if not model.loaded:
            try:
                await model.load(lambda _name, _part: None)
            except ConfigurationError as error:
                log.error("model can't be loaded", model=model.id, reason=error.message)
                raise Unavailable(f"Model '{model.id}' can't be loaded. The server's log says why.") from error
        return model.engine

    def show_part(self, name: str, part: float) -> None:
        """Show how much of a model is loaded that another process loads, and use it here too once it is."""
        model = self._by_name[name]
        if part < 1 and not model.loaded:
            model.loading = part
        elif not model.loaded:
            self._tasks.start(self._attach(model))

    async def _attach(self, model: ServedModel) -> None:
        with suppress(JanError):  # whoever asks the model tries again
            await model.load(lambda _name, _part: None)

    def begin(self) -> None:
        """Begin with what the start needs and what takes no part in it: the process that tries eager models."""
        if any(model.eager for model in self._served):
            self._trials.begin()

    async def rest(self) -> None:
        """End the process that tries models."""
        await asyncio.to_thread(self._trials.rest)

    async def start(self, report: LoadReport) -> None:
        """Load the models with ``load: eager``, one after another. If one fails, those before are freed."""
        try:
            for model in self._served:
                if model.eager:
                    await model.load(report)
        except BaseException:
            await self.close()
            raise
        await self.rest()

    async def close(self) -> None:
        """Stop the engines of all models."""
        await self._tasks.close(0.0)
        await asyncio.gather(*(model.engine.close() for model in self._served))
        await self.rest()

    def collect(self) -> Iterable[Metric]:
        """Return the engines' counters as Prometheus metrics."""
        gauges = {
            name: GaugeMetricFamily(f"jan_engine_{name}", help_, labels=["model"]) for name, help_ in _GAUGES
        }
        counters = {
            name: CounterMetricFamily(f"jan_engine_{name}", help_, labels=["model"]) for name, help_ in _COUNTERS
        }
        waits = HistogramMetricFamily(
            "jan_engine_queue_wait_seconds", "From a request's arrival in the queue to its slot", labels=["model"]
        )
        healthy = GaugeMetricFamily("jan_engine_healthy", "1 while the engine can serve", labels=["model"])
        loaded = GaugeMetricFamily("jan_engine_loaded", "1 once the model is loaded", labels=["model"])
        slots = GaugeMetricFamily("jan_engine_slots", "Answers that run at once", labels=["model"])
        caches = [
            GaugeMetricFamily(f"jan_engine_{name}", help_, labels=["model"]) for name, help_ in _CACHE_GAUGES
        ]
        for model in self._served:
            loaded.add_metric([model.id], float(model.loaded))
            if model.loaded and model.engine.info.slots is not None:
                slots.add_metric([model.id], model.engine.info.slots)
            if model.loaded and (cache := model.engine.info.cache) is not None:
                for family, tokens in zip(caches, (cache.total, cache.used), strict=True):
                    family.add_metric([model.id], tokens)
            for name, gauge in gauges.items():
                gauge.add_metric([model.id], getattr(model.engine.stats, name))
            for name, counter in counters.items():
                counter.add_metric([model.id], getattr(model.engine.stats, name))
            times = model.engine.stats.waits
            waits.add_metric([model.id], times.buckets(), times.total)
            healthy.add_metric([model.id], float(model.engine.healthy))
        return [*gauges.values(), *counters.values(), waits, healthy, loaded, slots, *caches]


_GAUGES = (
    ("running", "Answers that run in a slot"),
    ("waiting", "Requests that wait for a slot"),
    ("waiting_tokens", "Tokens of waiting requests: their prompts and expected answers"),
)
_CACHE_GAUGES = (
    ("cache_tokens", "Capacity of the key-value cache in tokens"),
    ("cache_used_tokens", "Tokens of the cache that running answers have reserved"),
)
_COUNTERS = (
    ("steps", "Forward passes"),
    ("prompt_tokens", "Tokens of all prompts"),
    ("completion_tokens", "Tokens generated"),
    ("finished", "Answers that ran to their end"),
    ("cancelled", "Answers that were cancelled, usually because the client left"),
    ("failed", "Requests refused or failed"),
    ("overloaded", "Requests refused because too many wait"),
    ("timed_out", "Requests that waited too long for a slot"),
    ("stalls", "Times that the model made no progress"),
    ("restarts", "Times that the model was loaded again after a failure"),
)
