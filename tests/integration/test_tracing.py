"""Traces: what a real collector's receiver gets of a real server's requests."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from support.metrics import becomes
from support.patience import in_time
from support.server import ROOT, ServerProcess, http_client
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from jan.errors import ConfigurationError
from jan.settings.load import load_settings

StartServer = Callable[[str], ServerProcess]

CHAT = "/api/v1/chat/completions"
SECRET = "the-secret-of-the-prompt"
MODELS = """models:
  - {id: echo, aliases: [parrot], engine: echo}
  - {id: slow, engine: echo, options: {step_seconds: 0.02, slots: 1}}
"""


class Collector:
    """An OTLP/HTTP receiver on loopback, in a thread of its own. ``hangs``: it takes requests and never
    answers."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.bodies: list[bytes] = []
        self.resources: list[dict[str, Any]] = []
        self.spans: list[Span] = []
        self._hangs = hangs
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60)

    async def _serve(self) -> None:
        collector = self
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()

        class Traces(RequestHandler):
            async def post(self) -> None:
                collector.take(self.request.body)
                if collector._hangs:
                    await collector._ended.wait()
                self.set_header("Content-Type", "application/x-protobuf")
                self.finish(ExportTraceServiceResponse().SerializeToString())

        (bound,) = bind_sockets(0, "127.0.0.1")
        http = HTTPServer(Application([("/v1/traces", Traces)], log_function=lambda _handler: None))
        http.add_sockets([bound])
        self.url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1/traces"
        self._ready.set()
        await self._ended.wait()
        http.stop()
        await http.close_all_connections()

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            self.resources.append(attributes_of(resource.resource))
            for scope in resource.scope_spans:
                self.spans += scope.spans
        self.bodies.append(body)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(10)

    def named(self, name: str) -> Span:
        (span,) = [span for span in self.spans if span.name == name]
        return span

    def below(self, parent: Span) -> dict[str, Span]:
        return {span.name: span for span in self.spans if span.parent_span_id == parent.span_id}


