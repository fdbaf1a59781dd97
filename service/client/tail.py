"""The live stream of events, which reconnects without a gap whenever the connection ends."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import httpx

from service.client.http import IncompleteResponse, Server, ServerError
from service.client.servers import ServerKey, open_server
from service.client.terminal import printable_line
from service.command_line import print_line
from service.domain.backoff import Backoff

_RETRY_S: Final = 3600
_MAX_DELAY_S: Final = 10.0
_MAX_LINE_BYTES: Final = 2**20
_TIMEOUT: Final = httpx.Timeout(60, connect=10, read=45)  # the server sends a comment every 15 s


class StreamedEvent(NamedTuple):
    """A server-sent event: its position in the stream and its data."""

    position: str
    data: str


def tail(url: str, key: ServerKey, filters: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print events until interrupted. Raises ServerError if the server rejects the request."""
    position: str | None = None
    delays = Backoff(0.2, _MAX_DELAY_S)
    with open_server(url, key, retry_s=_RETRY_S) as server:
        while True:
            try:
                for event in _read_events(server, filters, position):
                    position = event.position or position
                    print_line(event.data if as_json else _format_line(json.loads(event.data)))
                    delays.reset()
            except ServerError as error:
                if error.status is not None:
                    raise
            time.sleep(next(delays))


def _read_events(server: Server, filters: Sequence[tuple[str, str]], position: str | None) -> Iterator[StreamedEvent]:
    """Yield the events of one connection, which starts after `position`."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": position} if position else {})
    with server.open("GET", "/events/stream", params=filters, headers=headers, timeout=_TIMEOUT) as response:
        yield from parse_events(response.iter_bytes())


def parse_events(chunks: Iterable[bytes]) -> Iterator[StreamedEvent]:
    """Yield the events of a text/event-stream body (HTML Living Standard, 9.2)."""
    position = ""
    data: list[str] = []
    for line in _split_lines(chunks):
        name, _, value = line.partition(":")
        if name == "id":
            position = value.strip()
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif not name and not value and data:
            yield StreamedEvent(position, "\n".join(data))
            data.clear()


def _split_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Split at newlines only: JSON can contain other line separators, such as U+2028."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _MAX_LINE_BYTES:
            raise IncompleteResponse(f"the stream contains a line of more than {_MAX_LINE_BYTES} bytes")
        for line in lines:
            yield line.decode().rstrip("\r")


def _format_line(event: dict[str, Any]) -> str:
    """Return one event as one line."""
    subject = event["data"]["object"]
    counts = subject.get("counts", {})
    summary = ", ".join(f"{counts[name]} {name}" for name in counts if counts[name])
    subject_id = subject.get("run_id") or subject.get("id") or subject.get("webhook_id") or ""
    if event["type"].startswith("case."):
        summary = " > ".join(filter(None, (subject["suite"], subject["name"])))
    elif event["type"].startswith("failure_group."):
        summary = subject["message"] or subject["type"] or ""
    columns = [
        event["created"],
        f"{event['type']:<16}",
        printable_line(str(subject_id)),
        subject.get("status") or "",
        printable_line(summary),
    ]
    return "  ".join(column for column in columns if column)
