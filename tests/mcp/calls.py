"""Calls of the tools of the MCP server, without the protocol, against a served API."""

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson

from service.client.servers import open_server
from service.mcp.documents import MAX_CHARACTERS
from service.mcp.tools import TOOLS
from tests.served import Api


async def call(api: Api, name: str, key: str | None = None, /, **arguments: Any) -> Any:
    """Return the document of a tool, after a check of its size."""

    def read() -> str:
        with open_server(str(api.http.make_url("/")), key or api.key, retry_s=0) as server:
            return TOOLS[name].call(server, arguments)

    text = await asyncio.to_thread(read)
    assert len(text) <= MAX_CHARACTERS, name
    return orjson.loads(text)


async def all_rows(api: Api, name: str, rows: str, **arguments: Any) -> list[Any]:
    """Return the rows of all calls that `continue_with` describes."""
    found: list[Any] = []
    further: Any = {}
    while further is not None:
        document = await call(api, name, **arguments, **further)
        found += document[rows]
        further = document["continue_with"]
    return found


def trusted_texts(document: Any) -> Iterator[str]:
    """Yield the names and texts of a document that aren't in a field `untrusted`."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield name
            if name != "untrusted":
                yield from trusted_texts(value)
    elif isinstance(document, list):
        for value in document:
            yield from trusted_texts(value)
    elif isinstance(document, str):
        yield document
