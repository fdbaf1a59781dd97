"""The gate, called as the command line does, and runs for it."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from service.client.gate import GateRequest, gate
from tests.api.served import Api
from tests.run_events import result

FAILING = result("pays | cash", "failed", failure={"message": "expected 200 got 503\nat line 3"})
FLAKY = result("logs in", attempts=[{"status": "failed", "failure": {"message": "no"}}, {"status": "passed"}])


def url(api: Api) -> str:
    return str(api.http.make_url("/"))


async def run_gate(*arguments: Any, completes: bool = False) -> int:
    return await asyncio.to_thread(partial(gate, *arguments, completes=completes))


async def decide(
    api: Api,
    run_id: str = "run_1",
    timeout_s: float = 10,
    *,
    completes: bool = False,
    gate_name: str = "",
    allowed_parts: Sequence[str] = (),
    **policy: Any,
) -> int:  # fmt: skip
    rules: dict[str, Any] = {"gate": gate_name} if gate_name else {"policy": policy} if policy else {}
    return await run_gate(url(api), api.key, run_id, GateRequest(rules, allowed_parts), timeout_s, completes=completes)


async def put_gate(api: Api, name: str, **policy: Any) -> None:
    response = await api.send("PUT", f"/v1/gates/{name}", json={"policy": policy})
    assert response.status in (200, 201), await response.text()
