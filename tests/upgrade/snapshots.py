"""Everything that the API returns for an organization, and the differences between two versions of it."""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from tests.upgrade.versions import Api

_CONCURRENT: Final = 4
_DETAILS: Final = 100  # results that passed, and others, that are read in full
_CASES: Final = 20
RUN_WITH_FILES: Final = "event-4"
_CHANGES_WITH_REQUESTS: Final = frozenset({"last_used_at"})
_HEADERS: Final = ("Content-Type", "Content-Disposition", "ETag", "Content-Length")
_LISTS: Final = (
    "/results?status=skipped",
    "/v1/results",
    "/v1/results?status=failed&status=error",
    "/v1/results?environment=staging&branch=main&from=2026-05-01",
    "/v1/results?case_id=tc_pay_1",
    "/v1/runs",
    "/v1/runs?status=failed&branch=main",
    "/v1/runs?environment=production&to=2026-06-15T00:00:00Z",
    "/v1/results/export",
    "/v1/receipts",
    "/v1/receipts?run_id=sharded",
    "/v1/events",
    "/v1/events?type=run.failed",
    "/v1/webhooks",
    "/v1/api-keys",
)

_Kind = Literal["list", "object", "file"]


class Request(NamedTuple):
    """A request of a snapshot. The items of a list are those of all its pages."""

    kind: _Kind
    path: str


Snapshot = dict[Request, Any]


class Difference(NamedTuple):
    """A field that a new version returns otherwise: a pattern of the path, the value before, and the reason."""

    path: str
    field: str
    before: Any
    reason: str


async def record(api: Api, projects: Iterable[str]) -> Snapshot:
    """Return the responses to all lists, objects, and files of an organization, except for most passed results."""
    lists = await read(api, _requests("list", [*_LISTS, *(f"/v1/cases?project_id={each}" for each in projects)]))
    chosen = _choose(lists[Request("list", "/v1/results")])
    cases = sorted({each["case"] for each in chosen})[:: max(1, len(chosen) // _CASES)]
    webhooks = [each["id"] for each in lists[Request("list", "/v1/webhooks")]]
    details = await read(
        api,
        [
            *_requests("list", [f"/v1/results/{each['id']}/artifacts" for each in chosen]),
            *_requests("list", [f"/v1/cases/{case}/history" for case in cases]),
            *_requests("list", [f"/v1/webhooks/{each}/deliveries" for each in webhooks]),
            *_requests("object", [f"/v1/cases/{case}" for case in cases]),
            *_requests("object", [f"/v1/results/{each['id']}" for each in chosen]),
            *_requests("object", [f"/v1/runs/{each['run_id']}" for each in lists[Request("list", "/v1/runs")]]),
            *(
                Request("object", f"{path}/{each['id']}")
                for path in ("/v1/receipts", "/v1/results/export", "/v1/webhooks")
                for each in lists[Request("list", path)]
            ),
        ],
    )
    artifacts = [each for request, listed in details.items() if request.path.endswith("/artifacts") for each in listed]
    urls = sorted({urlsplit(each["url"]).path for each in artifacts if each["url"]})
    exports = [f"/v1/results/export/{each['id']}/file" for each in lists[Request("list", "/v1/results/export")]]
    return {**lists, **details, **await read(api, _requests("file", [*urls, *exports]))}


async def read(api: Api, requests: Iterable[Request]) -> Snapshot:
    """Return the responses to the requests."""
    slots = asyncio.Semaphore(_CONCURRENT)

    async def read_one(request: Request) -> Any:
        async with slots:
            if request.kind == "list":
                return await walk(api, request.path)
            return await (api.request("GET", request.path) if request.kind == "object" else _digest(api, request.path))

    chosen = list(requests)
    return dict(zip(chosen, await asyncio.gather(*map(read_one, chosen)), strict=True))


def _requests(kind: _Kind, paths: Iterable[str]) -> list[Request]:
    return [Request(kind, path) for path in paths]


def _choose(results: list[Any]) -> list[Any]:
    """Return results to read in full: those of one run, some that passed, and some others, also flaky ones."""
    passed = [each for each in results if each["status"] == "passed" and not each["flaky"]]
    others = [each for each in results if each["status"] != "passed" or each["flaky"]]
    of_files = [each for each in results if each["run_id"] == RUN_WITH_FILES]
    return [*of_files, *others[:: max(1, len(others) // _DETAILS)], *passed[:: max(1, len(passed) // _DETAILS)]]


async def _digest(api: Api, path: str) -> str:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with api.session.get(api.url + path, headers=headers) as response:
        digest = hashlib.sha256(await response.read()).hexdigest()
        return str([response.status, digest, *(response.headers.get(name) for name in _HEADERS)])


async def walk(api: Api, path: str, cursor: str | None = None) -> list[Any]:
    """Return the items of all pages, or of all pages after the cursor."""
    items = []
    while True:
        limit = 100 if path.startswith("/v1/cases?") else 500
        query = f"{'&' if '?' in path else '?'}limit={limit}" + (f"&starting_after={cursor}" if cursor else "")
        status, page = await api.request("GET", path + query)
        assert status == 200, (path + query, page)
        items += page["data"]
        if not page["has_more"]:
            return items
        cursor = page["next_cursor"]


def differences(old: Snapshot, new: Snapshot, expected: Iterable[Difference] = ()) -> list[str]:
    """Return the values of `old` that `new` lacks or that differ, and the expected differences that don't exist."""
    used: set[str] = set()
    found = []
    for request, value in old.items():
        for name, before, after in _compare(value, new[request], ""):
            reasons = {
                each.reason
                for each in expected
                if re.match(each.path, request.path) and (name, before) == (each.field, each.before)
            }
            used |= reasons
            if not reasons:
                found.append(f"{request.path}: {name}: {_shortened(before)} is now {_shortened(after)}")
    return [*found, *(f"{each.path}: {each.field} no longer differs" for each in expected if each.reason not in used)]


def _compare(old: Any, new: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield the name of each field that differs, without the numbers of items, and both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - _CHANGES_WITH_REQUESTS:
            yield from _compare(old[key], new.get(key, "no value"), f"{name}.{key}".lstrip("."))
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for one, other in zip(old, new, strict=True):
            yield from _compare(one, other, name)
    elif old != new:
        yield name, old, new


def _shortened(value: Any) -> str:
    size = f" ({len(value)} items)" if isinstance(value, list | tuple) else ""
    return repr(value)[:200] + size
