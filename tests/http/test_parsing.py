"""Messages of invalid requests name the parameter or field and the expected value."""

import re
from typing import Any

import pytest

from service.api.routes import V1
from tests.served import Api


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "x"}, "limit: must be an integer"),
        ({"limit": "1_0"}, "limit: must be an integer"),
        ({"limit": "+5"}, "limit: must be an integer"),
        ({"limit": " 1"}, "limit: must be an integer"),
        ({"limit": "1.0"}, "limit: must be an integer"),
        ({"limit": "٣"}, "limit: must be an integer"),
        ({"limit": "9" * 5_000}, "limit: must be an integer"),
        ({"limit": "-1"}, "limit: must be at least 1"),
        ({"limit": "0"}, "limit: must be at least 1"),
        ({"limit": "1001"}, "limit: must be at most 1000"),
        ({"status": "green"}, "status: must be one of passed, failed, error, skipped, canceled"),
        ({"from": "soon"}, "from: must be a date or an RFC 3339 time, for example 2026-05-20T12:00:00Z"),
        ({"run_id": ""}, "run_id: must not be empty"),
        ({"run_id": "a\0"}, "run_id: must not contain NUL characters"),
        ({"environment": "e" * 201}, "environment: must have at most 200 characters"),
        ({"case": "tc_1"}, "case: must be case_ followed by 16 hex digits"),
        ({"suite": "auth"}, "suite: requires run_id"),
        ({"color": "red"}, "query parameter 'color' is not supported"),
        ({"projectid": "a"}, "query parameter 'projectid' is not supported. Did you mean 'project_id'?"),
        ({"statuses": "failed"}, "query parameter 'statuses' is not supported. Did you mean 'status'?"),
        ({"form": "2026-05-20"}, "query parameter 'form' is not supported. Did you mean 'from'?"),
        ({"page": "2"}, "query parameter 'page' is not supported. Use starting_after for the next page."),
        ({"cursor": "abc"}, "query parameter 'cursor' is not supported. Use starting_after for the next page."),
        ({"run_id": "x" * 5_000}, "run_id: must have at most 200 characters"),
        ({"starting_after": "x" * 5_000}, "starting_after: not a cursor of this list with these filters"),
    ],
)
async def test_error_of_a_query_parameter_names_it(shared_api: Api, query: dict[str, str], message: str) -> None:
    assert (await shared_api.error("/v1/results", 400, query))["message"] == message


@pytest.mark.parametrize(
    "path",
    [
        "runs", "results", "failures?project_id=shop", "cases?project_id=shop",
        "cases/case_00c0ffee00c0ffee/history", "stats?project_id=shop",
    ],
)  # fmt: skip
async def test_time_range_must_not_end_before_it_starts(shared_api: Api, path: str) -> None:
    range_ = {"from": "2026-05-21", "to": "2026-05-20T23:59:59.999+00:00"}
    error = await shared_api.error(f"/v1/{path}", 400, range_)
    assert (error["param"], error["message"]) == ("to", "to: must not be before from")


@pytest.mark.parametrize("path", ["runs", "results", "failures?project_id=shop"])
async def test_time_range_can_be_empty(shared_api: Api, path: str) -> None:
    """A program that reads one range after the other can have nothing to read yet."""
    range_ = {"from": "2026-05-21", "to": "2026-05-21T02:00:00+02:00"}
    assert (await shared_api.get(f"/v1/{path}", range_))["data"] == []


@pytest.mark.parametrize(
    "path", ["/v1/runs/x?wait={}", "/v1/cases?project_id=shop&limit={}", "/v1/cases?project_id=shop&runs={}"]
)
async def test_integer_parameters_accept_only_digits(shared_api: Api, path: str) -> None:
    for given in ("1_0", "%2B5", "%201"):
        error = await shared_api.error(path.format(given), 400)
        assert error["message"].endswith(": must be an integer")


async def test_error_messages_truncate_long_ids(api: Api) -> None:
    id_ = "x" * 150
    for noun in ("results", "runs", "cases", "receipts", "webhooks", "results/export", "artifacts"):
        assert f"{'x' * 100!r}" in (await api.error(f"/v1/{noun}/{id_}", 404))["message"]
    for path in (f"runs/{id_}", f"webhooks/{id_}", f"api-keys/{id_}"):
        error = (await (await api.send("DELETE", f"/v1/{path}")).json())["error"]
        assert f"{'x' * 100!r}" in error["message"]


