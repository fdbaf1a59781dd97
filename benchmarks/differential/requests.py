"""Random requests to the read side of the API."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from benchmarks.differential.events import BRANCHES, CASE_IDS, COMMITS, ENVIRONMENTS, PROJECTS, SUITES

_LIMITS: Final = [1, 2, 3, 7, 20, 50, 100, 100, 500, 1_000, 1_000]
_STATUSES: Final = ["passed", "failed", "error", "skipped", "canceled"]
_CHANGES: Final = [
    "new_failure", "known_failure", "flaky_failure", "quarantined", "fixed", "added", "removed", "unchanged",
]  # fmt: skip
_UNKNOWN: Final = ["none", "", "\x00", "ü" * 201, "res_0", "-1", "1e3"]
_MANY_PAGES, _FEW_PAGES = 40, 6  # with large pages, walks reach the end of the list
_SAMPLES: Final = 400

Params = list[tuple[str, str]]


class Request(NamedTuple):
    """A request without its cursor. A list is read to its end, or up to this number of pages. 0: it isn't a list."""

    kind: str
    path: str
    params: Params
    pages: int = 0


class Known(NamedTuple):
    """IDs that exist in the organization or in another one, by kind."""

    runs: Sequence[str]
    results: Sequence[str]
    cases: Sequence[str]
    groups: Sequence[str]
    artifacts: Sequence[str]
    times: Sequence[str]
    rows: int

    def describe(self) -> str:
        return f"{self.rows:,} results, and {len(self.groups)} failure groups"


async def read_known(database_url: str) -> Known:
    """Read a sample of the IDs."""
    connection = await asyncpg.connect(database_url)

    async def sample(expression: str, table: str) -> list[str]:
        found = f"SELECT DISTINCT {expression} AS found FROM {table}"
        rows = await connection.fetch(f"SELECT found FROM ({found}) f ORDER BY hashtext(found) LIMIT {_SAMPLES}")
        return [row[0] for row in rows]

    large = await connection.fetch("SELECT run_id FROM runs WHERE passed + failed > 500")
    failing = await sample("result_id(run_key, case_key)", "results WHERE status <> 'p' OR flaky OR attempts > 1")
    known = Known(
        runs=await sample("run_id", "runs") + [row[0] for row in large] * 5,
        results=await sample("result_id(run_key, case_key)", "results") + failing,
        cases=await sample("case_public_id(case_key)", "cases"),
        groups=await sample("'fp1_' || lpad(to_hex(fingerprint), 16, '0')", "result_details WHERE fingerprint <> 0"),
        artifacts=await sample("artifact_id(run_key, case_key, artifact_key)", "artifacts"),
        times=await sample("""to_char(completed_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""", "runs"),
        rows=await connection.fetchval("SELECT count(*) FROM results"),
    )
    await connection.close()
    return known


