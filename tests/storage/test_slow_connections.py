"""Transfers from and to an S3 server over a slow connection, which take long but make progress."""

import asyncio
from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Final

import pytest

from service.domain.errors import Unavailable
from service.storage import Storage, files
from tests.buckets import new_bucket
from tests.proxies import UnreliableProxy
from tests.storing import write

BYTES_PER_S: Final = 20_000
CONTENT: Final = bytes(777_000)


async def read(storage: Storage, path: str) -> bytes:
    return b"".join([chunk async for chunk in await storage.read(path)])


async def drained(chunks: Any) -> None:
    async for _ in chunks:
        pass


@pytest.mark.slow
async def test_slow_transfers_end(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """777 kB take 39 s, longer than the limit of a request without a body."""
    url = new_bucket(s3_url)
    await write(Storage(url), "inbox/1/a", CONTENT)
    async with UnreliableProxy(s3_url) as proxy:
        proxy.bytes_per_s = BYTES_PER_S
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        storage = Storage(url)
        received, _ = await asyncio.gather(read(storage, "inbox/1/a"), write(storage, "inbox/1/b", CONTENT))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
    assert received == await read(Storage(url), "inbox/1/b") == CONTENT


@pytest.mark.parametrize(("limit", "is_written"), [(None, False), ("1m", True)])
async def test_variable_replaces_the_limit_of_a_write(
    s3_url: str, monkeypatch: pytest.MonkeyPatch, limit: str | None, is_written: bool
) -> None:
    monkeypatch.setattr(files, "_WRITING", {"timeout": timedelta(seconds=1)})
    monkeypatch.setattr(files, "_RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    if limit:
        monkeypatch.setenv("AWS_TIMEOUT", limit)
    url = new_bucket(s3_url)
    async with UnreliableProxy(s3_url) as proxy:
        proxy.bytes_per_s = BYTES_PER_S
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        with nullcontext() if is_written else pytest.raises(Unavailable):
            await write(Storage(url), "inbox/1/a", CONTENT[:60_000])


async def test_read_ends_if_no_byte_arrives(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_READING", {"read_timeout": timedelta(seconds=1), "timeout": timedelta(days=1)})
    monkeypatch.setattr(files, "_RETRIES", {"max_retries": 0, "retry_timeout": timedelta(seconds=1)})
    url = new_bucket(s3_url)
    await write(Storage(url), "inbox/1/a", CONTENT * 20)
    async with UnreliableProxy(s3_url) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        chunks: Any = await Storage(url).read("inbox/1/a")
        await anext(chunks)
        proxy.stall_connections()
        proxy.rejects_connections = True
        with pytest.raises(Unavailable):
            await asyncio.wait_for(drained(chunks), 20)
