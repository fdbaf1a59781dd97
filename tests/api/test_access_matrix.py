"""Every operation of the OpenAPI document, called with every role, another project, another organization, and no key.

The permission of an operation is the one in the document, and the roles that have it are those of PERMISSIONS.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest
from aiohttp import ClientResponse

from service.domain.ids import OrgId
from service.events.operations import number_events
from service.identity.keys import operations as keys_operations
from service.identity.keys.model import KEY_ROLES, PERMISSIONS, KeyRole, format_key, new_key_id, new_secret
from tests.api.access_examples import COMMIT, EXAMPLES, SCOPES, Example, Outcome, Scope
from tests.api.described import DOCUMENT, resolve
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event
from tests.served import Api

PROJECT, OTHER_PROJECT, PROJECT_OF_OTHERS = "checkout", "billing", "warehouse"
ERRORS: Final[Mapping[Outcome, tuple[int, str]]] = {
    "refused": (400, "invalid_request"),
    "unauthorized": (401, "unauthorized"), "forbidden": (403, "forbidden"), "absent": (404, "not_found"),
}  # fmt: skip
DIGITS = re.compile(r"[0-9a-f]{16,}")  # of an ID, a digest, or an ETag
VOLATILE = re.compile(r'"request_id":"[^"]*"|\d{4}-\d\d-\d\dT[\d:.]+Z|whsec_[\w+/=]+|zof_\w+|"(number|size)":\d+')

Objects = Mapping[str, str]


class KeyUser(NamedTuple):
    """Who sends a request. `role` is None without a valid key."""

    name: str
    key: str
    role: KeyRole | None
    scope: Scope


class Cell(NamedTuple):
    """One cell of the matrix. `path` and `operation` are those of the document."""

    method: str
    path: str
    operation: Any
    example: Example
    user: KeyUser

    @property
    def outcome(self) -> Outcome:
        """The outcome that the document, the permissions of roles, and the example state."""
        permission = self.operation.get("x-permission")
        if permission is None:  # what it shows belongs to no organization
            return self.example.outcomes.get(self.user.scope, "done")
        if self.user.role is None:
            return "unauthorized"
        if self.user.role == "public" and "x-or-permission" in self.operation:
            return "forbidden"  # the objects aren't of untrusted runs
        is_permitted = permission in PERMISSIONS[self.user.role]
        return self.example.outcome_of(self.user.scope) if is_permitted else "forbidden"

    @property
    def is_foreign(self) -> bool:
        """Whether the caller has the permission, but the objects are of another project or organization."""
        by_scope = self.example.outcome_of(self.user.scope)
        is_other = self.user.scope in ("other project", "other organization")
        return is_other and "x-permission" in self.operation and self.outcome == by_scope

    def __str__(self) -> str:
        return f"{self.method} {self.path} {dict(self.example.query)} {self.example.body or ''} with {self.user.name}"


class Answer(NamedTuple):
    """A response. `sent` is the text of the request, whose IDs a response can repeat."""

    status: int
    text: str
    sent: str

    def without_ids(self) -> tuple[int, str]:
        """Return the status and the text without IDs, times, and secrets."""
        return self.status, DIGITS.sub("…", VOLATILE.sub("…", self.text)).replace("absent-", "")


@dataclass
class Matrix:
    """An API with two organizations, the objects of a project, and what each scope has of its own."""

    exports: Exports
    objects: Objects
    own: Mapping[Scope, Objects]
    users: tuple[KeyUser, ...]

    @property
    def api(self) -> Api:
        return self.exports.api

    def cells(self) -> Iterator[Cell]:
        """Yield the cells of all operations in the order of EXAMPLES."""
        operations = [
            (method.upper(), path, operation)
            for path, methods in DOCUMENT["paths"].items()
            for method, operation in methods.items()
        ]
        for operation_id, examples in EXAMPLES.items():
            for method, path, operation in operations:
                if operation["operationId"].removesuffix("_unprefixed") == operation_id:
                    for example in examples:
                        yield from (Cell(method, path, operation, example, user) for user in self.users)

    async def check(self, cell: Cell) -> str | None:
        """Send the request of a cell. Return a description of the violation, if any."""
        answer = await self._send(cell, await self._find_objects(cell))
        expected = ERRORS.get(cell.outcome)
        if expected is None:
            successes = {int(status) for status in cell.operation["responses"] if int(status) < 400}
            if answer.status not in successes:
                return f"expected one of {successes}, got {answer.status} {answer.text[:300]}"
        elif answer.status != expected[0] or not re.search(rf'"(code|error)":"{expected[1]}"', answer.text):
            return f"expected {expected}, got {answer.status} {answer.text[:300]}"
        if not cell.is_foreign or cell.outcome == "shared":
            return None
        leaked = [name for name, id_ in self.objects.items() if id_ in answer.text and id_ not in answer.sent]
        if leaked:
            return f"shows {leaked} in {answer.text[:300]}"
        absent = await self._send(cell, {name: absent_id(id_) for name, id_ in self.objects.items()})
        if answer.without_ids() != absent.without_ids():
            return f"got {answer.without_ids()} for an existing object, and {absent.without_ids()} for an absent one"
        return None

    async def _find_objects(self, cell: Cell) -> Objects:
        is_own = cell.user.scope in ("organization", "project") and cell.outcome == "done"
        fresh = {name: await MAKERS[name](self.api) for name in cell.example.fresh if is_own}
        return {**self.objects, **fresh}

    async def _send(self, cell: Cell, objects: Objects) -> Answer:
        names, example = {**objects, **self.own[cell.user.scope]}, cell.example
        path = cell.path.format_map({name: fill(text, names) for name, text in example.path.items()})
        query, body = fill(example.query, names), fill(example.body, names)
        headers = {"Authorization": f"Bearer {cell.user.key}"} if cell.user.key else {}
        content: dict[str, Any] = {"json": body} if body is not None else {"data": example.form or example.file}
        if example.file is not None:
            headers["Content-Type"] = "application/octet-stream"
        async with self.api.http.request(
            cell.method, path, params=query, headers=headers, allow_redirects=False, **content
        ) as response:
            return Answer(response.status, await read(response), f"{path} {query} {body}")


async def read(response: ClientResponse) -> str:
    """Return the content of a response. The stream of events doesn't end."""
    if response.content_type == "text/event-stream":
        response.close()
        return ""
    return (await response.read()).decode("latin-1")


