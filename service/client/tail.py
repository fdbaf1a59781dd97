"""Follows the live stream and prints each event, coming back by itself whenever the stream ends."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

import aiohttp
import click
import orjson

from service.client.http import Server, ServerError, open_server
from service.domain.backoff import Backoff

_LONGEST_WAIT_S: Final = 10.0
_LINE_LIMIT: Final = 2**20
_SILENCE_S: Final = 45  # three heartbeats


class Sent(NamedTuple):
    """A server-sent event: its place in the stream and what it says."""

    place: str
    data: str


async def tail(url: str, key: str, filters: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Prints events until interrupted. Raises ServerError where the server refuses."""
    place: str | None = None
    pauses = Backoff(0.2, _LONGEST_WAIT_S)
    async with open_server(url, key, patience_s=3600) as server:
        while True:
            try:
                async for sent in _follow(server, filters, place):
                    place = sent.place or place
                    click.echo(sent.data if as_json else _line(orjson.loads(sent.data)))
                    pauses = Backoff(0.2, _LONGEST_WAIT_S)
            except ServerError as error:
                if error.status is not None:
                    raise
            await asyncio.sleep(next(pauses))


async def _follow(server: Server, filters: Sequence[tuple[str, str]], place: str | None) -> AsyncIterator[Sent]:
    """The events of one connection."""
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": place} if place else {})
    timeout = aiohttp.ClientTimeout(total=None, sock_read=_SILENCE_S)
    async with server.open("GET", "/events/stream", params=filters, headers=headers, timeout=timeout) as response:
        number, data = "", list[str]()
        while line := await response.content.readuntil(b"\n", max_size=_LINE_LIMIT):
            name, _, value = line.decode().rstrip("\r\n").partition(":")
            if name == "id":
                number = value.strip()
            elif name == "data":
                data.append(value.removeprefix(" "))
            elif not name and not value and data:
                yield Sent(number, "\n".join(data))
                data.clear()


def _line(event: dict[str, Any]) -> str:
    """One event on one line, for people."""
    about = event["data"]["object"]
    counts = about.get("counts", {})
    said = [f"{counts[name]} {name}" for name in counts if counts[name]]
    subject = about.get("run_id") or about.get("id") or about.get("webhook_id") or ""
    words = [event["created"], f"{event['type']:<16}", str(subject), about.get("status") or "", ", ".join(said)]
    return "  ".join(word for word in words if word)
