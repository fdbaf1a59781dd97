"""The time of pages of the console, compared with requests of the API for the same data, and their transferred bytes.

    python -m benchmarks.console [--results 10000]

The data are six runs of 10,000 results, of which 200 fail. One owner has all cases, and 20 others share them. Limits: a
page takes at most 3 times as long as the requests of the API for the same data, one after the other, measured
alternately from the same client. The first view of a page, with its style sheet and scripts, compressed as a browser
requests them, transfers less than 100 kB.
"""

import argparse
import asyncio
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import asyncpg
import httpx

from benchmarks.query_load import server_process
from benchmarks.servers import servers
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from tests.case_states import update_states
from tests.owners import set_owners
from tests.run_events import result, run_event
from tests.stored import open_store

RUNS: Final = 6
FAILING: Final = 200
ROUNDS: Final = 15
PORT: Final = 18084
BUDGET: Final = 3.0
BUDGET_BYTES: Final = 100_000
_OWNER: Final = "team"
_NEWEST: Final = f"run_{RUNS}"
_BROWSER: Final = {"Accept": "text/html", "Accept-Encoding": "gzip, deflate, br, zstd"}
_ASSETS: Final = re.compile(r'(?:src|href)="(/console/static/[^"]+)"')


class MeasuredPage(NamedTuple):
    """A page, and the requests of the API for the data that it shows."""

    name: str
    path: str
    calls: Sequence[str]


def pages(result_id: str) -> Iterator[MeasuredPage]:
    """Yield the pages to measure."""
    run, of_run = f"/v1/runs/{_NEWEST}", f"/v1/results?run_id={_NEWEST}"
    yield MeasuredPage(
        "run",
        f"/console/runs/{_NEWEST}",
        (
            run,
            f"/v1/decisions?run_id={_NEWEST}&limit=200",
            "/v1/gates?limit=100",
            f"{run}/comparison?limit=70",
            f"/v1/failures?run_id={_NEWEST}&limit=10",
            f"{of_run}&flaky=true&limit=10",
            f"{of_run}&sort=-duration_ms&limit=10",
            f"/v1/results/{result_id}/artifacts?limit=50",
            f"/v1/receipts?run_id={_NEWEST}&limit=100",
        ),
    )
    for owner in (_OWNER, "area 1"):
        of_owner = f"/v1/cases?project_id=shop&limit=10&owner={owner}"
        yield MeasuredPage(
            f"owner: {owner}",
            f"/console/owners?project_id=shop&owner={owner}",
            (
                "/v1/owners?project_id=shop&limit=1",
                f"{of_owner}&state=broken",
                f"{of_owner}&state=flaky",
                f"{of_owner}&sort=duration",
                "/v1/quarantines?project_id=shop&active=true&limit=500",
            ),
        )
    yield MeasuredPage("changes of the run", f"/console/runs/{_NEWEST}/changes", (run, f"{run}/comparison?limit=50"))
    yield MeasuredPage(
        "results of the run", f"/console/runs/{_NEWEST}/results", (run, f"{of_run}&sort=suite&limit=100")
    )
    yield MeasuredPage(
        "result",
        f"/console/results/{result_id}",
        (
            f"/v1/results/{result_id}",
            f"/v1/results/{result_id}/artifacts?limit=100",
            f"{run}/comparison?limit=1",
            "/v1/cases/{case}/history?limit=50",
        ),
    )


def results_of(number: int, count: int) -> list[dict[str, Any]]:
    """Return the results of a run. Which cases fail differs a little between runs."""
    first = number * 10
    return [
        result(
            f"test_case_{case:05}",
            "failed" if first <= case < first + FAILING else "passed",
            suite=f"tests.module_{case // 50}",
            file=f"tests/module_{case // 50}.py",
            duration_ms=case % 997,
            failure={"type": "AssertionError", "message": f"assert {case} == 7", "details": "line\n" * 20}
            if first <= case < first + FAILING
            else None,
        )
        for case in range(count)
    ]


