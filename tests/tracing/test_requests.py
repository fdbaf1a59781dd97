"""Tests of the spans of HTTP requests, and of the contexts that they store for jobs and events."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import suppress_http_instrumentation
from opentelemetry.trace import SpanKind, StatusCode

from service.tracing import spans
from tests.served import Api, serve
from tests.tracing.recorded import Recorded

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture
async def api(recorded: Recorded, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as served:
        with suppress_http_instrumentation():  # of the client in this test
            yield served


async def test_span_has_the_route_and_no_query(api: Api, recorded: Recorded) -> None:
    await api.get("/v1/runs/run_1", {"wait": "0"}, status=404, traceparent=TRACEPARENT, X_Request_Id="req-1")
    span = recorded.one("GET /v1/runs/{run_id}")
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET", "http.route": "/v1/runs/{run_id}", "url.path": "/v1/runs/run_1",
        "url.scheme": "http", "http.response.status_code": 404, "results.request_id": "req-1",
    }  # fmt: skip
    assert span.status.status_code is StatusCode.UNSET
    assert "SELECT" in {each.name for each in recorded.of_trace(TRACEPARENT)}


async def test_unknown_paths_and_methods_share_one_name(api: Api, recorded: Recorded) -> None:
    await api.send("PROPFIND", "/v1/unknown/1")
    assert recorded.one("other none")


async def test_error_of_the_server_is_an_error(api: Api, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api.resources.key_cache, "get", lambda _: 1 / 0)
    await api.get("/v1/runs", status=500)
    assert recorded.one("GET /v1/runs").status.status_code is StatusCode.ERROR


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_have_no_spans(api: Api, recorded: Recorded, path: str) -> None:
    assert (await api.send("GET", path, key="", traceparent=TRACEPARENT)).status == 200
    assert recorded.of_trace(TRACEPARENT) == []


def test_error_of_a_span_has_no_secrets(recorded: Recorded) -> None:
    with pytest.raises(OSError, match="secret"), spans.span("example"):
        raise OSError("postgresql://user:secret@host failed")
    status = recorded.one("example").status
    assert (status.status_code, status.description) == (
        StatusCode.ERROR, "OSError: postgresql://user:[redacted]@host failed",
    )  # fmt: skip
    assert recorded.one("example").events == ()


async def test_stream_has_no_span(api: Api, recorded: Recorded) -> None:
    async with api.http.get("/v1/events/stream", headers={"Authorization": f"Bearer {api.key}"}) as response:
        assert response.status == 200
    assert recorded.named("GET /v1/events/stream") == []


async def test_baggage_of_a_client_is_not_stored(api: Api) -> None:
    """It would reach the webhooks of the organization."""
    await api.send(
        "POST",
        "/v1/results/export",
        json={"format": "csv"},
        traceparent=TRACEPARENT,
        baggage="token=1",
        tracestate="a=b",
    )
    stored: Any = await api.store.pool.fetchval("SELECT trace_context FROM exports")
    assert stored.keys() == {"traceparent", "tracestate"}
    assert stored["traceparent"].split("-")[1] == TRACE


async def test_event_of_a_request_continues_its_trace(api: Api) -> None:
    quarantine = {"project_id": "shop", "name": "pays", "reason": "flaky"}
    response = await api.send("POST", "/v1/quarantines", json=quarantine, traceparent=TRACEPARENT)
    assert response.status == 201, await response.text()
    stored: Any = await api.store.pool.fetchval("SELECT trace_context FROM events")
    assert stored["traceparent"].split("-")[1] == TRACE
