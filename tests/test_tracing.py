"""Traces: one from a request over its job to the engine, sent by the standard variables, and no text of people in any."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.accounts.models import Role
from app.kernel import jobs, tracing
from app.kernel.jobs import Job
from app.kernel.settings import EngineKind, get_settings
from app.shell.tracing import TraceRequests
from app.site.main import create_app
from tests.factories import make_annotation, make_user, sign_in
from workers import traced
from workers.engines.openai import OpenAIEngine
from workers.engines.wire import Wire

trace_service_pb2 = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http.trace_exporter")

PRIVATE = "Grandmother's diagnosis"
FOREIGN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@dataclass
class Collector:
    """A collector at ``/v1/traces``, and an engine at ``/v1/models``, behind one port."""

    url: str = ""
    sent: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths that the engine was asked, with the trace that came along."""

    @property
    def spans(self) -> list[Any]:
        """All that were sent, once what waits has been."""
        tracing.flush()
        read = [trace_service_pb2.ExportTraceServiceRequest.FromString(body) for body in self.sent]
        return [span for each in read for of in each.resource_spans for scope in of.scope_spans for span in scope.spans]

    @property
    def services(self) -> set[str]:
        tracing.flush()
        read = [trace_service_pb2.ExportTraceServiceRequest.FromString(body) for body in self.sent]
        kept = [of.resource.attributes for each in read for of in each.resource_spans]
        return {item.value.string_value for attributes in kept for item in attributes if item.key == "service.name"}

    def named(self, name: str) -> Any:
        return next(span for span in self.spans if span.name == name)


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


class _Handler(BaseHTTPRequestHandler):
    here: ClassVar[Collector]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.here.sent.append(body)
            self._answer(b"")
        else:
            self.do_GET()

    def do_GET(self) -> None:
        self.here.asked.append((self.path, self.headers.get("traceparent")))
        self._answer(json.dumps({"data": [{"id": "base"}], "version": "1"}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"here": found}))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    tracing.forget()
    yield found
    monkeypatch.undo()
    tracing.forget()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def sends(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is rung, as the broker is told of it."""
    rung: list[dict[str, Any]] = []

    class Producer:
        def send_task(self, name: str, **options: Any) -> None:
            rung.append({"name": name, **options})

    monkeypatch.setattr(jobs, "producer", Producer)
    return rung


def run_job(message: dict[str, Any], body: Any) -> None:
    """As a worker does with a message: its signals around ``body``."""
    request = type("Request", (), {"headers": message["headers"]})
    task = type("Task", (), {"name": message["name"], "request": request})
    traced.begin(task_id="t1", task=task)
    failure = None
    try:
        body()
    except ValueError as error:
        failure = error
    traced.end(task_id="t1", retval=failure)


def test_one_trace_leads_from_a_request_over_its_job_to_the_engine(
    collector: Collector, sends: list[dict[str, Any]], session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_annotation(session, make_user(session), comment=PRIVATE)
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        sign_in(client, make_user(session, Role.ADMIN, "Bob"))
        answer = client.post("/api/v1/snapshots", json={}, headers={"traceparent": FOREIGN})
    assert answer.status_code == 202
    message = next(each for each in sends if each["name"] == Job.BUILD_SNAPSHOT.value)

    monkeypatch.setenv("CORRAL_ENGINE_URL", f"{collector.url}/v1")
    get_settings.cache_clear()

    async def ask() -> None:
        engine = OpenAIEngine(get_settings())
        await engine.describe()
        await engine.aclose()

    run_job(message, lambda: asyncio.run(ask()))

    request, sent = collector.named("POST /api/v1/snapshots"), collector.named(f"send {message['name']}")
    job, asked = collector.named(message["name"]), collector.named("models")
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert sent.parent_span_id == request.span_id
    assert job.parent_span_id == sent.span_id
    assert asked.parent_span_id == job.span_id
    assert {each.trace_id.hex() for each in (request, sent, job, asked)} == {FOREIGN.split("-")[1]}
    path, header = collector.asked[0]
    assert (path, header) == ("/v1/models", f"00-{asked.trace_id.hex()}-{asked.span_id.hex()}-01")
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.response.status_code": 202,
        "http.route": "/api/v1/snapshots",
    }
    assert attributes(sent) == {"messaging.destination.name": "control"}
    assert collector.services == {"corral"}


def test_no_path_text_or_words_of_an_error_are_in_a_trace(collector: Collector, session: Session) -> None:
    with TestClient(create_app(), headers={"sec-fetch-site": "same-origin"}) as client:
        client.get("/invite/a-secret-that-must-not-appear?q=a-secret-query")
        client.get("/healthz")

    def fails() -> None:
        raise ValueError(PRIVATE)

    run_job({"name": "corral.generate", "headers": None}, fails)
    body = {"model": "policy-r1", "max_tokens": 8, "n": 2, "messages": [{"role": "user", "content": PRIVATE}]}
    with Wire(get_settings(), 1, "CORRAL_ENGINE_API_KEY")._traced("chat/completions", body):
        pass
    assert {span.name for span in collector.spans} == {"GET /invite/{secret}", "corral.generate", "completions"}
    assert attributes(collector.named("corral.generate"))["error.type"] == "ValueError"
    assert attributes(collector.named("completions")) == {
        "gen_ai.request.choice.count": 2,
        "gen_ai.request.max_tokens": 8,
        "gen_ai.request.model": "policy-r1",
    }
    everything = b"".join(collector.sent)
    for secret in (PRIVATE, "Grandmother", "a-secret"):
        assert secret.encode() not in everything


def test_another_ones_model_is_told_of_no_trace(collector: Collector) -> None:
    settings = get_settings().model_copy(update={"engine_kind": EngineKind.OPENAI})
    with Wire(settings, 1, "CORRAL_ENDPOINTS")._traced("chat/completions", {"model": "rival"}) as headers:
        assert headers == {}


def test_the_standard_variables_name_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "corral-on-a-farm")
    with tracing.span("one", "server"):
        pass
    assert collector.services == {"corral-on-a-farm"}


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_they_turn_traces_off(
    collector: Collector, sends: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracing.forget()
    assert TraceRequests.__name__ not in str(create_app().user_middleware)
    with tracing.span("one", "server") as tell, tracing.asking("two") as headers:
        tell("three", http_route="/")
        jobs.ring(Job.SWEEP)
    assert headers == {}
    assert sends == [{"name": "corral.sweep", "args": (), "queue": "control", "retry": False, "headers": None}]
    assert collector.sent == []