def fill(value: Any, names: Objects) -> Any:
    """Replace the names of objects in all texts by their IDs."""
    if isinstance(value, Mapping):
        return {key: fill(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, names) for item in value]
    return value.format_map(names) if isinstance(value, str) else value


def absent_id(id_: str) -> str:
    """Return an ID of the same form that doesn't exist. The first digits of some IDs are the time of creation."""
    digits = DIGITS.search(id_)
    return f"absent-{id_}" if digits is None else id_.replace(digits[0], digits[0][:12].ljust(len(digits[0]), "0"))


async def make_run(api: Api, project: str = PROJECT, organization: str = "acme") -> str:
    run_id = f"run-{uuid4().hex}"
    failing = result("pays", "failed", failure={"message": "expected 200 got 503"})
    await api.store.ingest(
        run_event(run_id, [failing], project_id=project, organization=organization, commit_sha=COMMIT)
    )
    return run_id


async def create(api: Api, path: str, body: Any, key: str | None = None) -> str:
    """Create an object over HTTP and return its ID."""
    response = await api.send("POST", path, key=key, json=body)
    assert response.status in (201, 202), await response.text()
    return str((await response.json())["id"])


async def make_webhook(api: Api, project: str = PROJECT, key: str | None = None) -> str:
    return await create(api, "/v1/webhooks", {"url": "https://ci.example/hook", "project_id": project}, key)


async def make_export(api: Api) -> str:
    return await create(api, "/v1/results/export", {"format": "csv", "filter": {"project_id": PROJECT}})


async def make_quarantine(api: Api) -> str:
    return await create(api, "/v1/quarantines", {"project_id": PROJECT, "name": "pays*", "reason": "outage"})


async def make_split(api: Api) -> str:
    key = f"split-{uuid4().hex}"
    body = {"project_id": PROJECT, "total": 1, "items": ["a"]}
    assert (await api.send("PUT", f"/v1/splits/{key}", json=body)).status == 201
    return key


async def make_gate(api: Api) -> str:
    name = f"gate-{uuid4().hex}"
    response = await api.send("PUT", f"/v1/gates/{name}", json={"policy": {"min_results": 9}})  # always blocks
    assert response.status == 201, await response.text()
    return name


async def make_decision(api: Api) -> str:
    return await create(api, f"/v1/runs/{await make_run(api)}/decisions", {"gate": await make_gate(api)})


async def make_publisher(api: Api) -> str:
    body = {"provider": "oidc", "issuer": "https://ci.example", "claims": {"repository": 7}, "project_id": PROJECT}
    return await create(api, "/v1/publishers", body)


async def make_key(api: Api) -> str:
    return await create(api, "/v1/api-keys", {"name": "CI", "role": "uploader", "project_id": PROJECT})


async def make_member(api: Api) -> str:
    return await create(api, "/v1/members", {"group": uuid4().hex, "role": "viewer", "project_id": PROJECT})


