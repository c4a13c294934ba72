"""Traces by OpenTelemetry, where its standard variables ask for them: a request, its jobs, what they ask the engine.

Off unless ``OTEL_EXPORTER_OTLP_ENDPOINT`` (or ``…_TRACES_ENDPOINT``) is set; then nothing is imported and nothing measured. The
spans are ours, few, and written by hand: what instruments a library by itself puts addresses, statements and errors into
attributes, and with them invite links and texts of people. Here an attribute is a name of ours, a number, or the name of a model.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import structlog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

log = structlog.get_logger()
HEADER = "traceparent"
PROTOCOL = "http/protobuf"
Kind = Literal["server", "client", "producer", "consumer"]
Value = str | int | float | bool
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_making = threading.Lock()
_made: dict[int, TracerProvider] = {}
"""By process: a fork of one that exports makes its own."""


@lru_cache(maxsize=1)
def wanted() -> bool:
    """Whether the environment asks for traces, and what makes them is installed; a line of the log where it is not."""
    said = os.environ.get
    if said("OTEL_SDK_DISABLED", "").lower() == "true" or said("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return False
    if not any(said(name) for name in _ENDPOINTS):
        return False
    protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or said("OTEL_EXPORTER_OTLP_PROTOCOL") or PROTOCOL
    if protocol != PROTOCOL:
        log.warning("traces_are_off", reason=f"the protocol {protocol} is not spoken: set {PROTOCOL}, or none")
        return False
    return True


def endpoint() -> str:
    """Where spans are sent, whole, for programs that are told of it by an option."""
    said = os.environ.get
    return said(_ENDPOINTS[0]) or f"{said(_ENDPOINTS[1], '').rstrip('/')}/v1/traces"


@contextmanager
def span(
    name: str, kind: Kind, carrier: Mapping[str, str] | None = None, **attributes: Value
) -> Iterator[Callable[..., None]]:
    """A span around the block, which what is done in it belongs to. Yields what sets further attributes, or the ``name``.

    Args:
        name: Of few values: a template, a job.
        kind: What the block does, as OpenTelemetry has it.
        carrier: The headers of whoever asked; without them the span in whose block this one lies.
        attributes: With ``_`` in place of dots.
    """
    if not wanted():
        yield _nothing
        return
    from opentelemetry.trace import use_span

    made = _start(name, kind, carrier, attributes)
    with use_span(made, end_on_exit=True, record_exception=False, set_status_on_exception=False), _failing(made):
        yield lambda name=None, **more: _tell(made, name, more)


@contextmanager
def asking(name: str, **attributes: Value) -> Iterator[dict[str, str]]:
    """A span of a client around the block; yields the headers by which who is asked goes on with the trace.

    Nothing else belongs to it, so the block may lie in a generator that is closed elsewhere.
    """
    if not wanted():
        yield {}
        return
    from opentelemetry.trace import set_span_in_context

    made = _start(name, "client", None, attributes)
    try:
        with _failing(made):
            yield _headers(set_span_in_context(made))
    finally:
        made.end()


def carried() -> dict[str, str]:
    """The headers by which a message goes on with the trace that this is done in; none where there is none."""
    return _headers(None) if wanted() else {}


def flush() -> None:
    """Send what has not been sent: a process that is about to end calls this."""
    provider = _made.get(os.getpid())
    if provider is not None:
        provider.force_flush(5_000)


def forget() -> None:
    """Read the environment again: tests run many processes' lives in one."""
    wanted.cache_clear()
    provider = _made.pop(os.getpid(), None)
    if provider is not None:
        provider.shutdown()


def _nothing(name: str | None = None, **_: Value) -> None:
    """What is set while there are no traces."""


def _start(name: str, kind: Kind, carrier: Mapping[str, str] | None, attributes: Mapping[str, Value]) -> Span:
    from opentelemetry.trace import SpanKind
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract(carrier) if carrier is not None else None
    made = _provider().get_tracer("corral").start_span(name, context, SpanKind[kind.upper()])
    _tell(made, None, attributes)
    return made


def _tell(made: Span, name: str | None, attributes: Mapping[str, Value]) -> None:
    if name is not None:
        made.update_name(name)
    for key, value in attributes.items():
        made.set_attribute(key.replace("__", "\0").replace("_", ".").replace("\0", "_"), value)


@contextmanager
def _failing(made: Span) -> Iterator[None]:
    """Of an error its kind alone is told: its words may be somebody's."""
    from opentelemetry.trace import Status, StatusCode

    try:
        yield
    except Exception as error:
        made.set_attribute("error.type", type(error).__name__)
        made.set_status(Status(StatusCode.ERROR))
        raise


def _headers(context: Any) -> dict[str, str]:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers, context)
    return headers


def _provider() -> TracerProvider:
    """What samples, batches and sends, by the standard variables; made when this process has its first span."""
    found = _made.get(os.getpid())
    if found is not None:
        return found
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    with _making:
        if os.getpid() not in _made:
            named = os.environ.get("OTEL_SERVICE_NAME") or "service.name=" in os.environ.get(
                "OTEL_RESOURCE_ATTRIBUTES", ""
            )
            provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "corral"}))
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
            _made[os.getpid()] = provider
        return _made[os.getpid()]