async def test_route_without_pages_gives_no_hint_for_pagination(api: Api) -> None:
    assert (await api.error("/v1/runs/run_1", 400, {"page": "2"}))[
        "message"
    ] == "query parameter 'page' is not supported"


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/results/export", {}, "format: is required"),
        ("/v1/results/export", {"format": 1}, "format: must be 'csv', 'json', 'ndjson' or 'parquet'"),
        ("/v1/results/export", {"format": "csv", "raw": "no"}, "raw: must be true or false"),
        ("/v1/results/export", {"format": "csv", "filter": 7}, "filter: must be an object"),
        ("/v1/results/export", {"format": "csv", "columns": "id"}, "columns: must be a list"),
        ("/v1/results/export", {"format": "csv", "columns": []}, "columns: must not be empty"),
        ("/v1/results/export", {"format": "csv", "speed": 9}, "field 'speed' is not supported"),
        ("/v1/results/export", {"formats": "csv"}, "field 'formats' is not supported. Did you mean 'format'?"),
        (
            "/v1/results/export", {"format": "csv", "filter": {"project": "a"}},
            "field 'filter.project' is not supported. Did you mean 'project_id'?",
        ),
        (
            "/v1/runs/x/decisions", {"policy": {"max_failure": 1}},
            "field 'policy.max_failure' is not supported. Did you mean 'max_failures'?",
        ),
        (
            "/v1/results/export", {"format": "csv", "filter": {"from": "2026-05-21", "to": "2026-05-20"}},
            "filter.to: must not be before from",
        ),
        ("/v1/results/export", [], "the request body must be a JSON object"),
        ("/v1/api-keys", {"name": 7, "role": "viewer"}, "name: must be a string"),
        (
            "/v1/api-keys", {"name": "ci", "role": "viewer", "expires_at": "2027-01-01T00:00:00"},
            "expires_at: must be a date or an RFC 3339 time, for example 2026-05-20T12:00:00Z",
        ),
        (
            "/v1/api-keys", {"name": "ci", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"},
            "expires_at: must be in the future",
        ),
        ("/v1/results/export", {"format": "csv", "filter": {"status": []}}, "filter.status: must not be empty"),
        (
            "/v1/webhooks", {"url": "https://example.org", "project_id": "a\n"},
            "project_id: must contain only printable characters",
        ),
    ],
)  # fmt: skip
async def test_error_of_a_body_field_names_it(shared_api: Api, path: str, body: Any, message: str) -> None:
    response = await shared_api.send("POST", path, json=body)
    assert response.status == 400
    assert (await response.json())["error"]["message"] == message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
async def test_error_of_a_number_that_is_not_finite_names_its_field(shared_api: Api, number: str) -> None:
    error = await put_gate(shared_api, f'{{"policy": {{"max_flaky": 1, "min_pass_rate": {number}}}}}')
    assert (error["param"], error["message"]) == (
        "policy.min_pass_rate", "policy.min_pass_rate: must be a finite number",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ('{"policy": [1, {"a": NaN}]}', "policy.1.a"),
        ('{"a\\ud800": NaN}', "a\ufffd"),
        ("NaN", None),
        ('{"a": 1e400, }', None),
        ('{"a": "\\ud800"}', None),
        ('{"a": ' + "[" * 50_000 + "NaN" + "]" * 50_000 + "}", None),
    ],
)
async def test_body_that_is_not_json_is_a_400(shared_api: Api, body: str, param: str | None) -> None:
    error = await put_gate(shared_api, body)
    assert error.get("param") == param
    assert param or error["message"].startswith("the request body must be JSON: ")


async def test_every_route_with_a_json_body_accepts_only_json(api: Api) -> None:
    routes = [route for route in V1 if route.operation.body]
    assert len(routes) > 10
    for route in routes:
        path = re.sub(r"\{\w+\}", "x", f"/v1{route.path}")
        for media_type in ("text/plain; charset=utf-8", "application/xml", "multipart/form-data; boundary=x"):
            headers = {"Authorization": f"Bearer {api.key}", "Content-Type": media_type}
            response = await api.http.request(route.method, path, data="{}", headers=headers)
            error = (await response.json())["error"]
            assert (response.status, error["code"]) == (415, "unsupported_media_type"), (route, error)
            assert error["message"] == f"Content-Type {media_type!r} is not supported. Send application/json."


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "",
        " ",
        "application/json; charset=utf-8",
        "application/vnd.acme+json",
        "application/x-www-form-urlencoded",
    ],
)
async def test_json_is_accepted_with_its_media_types_and_that_of_curl(shared_api: Api, media_type: str | None) -> None:
    headers = {"Authorization": f"Bearer {shared_api.key}"}
    if media_type is not None:
        headers["Content-Type"] = media_type
    response = await shared_api.http.put(
        "/v1/gates/media-types",
        data=b'{"policy": {"max_failures": 0}}',
        headers=headers,
        skip_auto_headers=["Content-Type"],
    )
    assert response.status in (200, 201), await response.text()


@pytest.mark.parametrize(
    ("given", "quoted"),
    [
        ("json", "'json'"),
        ("; charset=utf-8", "'; charset=utf-8'"),
        ("é\u200b", "'é\\u200b'"),
        ("x" * 500, repr("x" * 100)),
    ],
)
async def test_unsupported_content_type_is_quoted_as_the_client_sent_it(
    shared_api: Api, given: str, quoted: str
) -> None:
    headers = {"Authorization": f"Bearer {shared_api.key}", "Content-Type": given}
    response = await shared_api.http.put("/v1/gates/release", data="{}", headers=headers)
    assert response.status == 415
    message = (await response.json())["error"]["message"]
    assert message == f"Content-Type {quoted} is not supported. Send application/json."


async def put_gate(api: Api, body: str) -> Any:
    """Send this body and return the error of the response."""
    headers = {"Authorization": f"Bearer {api.key}", "Content-Type": "application/json"}
    response = await api.http.put("/v1/gates/release", data=body, headers=headers)
    assert response.status == 400
    return (await response.json())["error"]


async def test_every_route_rejects_unknown_query_parameters(api: Api) -> None:
    for route in V1:
        path = re.sub(r"\{\w+\}", "x", f"/v1{route.path}")
        required = {"POST /v1/runs/x/report": {"project_id": "shop"}, "DELETE /v1/projects/x": {"confirm": "x"}}
        params = {"foo": "1", **required.get(f"{route.method} {path}", {})}
        response = await api.send(route.method, path, params)
        error = (await response.json())["error"]
        assert (response.status, error.get("param")) == (400, "foo"), (route, error)
        assert error["message"] == "query parameter 'foo' is not supported"
