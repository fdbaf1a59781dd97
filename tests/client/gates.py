"""The gate, called as the command line does, and runs for it."""

import asyncio
from collections.abc import Sequence
from typing import Any

from service.client.gate import GateOutput, GateRequest, gate
from service.client.selections import AbsentJobs, Selection
from tests.run_events import result
from tests.served import Api

FAILING = result("pays | cash", "failed", failure={"message": "expected 200 got 503\nat line 3"})
FLAKY = result("logs in", attempts=[{"status": "failed", "failure": {"message": "no"}}, {"status": "passed"}])


def url(api: Api) -> str:
    return str(api.http.make_url("/"))


def selected(run_id: str, pipeline: str = "", project: str | None = None) -> Selection:
    """Return one run, or the runs of a pipeline."""
    return Selection(pipeline=pipeline, project=project) if pipeline else Selection(run_id, project=project)


async def run_gate(server: str, key: str, selection: Selection, *arguments: Any, as_json: bool = False) -> int:
    request, timeout_s = arguments
    return await asyncio.to_thread(gate, server, key, selection, request, timeout_s, GateOutput(as_json))


async def decide(
    api: Api,
    run_id: str = "run_1",
    timeout_s: float = 10,
    *,
    pipeline: str = "",
    project: str | None = None,
    gate_name: str = "",
    allowed_parts: Sequence[str] = (),
    canceled: Sequence[str] = (),
    key: str | None = None,
    as_json: bool = False,
    **policy: Any,
) -> int:  # fmt: skip
    rules: dict[str, Any] = {"gate": gate_name} if gate_name else {"policy": policy} if policy else {}
    selection = selected(run_id, pipeline, project)
    request = GateRequest(rules, AbsentJobs(allowed_parts, canceled))
    return await run_gate(url(api), key or api.key, selection, request, timeout_s, as_json=as_json)


async def put_gate(api: Api, name: str, **policy: Any) -> None:
    response = await api.send("PUT", f"/v1/gates/{name}", json={"policy": policy})
    assert response.status in (200, 201), await response.text()
