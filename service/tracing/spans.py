"""Spans, and trace contexts in headers and stored rows. While tracing is off, which is the default, there are no spans.

Edges of the service (HTTP, AMQP) use the propagators that OTEL_PROPAGATORS selects. Stored contexts contain only W3C
Trace Context, so that baggage of a client never reaches the webhooks of an organization.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Final, NamedTuple

from opentelemetry import context, propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.domain.texts import redact_secrets

TraceContext = Mapping[str, str]  # `traceparent` and, if it isn't empty, `tracestate`
Attributes = Mapping[str, str | int]
SpanBlock = AbstractContextManager[Span]

NO_SPAN: Final = nullcontext(trace.INVALID_SPAN)

_W3C: Final = TraceContextTextMapPropagator()
_SERVER_ERROR: Final = 500

_tracer: Tracer | None = None  # None: tracing is off


class TracedMessage(NamedTuple):
    """A message. The parent of its span is in its headers or else in its event, where the first sender set it."""

    headers: Mapping[str, Any]
    event_context: TraceContext


def set_tracer(tracer: Tracer | None) -> None:
    """Turn tracing of this process on or, with None, off."""
    global _tracer
    _tracer = tracer


def is_on() -> bool:
    """Return whether this process has spans."""
    return _tracer is not None


def span(
    name: str,
    parent: TraceContext | None = None,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Attributes | None = None,
) -> SpanBlock:
    """Start a span, which is the current one in the block. Without a stored parent, its parent is the current span."""
    if _tracer is None:
        return NO_SPAN
    return _current(_tracer.start_span(name, _W3C.extract(parent) if parent else None, kind, attributes))


def copy_span(table: str) -> SpanBlock:
    """Start the span of a COPY, which the instrumentation of the driver doesn't record."""
    described = {"db.system.name": "postgresql", "db.operation.name": "COPY", "db.collection.name": table}
    return span(f"COPY {table}", None, SpanKind.CLIENT, described)


def task_span(tasks: str, parent: TraceContext | None) -> SpanBlock:
    """Start the span of a task. Its parent is the request that queued the task."""
    return span(f"process {tasks}", parent, SpanKind.CONSUMER)


def server_span(method: str, route: str, headers: Mapping[str, str], attributes: Attributes) -> SpanBlock:
    """Start the span of an HTTP request. Its parent is in the headers."""
    if _tracer is None:
        return NO_SPAN
    described = {"http.request.method": method, "http.route": route, **attributes}
    parent = propagate.extract(headers, Context())
    return _current(_tracer.start_span(f"{method} {route}", parent, SpanKind.SERVER, described))


def set_response(server: Span, status: int) -> None:
    """Set the status of the response. Only 5xx is an error of the server."""
    if server.is_recording():
        server.set_attribute("http.response.status_code", status)
        if status >= _SERVER_ERROR:
            server.set_status(Status(StatusCode.ERROR))


def fail(error: Exception | str) -> None:
    """Mark the current span as failed. Its text has no secrets, like a log line; the log contains the traceback."""
    current = trace.get_current_span()
    if current.is_recording():
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        current.set_status(Status(StatusCode.ERROR, redact_secrets(text)))


def current_context() -> TraceContext | None:
    """Return the context of the current span, to be stored. Returns None without a span."""
    return None if _tracer is None else context_of(trace.get_current_span())


def context_of(source: Span) -> TraceContext | None:
    """Return the context of a span, to be stored. Returns None for a span that isn't recorded."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(source, Context()))
    return carrier or None


@contextmanager
def resuming(stored: TraceContext | None) -> Iterator[None]:
    """Make a stored context the current one in the block, without a new span."""
    if _tracer is None or stored is None:
        yield
        return
    token = context.attach(_W3C.extract(stored))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def sending(queue: str, parent: TraceContext | None) -> Iterator[Mapping[str, str]]:
    """Start the span of a message that is published, and provide the headers that propagate it."""
    headers: dict[str, str] = {}
    with span(f"send {queue}", parent, SpanKind.PRODUCER, _messaging("send", queue)):
        if _tracer is not None:
            propagate.inject(headers)
        yield headers


@contextmanager
def processing(queue: str, messages: Sequence[TracedMessage]) -> Iterator[Sequence[Span]]:
    """Start one span for each message, and provide the spans; none while tracing is off.

    If there is one message, its span is the current one. Several messages share a transaction, so the current span is
    one that is linked with theirs.
    """
    if _tracer is None or not messages:
        yield ()
        return
    with ExitStack() as ended:
        spans = [_start_message_span(_tracer, queue, message) for message in messages]
        current = spans[0] if len(spans) == 1 else _batch_span(_tracer, queue, spans)
        for each in {current, *spans}:
            ended.callback(each.end)
        ended.enter_context(_active(current))
        yield spans


def set_outcomes(messages: Sequence[Span], outcomes: Sequence[str]) -> None:
    """Set the outcome of each message. A rejected message is an error."""
    for each, outcome in zip(messages, outcomes, strict=True) if messages else ():
        each.set_attribute("results.outcome", outcome)
        if outcome == "rejected":
            each.set_status(Status(StatusCode.ERROR, outcome))


def log_fields() -> Mapping[str, str]:
    """Return the fields of a log line that identify the current span; none without a span."""
    current = trace.get_current_span().get_span_context()
    if not current.is_valid:
        return {}
    return {"trace_id": trace.format_trace_id(current.trace_id), "span_id": trace.format_span_id(current.span_id)}


@contextmanager
def _current(started: Span) -> Iterator[Span]:
    """Make the span the current one in the block, and end it."""
    try:
        with _active(started):
            yield started
    finally:
        started.end()


@contextmanager
def _active(started: Span) -> Iterator[None]:
    """Make the span the current one in the block. An error that the block raises marks it as failed."""
    with trace.use_span(started, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            fail(error)
            raise


def _start_message_span(tracer: Tracer, queue: str, message: TracedMessage) -> Span:
    """Start a span whose parent is the last sender. If the event belongs to another trace, link it."""
    texts = {name: value for name, value in message.headers.items() if isinstance(value, str)}
    sender, origin = propagate.extract(texts, Context()), _W3C.extract(message.event_context)
    sender_span, origin_span = (trace.get_current_span(each).get_span_context() for each in (sender, origin))
    is_forwarded = sender_span.is_valid and origin_span.is_valid and sender_span != origin_span
    return tracer.start_span(
        f"process {queue}", sender if sender_span.is_valid else origin, SpanKind.CONSUMER,
        _messaging("process", queue), [Link(origin_span)] if is_forwarded else [],
    )  # fmt: skip


def _batch_span(tracer: Tracer, queue: str, spans: Sequence[Span]) -> Span:
    links = [Link(each.get_span_context()) for each in spans]
    attributes = {**_messaging("process", queue), "messaging.batch.message_count": len(spans)}
    batch = tracer.start_span(f"process batch of {queue}", Context(), SpanKind.INTERNAL, attributes, links)
    for each in spans:
        each.add_link(batch.get_span_context())
    return batch


def _messaging(operation: str, queue: str) -> Attributes:
    return {
        "messaging.system": "rabbitmq",
        "messaging.operation.type": operation,
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
    }
