"""Walks through the lists of two versions, and the comparison of what they find."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import aiohttp
import orjson
from yarl import URL

from benchmarks.differential.requests import Known, Request, Requests
from benchmarks.query_load import Server

_CONCURRENCY: Final = 8
_HEADERS: Final = ("Content-Type", "Cache-Control", "ETag", "Vary")
_POSITION: Final = ("data", "next_cursor", "has_more")
_SHOWN_CHARACTERS: Final = 2_000


class Reply(NamedTuple):
    """What a response must have in common with that of the other version."""

    status: int
    headers: dict[str, str | None]
    body: Any


class Walk(NamedTuple):
    """The pages of one version, or of both alternately. The items are JSON texts, with the order of their fields."""

    first: Reply  # without the items
    items: list[bytes]
    pages: int
    is_complete: bool
    has_more_is_wrong: bool


class Difference(NamedTuple):
    """A request for which the versions differ."""

    kind: str
    request: str
    found: str

    def describe(self) -> str:
        return f"--- {self.kind}: {self.request}\n{self.found}"


class Walked(NamedTuple):
    """The differences of all walks, and the numbers of requests and items."""

    walks: Counter[str]
    pages: int
    items: int
    differences: list[Difference]

    def describe(self) -> str:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in self.walks.most_common())
        return f"{self.walks.total():,} walks ({kinds}) with {self.pages:,} responses and {self.items:,} items"


async def compare_walks(sides: Sequence[Server], keys: Sequence[str], known: Known, walks: int, seed: int) -> Walked:
    """Compare the versions on random walks, a few of them at the same time."""
    rng = random.Random(seed)
    requests = Requests(rng, known)
    planned = [(requests.next(), rng.choice(keys)) for _ in range(walks)]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(60)) as session:
        comparison = Comparison(session, [f"http://127.0.0.1:{side.port}" for side in sides])
        for side in sides:
            _, writer = await side.connect()
            writer.close()
        remaining = iter(planned)

        async def compare_remaining() -> None:
            for request, key in remaining:
                await comparison.compare(request, key)

        await asyncio.gather(*(compare_remaining() for _ in range(_CONCURRENCY)))
    kinds = Counter(request.kind for request, _ in planned)
    return Walked(kinds, comparison.pages, comparison.items, comparison.differences)


class Comparison:
    """Two versions, and what differs."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session, self._urls = session, urls
        self.differences: list[Difference] = []
        self.pages = self.items = 0

    async def compare(self, request: Request, key: str) -> None:
        """Compare one request, or the complete walks through a list."""
        old_url, new_url = self._urls
        if not request.pages:
            self._check(request, "", *[await self._reply(url, request, key) for url in self._urls])
            return
        old_walk = await self._walk([old_url], request, key)
        new_walk = await self._walk([new_url], request, key)
        self.items += len(old_walk.items)
        self._check(request, "", old_walk.first, new_walk.first)
        self._check_items(request, "items", old_walk, new_walk)
        if max(old_walk.pages, new_walk.pages) > 1:
            mixed = await self._walk([old_url, new_url], request, key)
            self._check_items(request, "items if the versions alternate", old_walk, mixed)
        if new_walk.has_more_is_wrong:
            self._add(request, "has_more doesn't match next_cursor")

    def _check(self, request: Request, name: str, old: Any, new: Any) -> None:
        if old != new:
            self._add(request, f"{name}\nold: {_shortened(old)}\nnew: {_shortened(new)}".strip())

    def _check_items(self, request: Request, name: str, old: Walk, new: Walk) -> None:
        """Compare the items of complete walks, or the common beginning."""
        count = min(len(old.items), len(new.items))
        for at, (one, other) in enumerate(zip(old.items, new.items, strict=False)):
            if one != other:
                self._check(request, f"{name}: item {at} differs", one.decode(), other.decode())
                return
        if (old.is_complete and len(new.items) > count) or (new.is_complete and len(old.items) > count):
            self._add(request, f"{name}: {len(old.items)} old and {len(new.items)} new ones")

    def _add(self, request: Request, found: str) -> None:
        url = URL(request.path).with_query(request.params)
        self.differences.append(Difference(request.kind, str(url), found))

    async def _walk(self, urls: Sequence[str], request: Request, key: str) -> Walk:
        """Read the pages of a list, from each version in turn."""
        items: list[bytes] = []
        first: Reply | None = None
        cursor, is_wrong = None, False
        for number in range(request.pages):
            reply = await self._reply(urls[number % len(urls)], request, key, cursor)
            if reply.status != 200:
                items += [] if first is None else [f"page {number}: {reply}".encode()]
                return Walk(first or reply, items, number, is_complete=True, has_more_is_wrong=False)
            items += map(orjson.dumps, reply.body["data"])
            cursor = reply.body["next_cursor"]
            is_wrong |= reply.body["has_more"] != (cursor is not None)
            if first is None:
                rest = {name: value for name, value in reply.body.items() if name not in _POSITION}
                first = Reply(reply.status, reply.headers, rest)
            if cursor is None:
                break
        assert first is not None
        return Walk(first, items, number + 1, is_complete=cursor is None, has_more_is_wrong=is_wrong)

    async def _reply(self, url: str, request: Request, key: str, cursor: str | None = None) -> Reply:
        params = request.params if cursor is None else [*request.params, ("starting_after", cursor)]
        headers = {"Authorization": f"Bearer {key}"}
        async with self._session.get(
            URL(url + request.path).with_query(params), headers=headers, allow_redirects=False
        ) as response:
            body: Any = await response.read()
            self.pages += 1
            compared = {name: response.headers.get(name) for name in _HEADERS}
            if response.content_type == "application/json":
                body = orjson.loads(body)
                body.pop("request_id", None)
        return Reply(response.status, compared, body)


def _shortened(found: Any) -> str:
    text = str(found)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