MAKERS: Final = {
    "run": make_run, "webhook": make_webhook, "export": make_export, "quarantine": make_quarantine,
    "gate": make_gate, "split": make_split, "decision": make_decision, "key": make_key, "member": make_member,
    "publisher": make_publisher,
}  # fmt: skip


async def make_objects(exports: Exports) -> Objects:
    """Create one object of each kind in the project, with the key of an admin."""
    api = exports.api
    made = {name: await make(api) for name, make in MAKERS.items()}
    made["export"] = (await exports.run(filter={"project_id": PROJECT}))["id"]
    item = (await api.get("/v1/results", {"run_id": made["run"]}))["data"][0]
    hook = f"/v1/webhooks/{made['webhook']}"
    found = {
        "project": PROJECT, "result": item["id"], "case": item["case"], "failure": item["fingerprint"],
        "artifact": (await api.attach(item["id"], "shot.png", b"png"))["id"],
        "receipt": (await api.get("/v1/receipts", {"run_id": made["run"]}))["data"][0]["id"],
        "delivery": await create(api, f"{hook}/test", {}),
        "recovery": await create(api, f"{hook}/recover", {"since": "2026-05-20"}),
        "version": version("zof-results"),
    }  # fmt: skip
    # Like the receipt of a report that the promotion of its run has named.
    upload = {"reports": [{"path": "a", "name": "a", "content_type": None, "size": 1, "sha256": ""}], "run": {}}
    promoted = "UPDATE receipts SET upload = $1 WHERE receipt_id = $2"
    await api.store.pool.execute(promoted, upload | {"is_promoted": True}, found["receipt"])
    await number_events(api.store.pool)
    return made | found | {"event": (await api.get("/v1/events", {"run_id": made["run"]}))["data"][0]["id"]}


async def make_users(api: Api, other_org: OrgId) -> tuple[KeyUser, ...]:
    """Create a key of each role and scope, and return them after those without a valid key."""
    revoked = await api.make_key("admin")
    async with api.store.pool.acquire() as connection:
        await keys_operations.revoke_key(connection, api.org_id, revoked.key_id)
    invalid = {"no key": "", "an unknown key": format_key(new_key_id(), new_secret()), "a revoked key": revoked.key}
    users = [KeyUser(name, key, None, "organization") for name, key in invalid.items()]
    for scope in SCOPES:
        org_id = other_org if scope == "other organization" else api.org_id
        project = {"project": PROJECT, "other project": OTHER_PROJECT}.get(scope)
        created = {role: await api.make_key(role, org_id, project) for role in KEY_ROLES if project or role != "public"}
        users += [KeyUser(f"{role} of {scope}", new.key, role, scope) for role, new in created.items()]
    return tuple(users)


@pytest.fixture
async def matrix(database_url: str, tmp_path: Path, client_sha256: str) -> AsyncIterator[Matrix]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as exports:
        api = exports.api
        other_org, other_key = await api.make_organization("other")
        objects = await make_objects(exports)
        ours = {"own_run": await make_run(api), "own_webhook": objects["webhook"]}
        billing = {"own_run": await make_run(api, OTHER_PROJECT), "own_webhook": await make_webhook(api, OTHER_PROJECT)}
        others = {
            "own_run": await make_run(api, PROJECT_OF_OTHERS, "other"),
            "own_webhook": await make_webhook(api, PROJECT_OF_OTHERS, other_key),
        }
        own: Mapping[Scope, Objects] = {
            "organization": ours, "project": ours, "other project": billing, "other organization": others,
        }  # fmt: skip
        yield Matrix(exports, objects, own, await make_users(api, other_org))


def described_operations() -> Iterator[tuple[str, Any]]:
    for path, methods in DOCUMENT["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_every_operation_has_a_complete_example() -> None:
    operations = list(described_operations())
    described = {operation["operationId"].removesuffix("_unprefixed") for _, operation in operations}
    assert described - EXAMPLES.keys() == set(), "add an example of the operation to tests/api/access_examples.py"
    assert EXAMPLES.keys() - described == set(), "remove the example: the document has no such operation"
    for path, operation in operations:
        required = {
            parameter["name"]
            for parameter in map(resolve, operation["parameters"])
            if parameter["in"] == "query" and parameter.get("required")
        }
        for example in EXAMPLES[operation["operationId"].removesuffix("_unprefixed")]:
            assert set(example.path) == set(re.findall(r"\{(\w+)\}", path)), path
            assert required <= example.query.keys(), path
            assert ("requestBody" in operation) == any(
                (example.body is not None, example.file is not None, example.form)
            ), path


@pytest.mark.nightly
async def test_every_operation_answers_every_caller_as_declared(matrix: Matrix) -> None:
    violations = [f"{cell}: {violation}" for cell in matrix.cells() if (violation := await matrix.check(cell))]
    assert not violations, "\n".join(violations)
