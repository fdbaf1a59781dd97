"""Spans that a test records in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from service.tracing.sdk import recording


class Recorded:
    """The finished spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def of_trace(self, traceparent: str) -> list[ReadableSpan]:
        return [span for span in self.spans if format_trace_id(context(span).trace_id) == traceparent.split("-")[1]]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def parent(self, span: ReadableSpan) -> ReadableSpan | None:
        """Return the recorded parent."""
        parent_id = span.parent.span_id if span.parent else None
        return next((each for each in self.spans if context(each).span_id == parent_id), None)

    def ancestors(self, span: ReadableSpan) -> list[str]:
        """Return the names of the span and of its recorded ancestors."""
        parent = self.parent(span)
        return [span.name, *(self.ancestors(parent) if parent else [])]


def context(span: ReadableSpan) -> SpanContext:
    found: SpanContext | None = span.context
    assert found is not None
    return found


def span_id(span: ReadableSpan) -> str:
    return format_span_id(context(span).span_id)


@contextmanager
def recorded_spans() -> Iterator[Recorded]:
    recorded, provider = Recorded(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    with recording(provider):
        yield recorded
