"""Tests of the environment variables of OpenTelemetry, and of the export to a collector."""

import json
import os
import subprocess
import sys
import time
from urllib.request import urlopen

import pytest
from structlog.testing import capture_logs

from service.dev.ports import choose_port
from service.processes import tracing
from service.tracing import spans
from service.tracing.sdk import TracingUnavailable, exporting, selected_exporters
from service.version import find_commit, find_version
from tests.test_log import wait_until_responding
from tests.tracing.collector import collecting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("environ", "exporters"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "results", "OTEL_TRACES_SAMPLER": "always_on"}, []),
        ({ENDPOINT: "http://collector:4318"}, ["otlp"]),
        ({ENDPOINT: " "}, []),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp"]),
        ({"OTEL_TRACES_EXPORTER": "none", ENDPOINT: "http://collector:4318"}, []),
        ({"OTEL_TRACES_EXPORTER": "", ENDPOINT: "http://collector:4318"}, ["otlp"]),
        ({"OTEL_SDK_DISABLED": "True", ENDPOINT: "http://collector:4318"}, []),
        ({"OTEL_SDK_DISABLED": "1", ENDPOINT: "http://collector:4318"}, ["otlp"]),
    ],
)
def test_variables_select_the_exporters(environ: dict[str, str], exporters: list[str]) -> None:
    assert selected_exporters(environ) == exporters


def test_spans_are_exported_with_the_name_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        with exporting(os.environ, "zof-results-test") as is_on, spans.span("example"):
            assert is_on
        monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
        with exporting(os.environ, "zof-results-test"), spans.span("example"):
            pass
    assert collector.spans == ["zof-results-test: example", "mine: example"]
    assert [resource["service.version"] for resource in collector.resources] == [find_version()] * 2
    assert {resource.get("vcs.ref.head.revision") for resource in collector.resources} == {find_commit()}
    assert not spans.is_on()


def test_sampler_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        with exporting(os.environ, "zof-results-test"), spans.span("example") as span:
            assert not span.is_recording()
    assert collector.spans == []


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"OTEL_TRACES_EXPORTER": "unknown"}, "the exporter unknown isn't installed"),
        ({ENDPOINT: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "the exporter http/json isn't installed"),
        ({ENDPOINT: "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "the exporter otlp_proto_grpc isn't installed"),
    ],
)
def test_missing_exporter_turns_tracing_off_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], reason: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(TracingUnavailable, match=reason), exporting(os.environ, "test"):
        pass
    with capture_logs() as logs, tracing("test"):
        assert not spans.is_on()
    assert [line["event"] for line in logs] == ["tracing_unavailable"]
    assert logs[0]["error"] == f"{reason}; install the extra `tracing`, or set OTEL_SDK_DISABLED=true"


def test_missing_packages_turn_tracing_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster can set the variables for all containers, also for those without the extra."""
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setitem(sys.modules, "opentelemetry.instrumentation.asyncpg", None)
    with capture_logs() as logs, tracing("test"):
        assert not spans.is_on()
    assert [line["event"] for line in logs] == ["tracing_unavailable"]


def test_log_lines_have_the_ids_of_the_span() -> None:
    code = f"""
from opentelemetry.sdk.trace import TracerProvider
from service.log import log, set_up
from service.tracing import spans
set_up()
log.info("before")
spans.set_tracer(TracerProvider().get_tracer("test"))
with spans.span("example", {{"traceparent": "00-{TRACE_ID}-00f067aa0ba902b7-01"}}) as span:
    log.info("inside", expected=f"{{span.get_span_context().span_id:016x}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    before, inside = map(json.loads, done.stderr.splitlines())
    assert "trace_id" not in before
    assert inside["trace_id"] == TRACE_ID
    assert inside["span_id"] == inside["expected"]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_api_exports_spans_of_requests_and_flushes_them_when_it_stops(database_url: str, processes: int) -> None:
    port = choose_port()
    with collecting() as collector:
        environment = {
            **os.environ, "RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port),
            ENDPOINT: collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000",
        }  # fmt: skip
        command = [sys.executable, "-m", "service", "api", "--processes", str(processes)]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
            wait_until_responding(running, f"http://127.0.0.1:{port}/metrics")
            with urlopen(f"http://127.0.0.1:{port}/openapi.json") as response:
                assert response.status == 200
            assert collector.spans == []
            running.terminate()
            assert running.wait(30) == 0
    assert collector.spans == ["zof-results-api: GET /openapi.json"]


@pytest.mark.slow
def test_unavailable_collector_delays_no_request_and_a_stop_only_shortly(database_url: str) -> None:
    port, unused = choose_port(), choose_port()
    environment = {
        **os.environ, "RESULTS_DATABASE_URL": database_url, "RESULTS_HTTP_PORT": str(port),
        ENDPOINT: f"http://127.0.0.1:{unused}", "OTEL_BSP_SCHEDULE_DELAY": "100",
    }  # fmt: skip
    command = [sys.executable, "-m", "service", "api"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
        wait_until_responding(running, f"http://127.0.0.1:{port}/metrics")
        started = time.monotonic()
        for _ in range(20):
            with urlopen(f"http://127.0.0.1:{port}/openapi.json") as response:
                assert response.status == 200
        assert time.monotonic() - started < 10
        running.terminate()
        stopping = time.monotonic()
        assert running.wait(40) == 0
        assert time.monotonic() - stopping < 9
