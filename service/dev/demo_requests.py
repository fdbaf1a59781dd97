"""Requests that complete the demo history: gates, decisions, a quarantine, a ticket, files, and an export."""

import struct
import zlib
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

from service.client.http import ClientError, JsonObject, Server
from service.client.servers import open_server
from service.dev.history import PROJECT, run_id_of
from service.dev.incidents import FIRST_PULL_REQUEST_RUN, MAIN_RUNS, PULL_REQUEST_RUN, QUARANTINED_CASE

_BAR_PX: Final = 14
_GAP_PX: Final = 4
_HEIGHT_PX: Final = 96
_BACKGROUND, _BAR, _LAST_BAR = 0, 1, 2
_PALETTE: Final = bytes((0xF6, 0xF7, 0xF9, 0x5B, 0x7F, 0xA6, 0xC2, 0x41, 0x3B))  # red, green, and blue of each color
_DEPTH_BITS, _INDEXED = 8, 3


def draw_png(values: Sequence[float]) -> bytes:
    """Return a PNG file with one bar for each value. The color of the last bar differs."""
    highest = max(values, default=0) or 1
    heights = [round(value / highest * (_HEIGHT_PX - 2 * _GAP_PX)) for value in values]
    rows = [_row(heights, _HEIGHT_PX - _GAP_PX - top) for top in range(_HEIGHT_PX)]
    header = struct.pack(">IIBBBBB", len(rows[0]), _HEIGHT_PX, _DEPTH_BITS, _INDEXED, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"PLTE", _PALETTE), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _row(heights: Sequence[int], height: int) -> bytes:
    """Return the colors of the pixels at a height above the base line."""
    gap = bytes([_BACKGROUND]) * _GAP_PX
    colors = [_LAST_BAR if bar == len(heights) - 1 else _BAR for bar in range(len(heights))]
    bars = [
        bytes([color if 0 < height <= top else _BACKGROUND]) * _BAR_PX
        for color, top in zip(colors, heights, strict=True)
    ]
    return gap + gap.join([*bars, b""])


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


_RETRY_S: Final = 5.0
_RELEASE, _HEALTH = "release", "main-health"
_GATES: Final = {_RELEASE: {"max_new_failures": 0}, _HEALTH: {"min_pass_rate": 0.95, "max_flaky": 5}}
_DECIDED: Final = (
    *((_RELEASE, number) for number in range(MAIN_RUNS - 13, MAIN_RUNS + 1)), (_RELEASE, PULL_REQUEST_RUN),
    (_HEALTH, MAIN_RUNS - 1), (_HEALTH, MAIN_RUNS),
)  # fmt: skip
_WAIVED: Final = (_RELEASE, MAIN_RUNS)
_TICKETS: Final = "https://tickets.example.com/DEMO-"
_LOGGED: Final = "tests.dev."  # the suites of components
_CHARTED_RUNS: Final = "20"
_LOG: Final = """\
\x1b[2m12:49:43.101\x1b[0m \x1b[32minfo\x1b[0m  component prepared        name=server
\x1b[2m12:49:43.164\x1b[0m \x1b[32minfo\x1b[0m  component launched        name=server pid=4711
\x1b[2m12:49:43.190\x1b[0m \x1b[31merror\x1b[0m component exited          name=server status=1
\x1b[2m12:49:43.502\x1b[0m \x1b[33mwarn\x1b[0m  component launched again  name=server pid=4719 delay_s=0.3
\x1b[2m12:49:44.093\x1b[0m \x1b[31merror\x1b[0m component didn't start    name=server timeout_s=1.0
"""


def send(api_url: str, key: str) -> str | None:
    """Send all requests, and return the message of the first error."""
    try:
        with open_server(api_url, key, _RETRY_S) as server:
            _create_quarantine(server)
            _decide(server)
            _attach_files(server)
            _set_ticket(server)
            server.post("/results/export", {"format": "csv", "filter": {"run_id": run_id_of(MAIN_RUNS)}})
    except ClientError as error:
        return str(error)
    return None


def _create_quarantine(server: Server) -> None:
    document = {
        "project_id": PROJECT,
        "suite": "*tests.dev.test_processes",
        "name": QUARANTINED_CASE,
        "reason": "Demo: the orphaned process needs more time to exit on loaded machines",
        "owner": "runtime-team",
        "ticket_url": f"{_TICKETS}17",
    }
    server.post("/quarantines", document)


def _decide(server: Server) -> None:
    """Create the gates, store decisions of both, and waive one that is blocked."""
    for name, policy in _GATES.items():
        _put(server, f"/gates/{name}", json={"policy": policy})
    decisions = {
        (name, number): server.post(f"/runs/{run_id_of(number)}/decisions", {"gate": name}) for name, number in _DECIDED
    }
    recorded = {"policy": {"max_new_failures": 0}, "record": True}  # as the command gate records it
    server.post(f"/runs/{run_id_of(FIRST_PULL_REQUEST_RUN)}/decisions", recorded)
    waived = decisions[_WAIVED]
    server.post(f"/decisions/{waived['id']}/waiver", {"reason": "Demo: the failure concerns only the error message"})


def _attach_files(server: Server) -> None:
    """Attach a log and a chart to failing results of components in the newest run and in the pull request."""
    for number in (MAIN_RUNS, PULL_REQUEST_RUN):
        failing = server.get("/results", {"run_id": run_id_of(number), "status": "failed", "q": _LOGGED})["data"]
        for result in failing:
            _attach(server, result, "component.log", "text/plain", _LOG.encode())
            _attach(server, result, "durations.png", "image/png", draw_png(_durations(server, result)))


def _durations(server: Server, result: JsonObject) -> list[float]:
    """Return the durations of the case of a result in its newest runs, oldest first."""
    history = server.get(f"/cases/{result['case']}/history", {"limit": _CHARTED_RUNS})["data"]
    return [float(past["duration_ms"] or 0) for past in reversed(history)]


def _attach(server: Server, result: JsonObject, name: str, content_type: str, content: bytes) -> None:
    path = f"/results/{result['id']}/artifacts/{quote(name)}"
    params = {"kind": "log" if content_type == "text/plain" else "other"}
    _put(server, path, params=params, content=content, headers={"Content-Type": content_type})


def _set_ticket(server: Server) -> None:
    """Set the ticket of the largest failure group."""
    group = server.get("/failures", {"project_id": PROJECT, "limit": "1"})["data"][0]
    with server.open("PATCH", f"/failures/{group['id']}", json={"ticket_url": f"{_TICKETS}9"}):
        pass


def _put(server: Server, path: str, **request: object) -> None:
    with server.open("PUT", path, **request):
        pass
