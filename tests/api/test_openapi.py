"""The OpenAPI document: valid, complete, equal to the committed copy, and matched by the responses."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest

from service.api.openapi.document import document
from service.api.routes import all_routes
from service.cases.contract import CaseQuery
from service.database.statements import MAX_READ_RUNS, RECENT_RUNS
from service.domain.errors import ErrorCode
from service.http.errors import ERROR_TYPES
from tests.api.described import DOCUMENT, operations, resolve, strict_document
from tests.run_events import result, run_event
from tests.served import Api

COPY = Path(__file__).parents[2] / "docs" / "openapi.json"
STRICT = strict_document()


def test_committed_copy_is_current() -> None:
    assert COPY.read_bytes() == document(), "run `make docs`"


def test_document_is_valid() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator  # slow: it compiles the grammar of IRIs

    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_operation_has_a_summary_its_permission_and_errors() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert ("x-permission" in operation) == bool(operation["security"]), path
            if operation["security"]:
                assert {"400", "401", "403", "429", "500", "503"} <= operation["responses"].keys(), path


def test_operation_id_is_the_name_of_the_handler() -> None:
    for route in all_routes():
        assert route.operation.operation_id.removesuffix("_unprefixed") == route.handler.__name__


def test_every_error_code_is_in_the_table_and_in_the_document() -> None:
    codes = {error.code for error in ERROR_TYPES}
    assert codes == set(get_args(ErrorCode))
    assert codes == set(DOCUMENT["components"]["schemas"]["ErrorDetail"]["properties"]["code"]["enum"])


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for methods in DOCUMENT["paths"].values() for operation in methods.values()]
    assert len(ids) == len(set(ids))


def test_generated_clients_can_be_imported_and_compiled() -> None:
    """openapi-generator writes one file per tag, and no valid Go code for a default that is an object."""
    of_paths, of_webhooks = (
        {tag for methods in DOCUMENT[section].values() for operation in methods.values() for tag in operation["tags"]}
        for section in ("paths", "webhooks")
    )
    assert of_webhooks
    assert of_paths.isdisjoint(of_webhooks)
    assert [default for default in defaults_in(DOCUMENT["components"]) if isinstance(default, dict)] == []


def defaults_in(node: Any) -> Iterator[Any]:
    """Yield the defaults of all schemas."""
    if isinstance(node, dict):
        if "default" in node:
            yield node["default"]
        for child in node.values():
            yield from defaults_in(child)
    elif isinstance(node, list):
        for child in node:
            yield from defaults_in(child)


def test_conditional_and_range_requests_are_described() -> None:
    of_header = {
        header: {name for name, operation in operations().items() if header in request_headers(operation)}
        for header in ("If-None-Match", "Range", "Last-Event-ID")
    }
    files = {"download_artifact", "download_export"}
    quarantines = {"get_quarantine", "list_quarantines"}
    client = {"download_client", "download_client_version", "get_client_sha256", "get_client_version_sha256"}
    tagged = (
        {"get_run", "get_result", "get_result_unprefixed", "get_case", "get_project", "get_export", "get_failure"}
        | quarantines
        | files
        | client
    )
    assert of_header == {"If-None-Match": tagged, "Range": files, "Last-Event-ID": {"stream_events"}}
    for name in tagged:
        responses = operations()[name]["responses"]
        assert "content" not in responses["304"]
        assert all("ETag" in responses[status]["headers"] for status in responses.keys() & {"200", "206", "304"})


def test_window_of_case_statistics_is_described() -> None:
    description = DOCUMENT["components"]["schemas"]["CaseSummary"]["description"]
    for number in (CaseQuery().runs, RECENT_RUNS, MAX_READ_RUNS):
        assert re.search(rf"\b{number:,}\b", description), number


def request_headers(operation: Any) -> set[str]:
    parameters = map(resolve, operation["parameters"])
    return {parameter["name"] for parameter in parameters if parameter["in"] == "header"}


def assert_described(path: str, method: str, status: int, body: Any) -> None:
    response_ = resolve(DOCUMENT["paths"][path][method]["responses"][str(status)])
    schema = response_["content"]["application/json"]["schema"] | {"components": STRICT["components"]}
    jsonschema_rs.validator_for(schema).validate(body)


QUARANTINE = {"project_id": "shop", "name": "pays*", "reason": "issue 7"}
PUBLISHER = {"provider": "oidc", "issuer": "https://ci.example", "claims": {"p": "1"}, "project_id": "shop"}
POLICY = {"policy": {"max_failures": 0}}
BODIES = {"webhooks": {"enabled": True}, "quarantines": {"reason": "x"}, "projects": {"default_branch": "main"},
          "decisions": {"reason": "x"}, "runs": {"gate": "a.png"}, "failures": {"ticket_url": None},
          "members": {"role": "viewer"}, "publishers": {"name": "new"}}  # fmt: skip
BODIES_OF_ACTIONS = {
    "recover": {"since": "2026-05-20"},
    "excuses": {"receipts": [f"rcp_{'0' * 32}"]},
    "promote": {"commit_sha": "a" * 40, "receipts": [f"rcp_{'0' * 32}"]},
}
SPECIAL = {"Location", "Link", "Retry-After", "ETag", "Idempotent-Replayed"}


def special_headers(response: Any) -> set[str]:
    return SPECIAL & set(response.headers)


def special_headers_of(path: str, method: str, status: int) -> set[str]:
    return SPECIAL & set(resolve(DOCUMENT["paths"][path][method]["responses"][str(status)])["headers"])


@pytest.fixture
async def stored(api: Api) -> Api:
    failed = result(
        "pays", "failed", failure={"message": "no"}, started_at="2026-05-20T11:59:00Z",
        attempts=[{"status": "error"}, {"status": "failed"}], artifacts=[{"name": "a.png", "uri": "s3://x", "size": 3}],
    )  # fmt: skip
    await api.store.ingest(run_event("run_1", [result("logs in"), failed], labels={"team": "web"}))
    await api.send("PUT", "/v1/gates/a.png", json=POLICY)
    return api


async def decide(api: Api) -> Any:
    return await (await api.send("POST", "/v1/runs/run_1/decisions", json={"gate": "a.png"})).json()


async def test_responses_of_reads_match_their_schemas(stored: Api) -> None:
    item = next(found for found in (await stored.get("/v1/results"))["data"] if found["status"] == "failed")
    decision = await decide(stored)
    failure = (await stored.get("/v1/failures?project_id=shop"))["data"][0]
    for described, path in {
        "/v1/results": "/v1/results",
        "/v1/results/{id}": f"/v1/results/{item['id']}",
        "/v1/results/{id}/artifacts": f"/v1/results/{item['id']}/artifacts",
        "/v1/runs": "/v1/runs",
        "/v1/runs/{run_id}": "/v1/runs/run_1",
        "/v1/cases": "/v1/cases?project_id=shop",
        "/v1/cases/{id}": f"/v1/cases/{item['case']}",
        "/v1/cases/{id}/history": f"/v1/cases/{item['case']}/history",
        "/v1/runs/{run_id}/comparison": "/v1/runs/run_1/comparison",
        "/v1/gates": "/v1/gates",
        "/v1/gates/{name}": "/v1/gates/a.png",
        "/v1/decisions": "/v1/decisions",
        "/v1/decisions/{id}": f"/v1/decisions/{decision['id']}",
        "/v1/failures": "/v1/failures?project_id=shop",
        "/v1/failures/{id}": f"/v1/failures/{failure['id']}",
        "/v1/projects": "/v1/projects",
        "/v1/projects/{project_id}": "/v1/projects/shop",
        "/v1/receipts": "/v1/receipts",
        "/v1/api-keys": "/v1/api-keys",
        "/v1/events": "/v1/events",
        "/healthz": "/healthz",
        "/readyz": "/readyz",
    }.items():
        body = await stored.get(path)
        assert_described(described, "get", 200, body)
        assert path == "/v1/events" or body.get("data", True), path
    assert_described("/v1/results/{id}", "get", 404, await stored.get("/v1/results/res_1", status=404))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/api-keys", {"name": "CI", "role": "viewer", "expires_at": "2030-01-01T00:00:00Z"}, 201),
        ("/v1/webhooks", {"url": "https://ci.example/hook"}, 201),
        ("/v1/results/export", {"format": "csv", "filter": {"status": ["failed"]}}, 202),
        ("/v1/quarantines", QUARANTINE, 201),
        ("/v1/api-keys", {}, 400),
    ],
)
async def test_responses_of_mutations_match_their_schemas(api: Api, path: str, body: Any, status: int) -> None:
    response = await api.send("POST", path, json=body)
    assert response.status == status, await response.text()
    response_ = await response.json()
    assert_described(path, "post", status, response_)
    assert special_headers(response) == special_headers_of(path, "post", status) - {"Idempotent-Replayed"}
    if status < 400:
        shown = await api.get(path)
        assert_described(path, "get", 200, shown)
        assert shown["data"]


async def test_responses_of_gates_and_decisions_match_their_schemas(stored: Api) -> None:
    await stored.send("PUT", "/v1/gates/b", json=POLICY)
    waiver = f"/v1/decisions/{(await decide(stored))['id']}/waiver"
    excuse = {"receipts": [each["id"] for each in (await stored.get("/v1/receipts", {"run_id": "run_1"}))["data"]]}
    for method, described, path, body, status in (
        ("put", "/v1/gates/{name}", "/v1/gates/b", POLICY, 200),
        ("put", "/v1/gates/{name}", "/v1/gates/c", POLICY, 201),
        ("post", "/v1/runs/{run_id}/decisions", "/v1/runs/run_1/decisions", {"gate": "b"}, 201),
        ("post", "/v1/runs/{run_id}/decisions", "/v1/runs/run_1/decisions", POLICY, 200),
        ("post", "/v1/decisions/{id}/waiver", waiver, {"reason": "x"}, 201),
        ("post", "/v1/runs/{run_id}/excuses", "/v1/runs/run_1/excuses", excuse, 201),
        ("post", "/v1/runs/{run_id}/excuses", "/v1/runs/run_1/excuses", excuse, 200),
    ):  # fmt: skip
        response = await stored.send(method.upper(), path, json=body)
        assert response.status == status, await response.text()
        assert_described(described, method, status, await response.json())
        assert special_headers(response) <= special_headers_of(described, method, status)


async def test_response_headers_match_the_document(stored: Api) -> None:
    page = await stored.send("GET", "/v1/results?limit=1")
    assert special_headers(page) == special_headers_of("/v1/results", "get", 200) == {"Link"}
    hook = await (await stored.send("POST", "/v1/webhooks", json={"url": "https://ci.example/hook"})).json()
    for action, body in (("test", {}), ("recover", {"since": "2026-05-20"})):
        described = special_headers_of(f"/v1/webhooks/{{id}}/{action}", "post", 202) - {"Idempotent-Replayed"}
        assert special_headers(await stored.send("POST", f"/v1/webhooks/{hook['id']}/{action}", json=body)) == described
    report = await stored.send("POST", "/v1/runs/r/report?project_id=shop", json={"results": []})
    described = special_headers_of("/v1/runs/{run_id}/report", "post", 202) - {"Idempotent-Replayed"}
    assert special_headers(report) == described
    again = [await stored.send("DELETE", "/v1/runs/run_1", Idempotency_Key="k") for _ in range(2)][1]
    assert special_headers(again) == special_headers_of("/v1/runs/{run_id}", "delete", 204) == {"Idempotent-Replayed"}


async def test_reference_page_loads_no_external_assets(api: Api) -> None:
    page = await (await api.send("GET", "/docs", key="")).text()
    assert "://" not in page
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js", "favicon-32x32.png"):
        assert (await api.send("GET", f"/docs/{name}", key="")).status == 200
    assert (await api.send("GET", "/docs/other.js", key="")).status == 404
    assert (await (await api.send("GET", "/openapi.json", key="")).json()) == DOCUMENT


@pytest.mark.parametrize("is_same_organization", [False, True])
async def test_every_route_returns_404_for_an_id_of_another_organization_or_project(
    stored: Api, is_same_organization: bool
) -> None:
    item = (await stored.get("/v1/results"))["data"][0]
    export = await (await stored.send("POST", "/v1/results/export", json={"format": "csv"})).json()
    hook = await (await stored.send("POST", "/v1/webhooks", json={"url": "https://ci.example/hook"})).json()
    quarantine = await (await stored.send("POST", "/v1/quarantines", json=QUARANTINE)).json()
    publisher = await (await stored.send("POST", "/v1/publishers", json=PUBLISHER)).json()
    failure = (await stored.get("/v1/failures?project_id=shop"))["data"][0]["id"]
    key = (await stored.get("/v1/api-keys"))["data"][0]["id"]
    receipt = (await stored.get("/v1/receipts"))["data"][0]["id"]
    split = {"project_id": "shop", "total": 1, "items": ["a"]}
    assert (await stored.send("PUT", "/v1/splits/a.png", json=split)).status == 201
    member = await (await stored.send("POST", "/v1/members", json={"group": "qa", "role": "viewer"})).json()
    ids = {"results": item["id"], "runs": "run_1", "cases": item["case"], "webhooks": hook["id"], "api-keys": key,
           "receipts": receipt, "artifacts": "art_" + item["id"][4:] + "0" * 16,
           "splits": "", "projects": "shop", "quarantines": quarantine["id"], "gates": "a.png",
           "failures": failure, "members": member["id"], "publishers": publisher["id"],
           "decisions": (await decide(stored))["id"]}  # fmt: skip
    if is_same_organization:
        other_key = (await stored.make_key("admin", project_id="blog")).key
    else:
        _, other_key = await stored.make_organization("other")
    for route in all_routes():
        noun = route.path.removeprefix("/v1").split("/")[1]
        creates = route.path.endswith("/report") or (noun in ("gates", "splits") and route.method == "PUT")
        if "{" not in route.path or route.permission is None or creates:
            continue
        if noun == "gates" and is_same_organization:  # gates belong to the organization
            continue
        id_ = export["id"] if "/export/" in route.path else ids[noun]
        path = route.path.replace("{id}", id_).replace("{run_id}", "run_1").replace("{name}", "a.png")
        path = path.replace("{key}", "a.png")
        path = (
            path.replace("{project_id}", "shop")
            .replace("{recovery_id}", "rec_" + "0" * 32)
            .replace("{delivery_id}", "dlv_" + "0" * 32)
        )
        body = BODIES_OF_ACTIONS.get(route.path.rpartition("/")[2]) or BODIES.get(noun)
        params = {"confirm": "shop"} if (noun, route.method) == ("projects", "DELETE") else {}
        params |= {"project_id": "shop"} if noun == "splits" else {}
        response = await stored.send(route.method, path.split("{name:")[0], params, other_key, body)
        assert response.status == 404, (route.method, path, await response.text())
