"""The receiver in docs/guides/webhooks.md, run unchanged, accepts only deliveries that the service signed recently."""

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import orjson
import pytest

from service.dev.ports import choose_port
from service.webhooks.model import new_webhook_secret, signed_headers

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "webhooks.md").read_text()
CODE = re.search(r"<!-- file: receiver.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
ADDRESS = '("127.0.0.1", 9000)'
BODY = orjson.dumps({"type": "run.completed", "data": {"object": {"run_id": "run_7", "status": "failed"}}})
PRINTED = b"run.completed run_7 failed\n"


@dataclass
class RunningReceiver:
    """The process of the receiver. The tests only send requests and read its output."""

    url: str
    secret: str
    process: asyncio.subprocess.Process

    def signed(self, body: bytes = BODY, age_s: int = 0, event_id: str = "evt_1") -> dict[str, str]:
        return signed_headers(event_id, int(time.time()) - age_s, body, [self.secret])

    async def post(self, headers: dict[str, str], body: bytes = BODY) -> int:
        async with aiohttp.ClientSession() as session, session.post(self.url, data=body, headers=headers) as response:
            return response.status

    async def stop(self) -> tuple[bytes, bytes]:
        """Stop the process, and return what it printed on stdout and stderr."""
        self.process.terminate()
        return await self.process.communicate()


@asynccontextmanager
async def running_receiver() -> AsyncIterator[RunningReceiver]:
    assert CODE is not None
    assert ADDRESS in CODE[1]
    port, secret = choose_port(), new_webhook_secret()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-c", CODE[1].replace(ADDRESS, f'("127.0.0.1", {port})'),
        env={**os.environ, "WEBHOOK_SECRET": secret}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await wait_until_open(port)
        yield RunningReceiver(f"http://127.0.0.1:{port}/", secret, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def wait_until_open(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return await writer.wait_closed()


async def test_signed_event_is_processed_once() -> None:
    async with running_receiver() as receiver:
        headers = receiver.signed()
        assert [await receiver.post(headers), await receiver.post(headers)] == [204, 204]
        printed, _ = await receiver.stop()
    assert printed == PRINTED


async def test_event_signed_with_two_secrets_during_a_rotation_is_processed() -> None:
    async with running_receiver() as receiver:
        headers = signed_headers("evt_1", int(time.time()), BODY, [new_webhook_secret(), receiver.secret])
        assert await receiver.post(headers) == 204
        printed, _ = await receiver.stop()
    assert printed == PRINTED


@pytest.mark.parametrize("age_s", [3600, -3600])
async def test_replay_of_a_stale_event_is_rejected_and_not_processed(age_s: int) -> None:
    async with running_receiver() as receiver:
        assert await receiver.post(receiver.signed(age_s=age_s)) == 401
        printed, _ = await receiver.stop()
    assert printed == b""


async def test_tampered_request_is_rejected_and_not_processed() -> None:
    async with running_receiver() as receiver:
        signed = receiver.signed()
        assert await receiver.post(signed, BODY.replace(b"failed", b"passed")) == 401
        for name, value in (
            ("webhook-id", "evt_2"), ("webhook-timestamp", str(int(time.time()) + 1)),
            ("webhook-timestamp", "now"), ("webhook-signature", "v1,AAAA"), ("webhook-signature", "v1,\u00e9"),
        ):  # fmt: skip
            assert await receiver.post({**signed, name: value}) == 401, (name, value)
        printed, errors = await receiver.stop()
    assert printed == b""
    assert b"Traceback" not in errors


async def test_unsigned_request_is_rejected_without_a_crash() -> None:
    async with running_receiver() as receiver:
        assert await receiver.post({}) == 401
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            headers = receiver.signed()
            del headers[name]
            assert await receiver.post(headers) == 401, name
        assert await receiver.post({}, b"") == 401
        assert await receiver.post(receiver.signed()) == 204
        printed, errors = await receiver.stop()
    assert printed == PRINTED
    assert b"Traceback" not in errors
