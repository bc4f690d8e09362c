"""Traces for OpenTelemetry, sent by OTLP over HTTP. The only file that imports its packages, and only if
configured.

A request is recorded when it has ended, from times that were measured for the metrics anyway. No tracing work is
done while tokens are generated. A span has the model and numbers of tokens, never the text, the person,
credentials or query.
"""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter, time_ns

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from jan import __version__
from jan.settings import TracingSettings
from jan.telemetry.request_record import GenerationRecord, RequestRecord

_EXPORT_SECONDS = 5.0
_CLOSE_SECONDS = 5.0
_NANOSECONDS = 1_000_000_000


class OtlpTracing:
    """Implements ``request_record.Tracing`` for a collector."""

    def __init__(self, settings: TracingSettings) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
            # The caller's sampling decision counts, so that a trace is complete or absent.
            sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
            shutdown_on_exit=False,
        )
        # The processor sends from its own thread and drops spans that do not fit its queue.
        self._provider.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(settings.endpoint, timeout=_EXPORT_SECONDS))
        )
        self._tracer = self._provider.get_tracer("jan", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, request: RequestRecord) -> str:
        """Record a request that has ended; return its trace's id."""
        # perf_counter begins anywhere, and the system's clock may be set during a request.
        offset = time_ns() - _nanoseconds(perf_counter())
        parent = self._propagator.extract(_carrier(request), Context())
        span = self._tracer.start_span(
            f"{request.method} {request.route}",
            parent,
            SpanKind.SERVER,
            _attributes(request),
            start_time=offset + _nanoseconds(request.began),
        )
        if span.is_recording():
            if request.error is not None and (request.status >= 500 or request.status < 400):
                _fail(span, request.error)
            if request.generation is not None:
                self._record_generation(request, request.generation, set_span_in_context(span), offset)
        span.end()
        return format_trace_id(span.get_span_context().trace_id)

    def _record_generation(
        self, request: RequestRecord, generation: GenerationRecord, parent: Context, offset: int
    ) -> None:
        """Record a span for the model's part, and one for each phase that was reached."""
        now = perf_counter()
        ended = generation.ended_at or now
        with self._span(
            f"{_operation(generation)} {generation.asked_for}",
            parent,
            offset,
            generation.began,
            ended,
            _generation_attributes(generation),
        ) as span:
            if request.error is not None:
                _fail(span, request.error)
            context = set_span_in_context(span)
            for name, since, until in _phases(generation, ended):
                with self._span(name, context, offset, since, until, {}):
                    pass

    @contextmanager
    def _span(
        self,
        name: str,
        parent: Context,
        offset: int,
        since: float,
        until: float,
        attributes: Mapping[str, AttributeValue],
    ) -> Iterator[Span]:
        span = self._tracer.start_span(
            name, parent, attributes=attributes, start_time=offset + _nanoseconds(since)
        )
        yield span
        span.end(offset + _nanoseconds(until))

    async def close(self) -> None:
        """Send what is left, within a few seconds."""
        # A daemon thread, because sending may hang if the collector accepts connections but does not answer.
        thread = threading.Thread(target=self._provider.shutdown, name="jan-tracing-close", daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _CLOSE_SECONDS)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)


def _carrier(request: RequestRecord) -> dict[str, str]:
    given = {"traceparent": request.trace_parent, "tracestate": request.trace_state}
    return {name: value for name, value in given.items() if value is not None}


def _attributes(request: RequestRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "http.request.method": request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "url.scheme": request.scheme,
        "jan.request.id": request.request_id,
    }
    if request.client_left:
        attributes["jan.client_left"] = True
    if request.error is not None:
        attributes["error.type"] = request.error
    return attributes


def _operation(generation: GenerationRecord) -> str:
    return "chat" if generation.is_chat else "text_completion"


def _generation_attributes(generation: GenerationRecord) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "gen_ai.operation.name": _operation(generation),
        "gen_ai.provider.name": "jan",
        "gen_ai.request.model": generation.asked_for,
        "gen_ai.response.model": generation.model,
    }
    if generation.accepted_at is not None:
        used = generation.used
        attributes["gen_ai.usage.input_tokens"] = used.prompt
        attributes["gen_ai.usage.output_tokens"] = used.completion
        attributes["gen_ai.usage.cache_read.input_tokens"] = used.cached
    if generation.finish_reasons:
        reasons = [reason for _, reason in sorted(generation.finish_reasons.items())]
        attributes["gen_ai.response.finish_reasons"] = reasons
    return attributes


def _phases(generation: GenerationRecord, ended: float) -> Iterator[tuple[str, float, float]]:
    """Yield name, beginning and end of each phase.

    If the answer did not complete, the moment when its slot came free is unknown. Waiting is then one phase.
    """
    accepted, first = generation.accepted_at, generation.first_at
    if accepted is None:
        return
    prefilling = accepted
    if generation.queue_seconds is not None:
        prefilling = min(accepted + generation.queue_seconds, first or ended)
        yield "queue", accepted, prefilling
    waited_for = "prefill" if generation.queue_seconds is not None else "queue and prefill"
    yield waited_for, prefilling, first or ended
    if first is not None:
        yield "decode", first, ended


def _fail(span: Span, code: str) -> None:
    span.set_status(Status(StatusCode.ERROR, code))
