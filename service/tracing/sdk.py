"""The OpenTelemetry SDK of a process, which the environment variables of its specification configure.

The SDK reads most variables itself: sampler, limits, batches, resource, endpoint, and headers. This module reads those
that select the exporters. Without any of them, tracing is off, although the specification would export to localhost.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import entry_points
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.trace import Span, Tracer, TracerProvider

from service.tracing import spans
from service.version import find_commit, find_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from yarl import URL

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_UNNAMED: Final = "unknown_service"  # the SDK's name of a service without one
_SCOPE: Final = "zof-results"
_FLUSH_S: Final = 5.0
_FIX: Final = "install the extra `tracing`, or set OTEL_SDK_DISABLED=true"


class TracingUnavailable(Exception):
    """The variables request tracing, which this installation can't provide."""


def selected_exporters(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the exporters that the variables select. Without any of them, tracing is off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    listed = [name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",")]
    if any(listed):
        return [name for name in listed if name not in ("", "none")]
    return ["otlp"] if _first(environ, _ENDPOINTS) else []


@contextmanager
def exporting(environ: Mapping[str, str], service_name: str) -> Iterator[bool]:
    """Export the spans of this process in the block if the variables select an exporter. Yield whether they select one.

    Raises TracingUnavailable before the block. Call it after a fork, because exporters use a thread.
    """
    names = selected_exporters(environ)
    with ExitStack() as ended:
        if names:
            try:
                exporters = [_load_exporter(name, environ) for name in names]
                ended.enter_context(recording(_new_provider(service_name, exporters)))
            except (ImportError, ValueError, OSError) as error:
                raise TracingUnavailable(f"{error}; {_FIX}") from error
        yield bool(names)


@contextmanager
def recording(provider: "SdkTracerProvider") -> Iterator[None]:
    """Record spans with the provider in the block, also those of PostgreSQL and of webhook requests; then flush it."""
    with ExitStack() as ended:
        ended.callback(_flush, provider)
        for instrumentor in _instrument(provider):
            ended.callback(instrumentor.uninstrument)
        spans.set_tracer(provider.get_tracer(_SCOPE, find_version()))
        ended.callback(spans.set_tracer, None)
        yield


def _flush(provider: "SdkTracerProvider") -> None:
    """Export the remaining spans for a limited time: with its retries, an exporter takes 20 s to give up."""
    thread = Thread(target=provider.shutdown, daemon=True)
    thread.start()
    thread.join(_FLUSH_S)


def _load_exporter(name: str, environ: Mapping[str, str]) -> Any:
    """Return the class of an installed exporter. Raises ImportError."""
    selected = name
    if name == "otlp":
        protocol = _first(environ, _PROTOCOLS) or "http/protobuf"
        selected = _OTLP_EXPORTERS.get(protocol, protocol)
    for found in entry_points(group="opentelemetry_traces_exporter", name=selected):
        return found.load()
    raise ImportError(f"the exporter {selected} isn't installed")


def _new_provider(service_name: str, exporters: Sequence[Any]) -> "SdkTracerProvider":
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    commit = find_commit()
    build = {"service.version": find_version(), **({"vcs.ref.head.revision": commit} if commit else {})}
    resource = Resource(build).merge(Resource.create())  # the variables replace these values
    if str(resource.attributes.get("service.name", _UNNAMED)).startswith(_UNNAMED):
        resource = resource.merge(Resource({"service.name": service_name}))
    provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter()))
    return provider


def _instrument(provider: "SdkTracerProvider") -> Iterator[Any]:
    """Yield the active instrumentations of the drivers. A URL of a webhook can be a credential, so it's left out."""
    from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
    from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor

    database, client = AsyncPGInstrumentor(), AioHttpClientInstrumentor()  # type: ignore[no-untyped-call]
    database.instrument(tracer_provider=_ChildSpans(provider))
    yield database
    client.instrument(tracer_provider=provider, url_filter=_origin)
    yield client


def _origin(url: "URL") -> str:
    return str(url.origin())


class _ChildSpans(TracerProvider):
    """A provider that records only spans with a parent: the loops of consumers poll the database continuously."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *arguments: Any, **named: Any) -> Tracer:
        """Return a tracer that records only spans with a parent."""
        return _ChildTracer(self._provider.get_tracer(*arguments, **named))


class _ChildTracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(self, *arguments: Any, **named: Any) -> Span:
        if not trace.get_current_span(named.get("context")).get_span_context().is_valid:
            return trace.INVALID_SPAN
        return self._tracer.start_span(*arguments, **named)

    @contextmanager
    def start_as_current_span(self, *arguments: Any, **named: Any) -> Iterator[Span]:  # type: ignore[override]
        started = self.start_span(*arguments, **named)
        # The text of an error can contain values of rows. The instrumentation sets the status.
        with trace.use_span(started, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            yield started


def _first(environ: Mapping[str, str], names: Sequence[str]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")
