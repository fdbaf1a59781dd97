"""Splits over HTTP: one plan for all jobs of a pipeline."""

import asyncio
from typing import Any

import pytest

from service.splits.model import MAX_PARTS, MAX_SPLITS
from tests.served import Api

PATH = "/v1/splits/unit"
ITEMS = ["tests/test_a.py", "tests/test_b.py", "tests/test_c.py"]


async def put(api: Api, path: str = PATH, key: str | None = None, header: str = "", **fields: Any) -> tuple[int, Any]:
    body = {"project_id": "shop", "pipeline": "github-1", "total": 2, "items": ITEMS, **fields}
    headers: dict[str, Any] = {"Idempotency_Key": header} if header else {}
    response = await api.send("PUT", path, json=body, key=key, **headers)
    return response.status, await response.json()


async def error(api: Api, path: str = PATH, key: str | None = None, **fields: Any) -> tuple[int, str]:
    status, body = await put(api, path, key, **fields)
    return status, body["error"]["message"]


async def test_first_request_plans_and_each_later_one_gets_its_plan(api: Api) -> None:
    status, planned = await put(api)
    assert status == 201
    assert planned == {
        "key": "unit", "project_id": "shop", "pipeline": "github-1", "run_id": None, "unit": "file", "total": 2,
        "variant": {}, "path_prefix": "", "unknown_items": 3, "gain_ms": None, "created_at": planned["created_at"],
        "parts": [
            {"index": 1, "items": ["tests/test_a.py", "tests/test_c.py"], "predicted_ms": None},
            {"index": 2, "items": ["tests/test_b.py"], "predicted_ms": None},
        ],
    }  # fmt: skip
    assert await put(api, items=ITEMS[::-1], path_prefix="web") == (200, planned)
    assert await api.get(PATH, {"project_id": "shop"}) == planned
    actions = await api.store.pool.fetch("SELECT action, subject FROM audit_trail WHERE action LIKE 'PUT%'")
    assert [tuple(row) for row in actions] == [(f"PUT {PATH}", f"{PATH}?project_id=shop")]


async def test_parallel_first_requests_get_one_plan(api: Api) -> None:
    responses = await asyncio.gather(*(put(api, items=ITEMS[::-1] if n % 2 else ITEMS) for n in range(20)))
    assert sorted(status for status, _ in responses) == [200] * 19 + [201]
    assert all(planned == responses[0][1] for _, planned in responses)
    assert await api.store.pool.fetchval("SELECT count(*) FROM splits") == 1


@pytest.mark.parametrize(
    ("fields", "difference"),
    [
        ({"total": 3}, "total: the plan of this key has 2, and the request 3"),
        ({"unit": "case"}, "unit: the plan of this key has 'file', and the request 'case'"),
        ({"variant": {"os": "linux"}}, "variant: the plan of this key has {}, and the request {'os': 'linux'}"),
        ({"items": ITEMS[:2]}, "items: the request lacks 'tests/test_c.py'"),
        ({"items": [*ITEMS, "new.py"]}, "items: the plan lacks 'new.py'"),
        (
            {"items": [*ITEMS[:2], "new.py"]},
            "items: the request lacks 'tests/test_c.py'; the plan lacks 'new.py'",
        ),
        ({"items": [f"{n}.py" for n in range(9)]}, "the plan lacks '0.py', '1.py', '2.py', '3.py', '4.py' and 4 more"),
    ],
)
async def test_another_request_learns_the_difference(api: Api, fields: Any, difference: str) -> None:
    _, planned = await put(api)
    status, message = await error(api, **fields)
    assert status == 409
    assert difference in message, message
    assert "use another key" in message
    assert await put(api) == (200, planned)


async def test_pipelines_and_runs_have_keys_of_their_own(api: Api) -> None:
    params = {"project_id": "shop"}
    _, first = await put(api)
    assert (await put(api, pipeline="github-2", total=3))[0] == 201
    assert (await put(api, pipeline=None, run_id="nightly", total=4))[0] == 201
    assert (await put(api, pipeline=None, total=5))[0] == 201
    assert (await put(api, "/v1/splits/e2e", total=6))[0] == 201
    assert (await put(api, project_id="blog", total=7))[0] == 201
    assert await api.get(PATH, {**params, "pipeline": "github-1"}) == first
    assert (await api.get(PATH, {**params, "run_id": "nightly"}))["total"] == 4
    assert (await api.get(PATH, params))["total"] == 5  # the newest one
    assert (await api.get(PATH, {"project_id": "blog"}))["total"] == 7
    await api.error(PATH, 404, {**params, "pipeline": "github-1", "run_id": "nightly"})
    await api.error("/v1/splits/other", 404, params)
    await api.error(PATH, 400)