class Requests:
    """A source of random requests, which a seed determines."""

    def __init__(self, rng: random.Random, known: Known) -> None:
        self._rng, self._known = rng, known
        some = rng.choice
        self._of_runs: Mapping[str, Callable[[], str]] = {
            "project_id": lambda: some(PROJECTS),
            "branch": lambda: some(BRANCHES) or "rare",
            "environment": lambda: some(ENVIRONMENTS) or "none",
            "commit_sha": lambda: (some(COMMITS) or "abcdef0123")[: some([7, 8, 40])],
            "label": lambda: some(["team:web", "team:app", 'tier:q"\\', "team:none"]),
            "flaky": lambda: some(["true", "false"]),
            "from": lambda: some(known.times),
            "to": lambda: some(known.times),
            "status": lambda: some(_STATUSES),
        }
        self._of_results: Mapping[str, Callable[[], str]] = {
            **self._of_runs,
            "case": lambda: some(known.cases),
            "case_id": lambda: some(CASE_IDS) or "none",
            "min_duration_ms": lambda: some(["0", "6", "500", "90000"]),
            "fingerprint": lambda: some(known.groups),
        }
        self._of_one_run: Mapping[str, Callable[[], str]] = {
            "status": lambda: some(_STATUSES),
            "suite": lambda: some(SUITES),
            "variant": lambda: some(["os:linux", "os:macos", "python:3.13"]),
            "q": lambda: some(["case", "LOGS in", "ünï", "1%", "größe", "_", "\U0001f600"]),
            "sort": lambda: some(["-duration_ms", "suite"]),
            "flaky": lambda: some(["true", "false"]),
            "min_duration_ms": lambda: some(["0", "6", "500"]),
            "fingerprint": lambda: some(known.groups),
            "case": lambda: some(known.cases),
        }
        self._kinds: Mapping[Callable[[], Request], int] = {
            self._results: 25, self._results_of_run: 15, self._runs: 15, self._history: 10, self._cases: 6,
            self._ranking: 5, self._failures: 6, self._comparison: 10, self._one: 20, self._artifacts: 5,
            self._stats: 3, self._other: 2,
        }  # fmt: skip

    def next(self) -> Request:
        """Return a request, of which a few have an invalid or unknown value."""
        [make] = self._rng.choices(list(self._kinds), list(self._kinds.values()))
        request = make()
        if request.params and self._rng.random() < 0.03:
            at = self._rng.randrange(len(request.params))
            request.params[at] = (request.params[at][0], self._rng.choice(_UNKNOWN))
        return request

    def _filters(self, values: Mapping[str, Callable[[], str]], most: int) -> Params:
        names = self._rng.sample(list(values), min(len(values), self._rng.choice([0, 1, 1, 2, 2, 3, most])))
        repeated = [name for name in names if name in ("status", "label", "variant") and self._rng.random() < 0.4]
        return [(name, values[name]()) for name in (*names, *repeated)]

    def _list(self, kind: str, path: str, params: Params, most: int = 1_000) -> Request:
        limit = min(self._rng.choice(_LIMITS), most)
        return Request(kind, path, [*params, ("limit", str(limit))], _MANY_PAGES if limit >= 500 else _FEW_PAGES)

    def _results(self) -> Request:
        return self._list("results", "/v1/results", self._filters(self._of_results, 5))

    def _results_of_run(self) -> Request:
        params = [("run_id", self._rng.choice(self._known.runs)), *self._filters(self._of_one_run, 4)]
        return self._list("results of a run", "/v1/results", params)

    def _runs(self) -> Request:
        values = {**self._of_runs, "pull_request": lambda: self._rng.choice(["7", "8", "9"])}
        return self._list("runs", "/v1/runs", self._filters(values, 5))

    def _history(self) -> Request:
        names = ("status", "flaky", "from", "to", "branch", "environment")
        params = self._filters({name: self._of_runs[name] for name in names}, 4)
        return self._list("history", f"/v1/cases/{self._rng.choice(self._known.cases)}/history", params)

    def _project(self) -> Params:
        return [("project_id", self._rng.choice(PROJECTS))] if self._rng.random() < 0.9 else []

    def _cases(self) -> Request:
        params = [*self._project(), ("runs", self._rng.choice(["1", "50", "200"]))]
        if self._rng.random() < 0.3:
            params.append(("suite", self._rng.choice(SUITES)))
        return self._list("cases", "/v1/cases", params, 100)

    def _ranking(self) -> Request:
        values = {name: self._of_one_run[name] for name in ("q", "variant")} | {"branch": self._of_runs["branch"]}
        sort = ("sort", self._rng.choice(["failures", "flaky", "duration"]))
        return self._list("ranking", "/v1/cases", [*self._project(), sort, *self._filters(values, 3)], 100)

    def _failures(self) -> Request:
        chosen = self._project() if self._rng.random() < 0.6 else [("run_id", self._rng.choice(self._known.runs))]
        values = {name: self._of_runs[name] for name in ("branch", "from", "to")}
        return self._list("failure groups", "/v1/failures", [*chosen, *self._filters(values, 3)], 100)

    def _comparison(self) -> Request:
        runs = self._known.runs
        baselines = ["window", "branch:main", "branch:next", f"run:{self._rng.choice(runs)}"]
        params = [("baseline", self._rng.choice(baselines))] if self._rng.random() < 0.7 else []
        params += [("change", self._rng.choice(_CHANGES)) for _ in range(self._rng.choice([0, 0, 1, 3]))]
        return self._list("comparison", f"/v1/runs/{self._rng.choice(runs)}/comparison", params)

    def _one(self) -> Request:
        known = self._known
        paths: Mapping[str, Sequence[Any]] = {
            "/v1/results/{}": known.results, "/v1/runs/{}": known.runs, "/v1/cases/{}": known.cases,
            "/v1/failures/{}": known.groups,
        }  # fmt: skip
        path = self._rng.choice(list(paths))
        ids = paths[path] if self._rng.random() < 0.97 else ["none", known.results[0][:-1] + "0"]
        return Request(f"one: {path}", path.format(self._rng.choice(ids)), [])

    def _artifacts(self) -> Request:
        known = self._known
        kind = self._rng.randrange(3)
        if kind == 0:
            return Request("file", f"/v1/artifacts/{self._rng.choice(known.artifacts)}", [])
        if kind == 1:
            result = f"res_{self._rng.choice(known.artifacts)[4:52]}"
            return self._list("artifacts of a result", f"/v1/results/{result}/artifacts", [])
        return self._list("artifacts of a run", f"/v1/runs/{self._rng.choice(known.runs)}/artifacts", [])

    def _stats(self) -> Request:
        params = self._filters({name: self._of_runs[name] for name in ("project_id", "from", "to")}, 3)
        params.append(("interval", self._rng.choice(["day", "week"])))
        if self._rng.random() < 0.5:
            params.append(("group_by", self._rng.choice(["branch", "environment"])))
        return Request("stats", "/v1/stats", params)

    def _other(self) -> Request:
        return self._list("other lists", self._rng.choice(["/v1/projects", "/v1/quarantines"]), [])
