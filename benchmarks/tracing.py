"""Benchmark of the calls for tracing while it's off, relative to the parsing of the same events.

    python -m benchmarks.tracing

Budget: 0.01. A consumer calls them once per batch and per event, and the API once per request, never once per result.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Final

from benchmarks.ingest import event
from service.ingest.parse_events import AcceptanceWindow, parse_event
from service.tracing import spans

BATCH: Final = 20
ROUNDS: Final = 200
BUDGET: Final = 0.01
STATEMENTS: Final = 2  # of COPY in a batch


def seconds(call: Callable[[], object]) -> float:
    """Return the median duration of a call."""
    durations = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        durations.append(time.perf_counter() - started)
    return median(durations)


def trace_batch(bodies: list[bytes]) -> None:
    """Make the calls of one batch: those of the handler, of each event, of the store, and of a delivery per event."""
    with spans.processing("results.runs", [] if spans.is_on() else ()) as traced:
        for _ in range(STATEMENTS):
            with spans.copy_span("results"):
                pass
        spans.current_context()
        spans.set_outcomes(traced, ["stored"] * len(bodies))
    for body in bodies:
        with spans.span("attempt delivery", None, attributes={"results.delivery.id": str(len(body))}):
            pass


def main() -> None:
    bodies = [event(number) for number in range(BATCH)]
    window = AcceptanceWindow(datetime.now(UTC), timedelta(days=3653))
    parsing_s = seconds(lambda: [parse_event(body, window) for body in bodies])
    tracing_s = seconds(lambda: trace_batch(bodies))
    request_s = seconds(lambda: spans.server_span("GET", "/v1/results", {}, {}) if spans.is_on() else None)
    print(f"parsing of {BATCH} events with 200 cases: {parsing_s * 1e3:.2f} ms")
    print(f"calls for tracing of this batch, off: {tracing_s * 1e6:.1f} us, of a request: {request_s * 1e9:.0f} ns")
    ratio = tracing_s / parsing_s
    print(f"ratio: {ratio:.5f} (budget: at most {BUDGET})")
    if ratio > BUDGET:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
