"""Reports each request once at its end: in the log, the metrics and the traces."""

import time
from typing import Any

import structlog
from tornado.web import RequestHandler

from jan.generation.answering import Answering
from jan.services import Services
from jan.telemetry.request_record import RequestRecord

log = structlog.get_logger(__name__)


class ReportedRequest(RequestHandler):
    """A request that is logged, counted and traced when its response has ended.

    ``began``: when it arrived, by ``perf_counter``.
    """

    services: Services
    request_id = ""
    route_name: str
    route_path: str
    began: float
    #: Fields of the request's line in the log beside route, status and time.
    log_fields: dict[str, Any]
    #: The request's use of models, if any.
    answering: Answering | None = None

    def on_finish(self) -> None:
        """Log, count and trace the request.

        If its answer outlives it, log and trace wait for the answer's end, because its tokens are not known
        before.
        """
        seconds = time.perf_counter() - self.began
        self._count(self.get_status(), seconds)
        detached_task = None
        if self.answering is not None:
            # Break the reference cycle: if the task fails, its exception holds the frames that led here.
            detached_task, self.answering.detached_task = self.answering.detached_task, None
        if detached_task is None or detached_task.done():
            self._report(seconds)
        else:
            detached_task.add_done_callback(lambda _: self._report(seconds))

    def _report(self, seconds: float) -> None:
        status = self.get_status()
        if self.services.tracing is not None:
            self.log_fields["trace_id"] = self.services.tracing.record(self._observed(status))
        if self.answering is not None and self.answering.record is not None:
            self.log_fields.update(self.answering.record.log_fields())
        log.info(
            "request",
            request_id=self.request_id,
            route=self.route_name,
            method=_method_label(self),
            status=status,
            ms=round(seconds * 1000, 1),
            **self.log_fields,
        )

    def _count(self, status: int, seconds: float) -> None:
        metrics, route = self.services.metrics, self.route_name
        metrics.requests.labels(route, _method_label(self), str(status)).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if "error" in self.log_fields:
            metrics.errors.labels(route, self.log_fields["error"]).inc()
        if "client_left" in self.log_fields:
            metrics.clients_left.labels(route).inc()
        if "replayed" in self.log_fields:
            metrics.replays.labels(route).inc()

    def _observed(self, status: int) -> RequestRecord:
        return RequestRecord(
            request_id=self.request_id,
            method=_method_label(self),
            scheme=self.request.protocol,
            route=self.route_path,
            status=status,
            began=self.began,
            error=self.log_fields.get("error"),
            client_left="client_left" in self.log_fields,
            trace_parent=self.request.headers.get("traceparent"),
            trace_state=self.request.headers.get("tracestate"),
            generation=None if self.answering is None else self.answering.record,
        )


def _method_label(handler: ReportedRequest) -> str:
    """Return the method from a closed set, so that clients can't invent label values of metrics."""
    method = handler.request.method or ""
    return method if method in handler.SUPPORTED_METHODS else "other"