def attributes_of(owner: Any) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        return [plain(item) for item in found.values] if kind == "array_value" else found

    return {attribute.key: plain(attribute.value) for attribute in owner.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def chat(model: str, words: int = 3, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": f"{SECRET} " * words}], **more}


def traced(url: str, more: str = "") -> str:
    return f"tracing: {{endpoint: '{url}', service_name: jan-in-test{more}}}\n{MODELS}"


def test_a_request_is_a_trace_of_its_phases(start_server: StartServer, collector: Collector) -> None:
    """The server's span by the URL's template, below it the model's with GenAI's attributes, below that queue,
    prefill and decode, one after the other; the log's line has the trace's id; all of it sent by the time that the
    server has stopped."""
    server = start_server(traced(collector.url))
    with http_client(server, headers={"Authorization": f"Bearer {server.admin_key}"}) as client:
        usage = client.post(f"{CHAT}?token=in-the-query", json=chat("parrot")).json()["usage"]
        client.get("/api/v1/models/echo")
    assert server.stop() == 0
    root = collector.named("POST /api/v1/chat/completions")
    about = attributes_of(root)
    assert root.kind == Span.SPAN_KIND_SERVER
    assert root.parent_span_id == b""
    assert about["http.route"] == CHAT
    assert about["http.response.status_code"] == 200
    (model,) = collector.below(root).values()
    assert model.name == "chat parrot"
    told = attributes_of(model)
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.request.model"] == "parrot"
    assert told["gen_ai.response.model"] == "echo"
    assert told["gen_ai.usage.input_tokens"] == usage["prompt_tokens"]
    assert told["gen_ai.usage.output_tokens"] == usage["completion_tokens"]
    assert told["gen_ai.response.finish_reasons"] == ["stop"]
    phases = collector.below(model)
    assert list(phases) == ["queue", "prefill", "decode"]
    times = [at for span in phases.values() for at in (span.start_time_unix_nano, span.end_time_unix_nano)]
    assert times == sorted(times)
    assert root.start_time_unix_nano <= times[0]
    assert times[-1] <= root.end_time_unix_nano
    assert abs(root.start_time_unix_nano / 1e9 - time.time()) < 600
    assert attributes_of(collector.named("GET /api/v1/models/{model_id}"))["http.route"].endswith("{model_id}")
    (line,) = [entry for entry in server.log if entry.get("route") == "chat.completions"]
    assert line["trace_id"] == root.trace_id.hex() == model.trace_id.hex()
    assert collector.resources[0]["service.name"] == "jan-in-test"
    for forbidden in (SECRET, "in-the-query", server.admin_key):
        assert not any(forbidden.encode() in body for body in collector.bodies)


def test_the_clients_trace_goes_on(start_server: StartServer, collector: Collector) -> None:
    """A sane traceparent becomes the parent; a broken one is passed over; one that is not to be sampled is not."""
    server = start_server(traced(collector.url))
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with http_client(server) as client:
        for flags in ("01", "00"):
            headers = {"traceparent": f"00-{trace}-{parent}-{flags}", "tracestate": "vendor=1"}
            client.post(CHAT, json=chat("echo"), headers=headers)
        client.get("/health", headers={"traceparent": "00-nonsense"})
    assert server.stop() == 0
    root = collector.named("POST /api/v1/chat/completions")
    assert root.trace_id.hex() == trace
    assert root.parent_span_id.hex() == parent
    assert root.trace_state == "vendor=1"
    assert collector.named("GET /health").parent_span_id == b""


def test_a_sample_ratio_of_nothing_sends_nothing(start_server: StartServer, collector: Collector) -> None:
    """With 0, only what a client's traceparent asks for is sent; the log has ids all the same."""
    server = start_server(traced(collector.url, ", sample_ratio: 0"))
    with http_client(server) as client:
        client.post(CHAT, json=chat("echo"))
        client.get("/health", headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    assert server.stop() == 0
    assert [span.name for span in collector.spans] == ["GET /health"]


def test_a_stream_whose_client_leaves_and_errors(start_server: StartServer, collector: Collector) -> None:
    """A stream's span lasts to its end and says that its client left; a refusal has the status of an error only if
    it is the server's fault."""
    server = start_server(traced(collector.url))
    with http_client(server) as client:
        with client.stream("POST", CHAT, json=chat("slow", 900, stream=True)) as answer:
            for line in in_time(answer.iter_lines()):
                if SECRET in line:
                    break
        assert becomes(client, 1, "jan_http_clients_left_total", route="chat.completions")
        assert client.post("/api/v1/completions", json={"model": "none", "prompt": "x"}).status_code == 404
    assert server.stop() == 0
    root = collector.named("POST /api/v1/chat/completions")
    assert attributes_of(root)["jan.client_left"] is True
    (model,) = collector.below(root).values()
    assert attributes_of(model)["gen_ai.usage.output_tokens"] > 0
    assert set(collector.below(model)) == {"queue and prefill", "decode"}
    refused = collector.named("POST /api/v1/completions")
    assert attributes_of(refused)["error.type"] == "model_not_found"
    assert refused.status.code == Status.STATUS_CODE_UNSET


def test_an_error_in_the_middle_of_a_stream_is_an_error(start_server: StartServer, collector: Collector) -> None:
    """The status was 200; the spans say what went wrong all the same."""
    server = start_server(f"server: {{grace_seconds: 0}}\n{traced(collector.url)}")
    with http_client(server) as client, client.stream("POST", CHAT, json=chat("slow", 900, stream=True)) as answer:
        lines = in_time(answer.iter_lines())
        assert any(SECRET in line for line in lines)
        server.signal(15)
        assert any("shutting_down" in line for line in lines)
    assert server.wait() == 0
    root = collector.named("POST /api/v1/chat/completions")
    assert attributes_of(root)["error.type"] == "shutting_down"
    assert root.status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize("kind", ["away", "hangs"])
def test_a_bad_collector_hurts_nobody(start_server: StartServer, kind: str) -> None:
    """No collector, or one that takes requests and does not answer: requests are served, and the server stops."""
    collector = Collector(hangs=True) if kind == "hangs" else None
    server = start_server(traced(collector.url if collector else "http://127.0.0.1:1/v1/traces"))
    try:
        with http_client(server) as client:
            for _ in range(20):
                assert client.post(CHAT, json=chat("echo")).status_code == 200
        assert server.stop() == 0
    finally:
        if collector:
            collector.close()
    assert not any(SECRET in line for line in server.stderr)


def test_off_means_not_imported() -> None:
    """Without an endpoint nothing of OpenTelemetry is loaded when a server is made."""
    code = (
        "import sys, asyncio; from jan.application import Server; from jan.settings.load import *\n"
        "async def main():\n"
        "    Server(load_settings(default_config_file(), models=[]), show_late_key=print)\n"
        "asyncio.run(main()); print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_a_missing_package_is_one_line() -> None:
    """Configured without its packages: a ConfigurationError that names the extra."""
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"
        "from jan.telemetry.trace_sender import make_tracing; from jan.errors import ConfigurationError\n"
        "from jan.settings import TracingSettings\n"
        "try: make_tracing(TracingSettings(endpoint='http://127.0.0.1:4318/v1/traces'))\n"
        "except ConfigurationError as error: print(error.message)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    (line,) = done.stdout.splitlines()
    assert "jan-server[otel]" in line


@pytest.mark.parametrize("endpoint", ["localhost:4318", "ftp://x/", "http://user:pass@localhost:4318/v1/traces"])
def test_an_endpoint_that_is_none_is_refused(tmp_path: Path, endpoint: str) -> None:
    """The message says where and what is allowed, and repeats no password."""
    file = tmp_path / "jan.yaml"
    file.write_text(f"tracing: {{endpoint: '{endpoint}'}}\n")
    with pytest.raises(ConfigurationError, match=r"tracing.*OTEL_EXPORTER_OTLP_HEADERS") as refused:
        load_settings(file, {})
    assert "user:pass" not in refused.value.message
