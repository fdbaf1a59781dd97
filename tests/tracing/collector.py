"""An OTLP collector on loopback that stores the spans that it receives."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class ReceivedSpan(NamedTuple):
    """A span in the form of OTLP, with IDs in hexadecimal."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str


class Collector:
    """The received spans."""

    def __init__(self) -> None:
        self.url = ""
        self.received: list[ReceivedSpan] = []
        self.resources: list[dict[str, str]] = []

    @property
    def spans(self) -> list[str]:
        """The received spans as `service name: span name`."""
        return [f"{span.service}: {span.name}" for span in self.received]

    def add(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            fields = {field.key: field.value.string_value for field in resource.resource.attributes}
            self.resources.append(fields)
            for scope in resource.scope_spans:
                self.received += [
                    ReceivedSpan(
                        fields["service.name"], span.name, span.trace_id.hex(), span.span_id.hex(),
                        span.parent_span_id.hex(),
                    )
                    for span in scope.spans
                ]  # fmt: skip

    def path_to(self, span_id: str) -> list[str]:
        """Return the names of this span and of its ancestors, up to the first one that wasn't received."""
        by_id = {span.span_id: span for span in self.received}
        names = []
        while span := by_id.get(span_id):
            names.append(span.name)
            span_id = span.parent_id
        return names


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/v1/traces"
            collector.add(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        collector.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