async def fill(url: str, count: int) -> None:
    """Store the runs."""
    async with open_store(url) as store:
        for number in range(1, RUNS + 1):
            time_ = f"2026-05-20T1{number}:00:00Z"
            await store.ingest(run_event(f"run_{number}", results_of(number, count), time=time_, branch="main"))
        await update_states(store.pool)
        await set_owners(
            store.pool, {f"c.name LIKE '%{area:02}'": [_OWNER, f"area {area % 20}"] for area in range(100)}
        )
        await store.pool.execute("ANALYZE")


class Client:
    """A signed-in browser, and a client of the API with the same key."""

    def __init__(self, key: str) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60)
        self._key = {"Authorization": f"Bearer {key}"}

    def sign_in(self, key: str) -> None:
        """Create a session as soon as the server accepts connections."""
        deadline = time.monotonic() + 60
        while True:
            try:
                form = self._http.get("/console/sign-in").text
                break
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        found = re.search(r'name="form_token" value="([^"]+)"', form)
        assert found is not None, form
        fields = {"form_token": found[1], "key": key}
        response = self._http.post("/console/sign-in", data=fields, headers={"Sec-Fetch-Site": "same-origin"})
        assert response.status_code == 303, response.text

    def call_s(self, path: str) -> float:
        """Return the time of a request of the API in seconds."""
        started = time.perf_counter()
        response = self._http.get(path, headers=self._key)
        elapsed = time.perf_counter() - started
        assert response.status_code == 200, (path, response.text)
        return elapsed

    def get_json(self, path: str) -> Any:
        """Return the JSON of the API."""
        return self._http.get(path, headers=self._key).json()

    def page_s(self, path: str) -> float:
        """Return the time of a page in seconds."""
        started = time.perf_counter()
        response = self._http.get(path, headers={**_BROWSER, "Accept-Encoding": "gzip"})
        elapsed = time.perf_counter() - started
        assert response.status_code == 200, (path, response.text)
        return elapsed

    def transferred(self, path: str) -> dict[str, int]:
        """Return the bytes of the bodies of the first view of a page, by path."""
        page = self._http.get(path, headers={**_BROWSER, "Accept-Encoding": "gzip"}).text
        return {file: self._size(file) for file in (path, *dict.fromkeys(_ASSETS.findall(page)))}

    def _size(self, path: str) -> int:
        with self._http.stream("GET", path, headers=_BROWSER) as response:
            return sum(len(chunk) for chunk in response.iter_raw())


def measure(client: Client, page: MeasuredPage) -> None:
    """Measure the page and its calls alternately, and print the ratio."""
    page_s, calls_s = [], []
    for _ in range(ROUNDS):
        page_s.append(client.page_s(page.path))
        calls_s.append(sum(client.call_s(path) for path in page.calls))
    page_ms, calls_ms = statistics.median(page_s[1:]) * 1e3, statistics.median(calls_s[1:]) * 1e3
    sizes = client.transferred(page.path)
    comment = "" if page_ms <= BUDGET * calls_ms and sum(sizes.values()) < BUDGET_BYTES else "  OVER BUDGET"
    print(
        f"{page.name:20} {page_ms:7.1f} ms   {len(page.calls)} calls {calls_ms:7.1f} ms"
        f"   ratio {page_ms / calls_ms:.2f} (budget {BUDGET:g})   page {sizes[page.path] / 1e3:.1f} kB,"
        f" with style sheet and scripts {sum(sizes.values()) / 1e3:.1f} kB (budget {BUDGET_BYTES / 1e3:g}){comment}",
        flush=True,
    )


async def create_admin(url: str) -> str:
    """Return a new key."""
    connection = await asyncpg.connect(url)
    try:
        return (await create_key(connection, OrgId(1), "benchmark", "admin")).key
    finally:
        await connection.close()


def main() -> None:
    """Fill a database, measure, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=10_000, help="results of each run")
    count = parser.parse_args().results
    with servers(with_broker=False) as given:
        asyncio.run(fill(given.database_url, count))
        key = asyncio.run(create_admin(given.database_url))
        with server_process(given.database_url, PORT):
            client = Client(key)
            client.sign_in(key)
            first = client.get_json(f"/v1/results?run_id={_NEWEST}&status=failed&limit=1")["data"][0]
            for page in pages(first["id"]):
                calls = [path.replace("{case}", first["case"]) for path in page.calls]
                measure(client, page._replace(calls=calls))


if __name__ == "__main__":
    main()
