"""Splits over HTTP: one plan for all jobs of a pipeline."""

import asyncio
from typing import Any

from tests.served import Api

PATH = "/v1/splits/unit"
ITEMS = ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]


def split(**fields: Any) -> dict[str, Any]:
    return {"project_id": "shop", "pipeline": "github-1", "total": 2, "items": ITEMS, **fields}


async def put(api: Api, path: str = PATH, key: str | None = None, **fields: Any) -> tuple[int, Any]:
    response = await api.send("PUT", path, json=split(**fields), key=key)
    return response.status, await response.json()


async def test_first_request_plans_and_each_later_one_gets_its_plan(api: Api) -> None:
    status, planned = await put(api)
    assert (status, planned["parts"]) == (
        201,
        [
            {"index": 1, "items": ["tests/test_a.py", "tests/test_c.py"], "predicted_ms": None},
            {"index": 2, "items": ["tests/test_b.py"], "predicted_ms": None},
        ],
    )
    assert (planned["unknown_items"], planned["gain_ms"]) == (3, None)
    assert await put(api, items=ITEMS[::-1]) == (200, planned)
    assert await api.get(PATH, {"project_id": "shop"}) == planned


async def test_parallel_first_requests_get_one_plan(api: Api) -> None:
    responses = await asyncio.gather(*(put(api, items=ITEMS[::-1] if n % 2 else ITEMS) for n in range(20)))
    assert sorted(status for status, _ in responses) == [200] * 19 + [201]
    assert all(planned == responses[0][1] for _, planned in responses)