async def test_organizations_and_projects_are_isolated(api: Api) -> None:
    _, planned = await put(api)
    _, other = await api.make_organization("other")
    await api.error(PATH, 404, {"project_id": "shop"}, other)
    assert (await put(api, key=other, total=9))[0] == 201
    assert await put(api) == (200, planned)
    of_blog = (await api.make_key("uploader", project_id="blog")).key
    assert (await put(api, key=of_blog))[0] == 403
    assert "bound to the project 'blog'" in (await error(api, key=of_blog))[1]
    await api.error(PATH, 404, {"project_id": "shop"}, of_blog)
    assert (await put(api, key=of_blog, project_id="blog", total=9))[0] == 201
    of_shop = (await api.make_key("uploader", project_id="shop")).key
    assert await put(api, key=of_shop) == (200, planned)


async def test_only_roles_that_upload_reports_plan(api: Api) -> None:
    for role, put_status, get_status in (
        ("viewer", 403, 200), ("uploader", 200, 200), ("engineer", 200, 200), ("admin", 200, 200), ("public", 403, 403),
    ):  # fmt: skip
        await put(api)
        key = (await api.make_key(role, project_id="shop")).key  # type: ignore[arg-type]
        assert (await put(api, key=key))[0] == put_status, role
        await api.get(PATH, {"project_id": "shop"}, key, get_status)


async def test_pipeline_or_run_has_a_limited_number_of_splits(api: Api) -> None:
    for place in ({"pipeline": "github-1"}, {"pipeline": None, "run_id": "nightly"}):
        for number in range(MAX_SPLITS):
            assert (await put(api, f"/v1/splits/{number}", **place))[0] == 201
        status, message = await error(api, **place)
        assert (status, f"has {MAX_SPLITS} splits" in message) == (409, True), message
        assert (await put(api, "/v1/splits/0", **place))[0] == 200
    assert (await put(api, pipeline="github-2"))[0] == 201
    assert (await put(api, project_id="blog"))[0] == 201
    for number in range(MAX_SPLITS + 1):  # each key without a pipeline and a run is one of its own
        assert (await put(api, f"/v1/splits/{number}", pipeline=None))[0] == 201


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"items": []}, "items"),
        ({"items": ["a", "b", "a"]}, "items"),
        ({"items": ["a" * 1_001]}, "items.0"),
        ({"items": ["a\0"]}, "items.0"),
        ({"items": ["x", ""]}, "items.1"),
        ({"items": [str(n) for n in range(50_001)]}, "items"),
        ({"total": 0}, "total"),
        ({"total": MAX_PARTS + 1}, "total"),
        ({"total": "2"}, "total"),
        ({"total": True}, "total"),
        ({"unit": "suite"}, "unit"),
        ({"project_id": ""}, "project_id"),
        ({"path_prefix": "../x"}, "path_prefix"),
        ({"shard": 1}, "shard"),
    ],
)
async def test_invalid_request_names_the_field(shared_api: Api, fields: Any, param: str) -> None:
    status, body = await put(shared_api, **fields)
    assert (status, body["error"]["param"].split(".")[0]) == (400, param.split(".")[0]), body


async def test_key_has_up_to_200_printable_characters(api: Api) -> None:
    for key in ("x" * 201, "a%09b", "%00"):
        status, body = await put(api, f"/v1/splits/{key}")
        assert (status, body["error"]["param"]) == (400, "key")
        assert (await api.error(f"/v1/splits/{key}", 400, {"project_id": "shop"}))["param"] == "key"
    for key, decoded in (("x" * 200, "x" * 200), ("unit%20%2F%20é", "unit / é")):
        status, planned = await put(api, f"/v1/splits/{key}")
        assert (status, planned["key"]) == (201, decoded)
        assert await api.get(f"/v1/splits/{key}", {"project_id": "shop"}) == planned


async def test_repeated_request_with_an_idempotency_key_gets_the_stored_response(api: Api) -> None:
    created = await put(api, header="k1")
    assert created[0] == 201
    assert await put(api, header="k1") == created
    status, body = await put(api, header="k1", total=3)
    assert (status, body["error"]["code"]) == (422, "idempotency_mismatch")
    conflict = await put(api, header="k2", total=3)
    assert conflict[0] == 409
    await api.store.pool.execute("DELETE FROM splits")
    repeated = await put(api, header="k2", total=3)
    assert (repeated[0], repeated[1]["error"]["message"]) == (409, conflict[1]["error"]["message"])
