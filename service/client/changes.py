"""The changes of a run: its failures by kind of change and by file, and the evidence in words."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, NamedTuple
from urllib.parse import quote

from service.client.checkout import RepositoryPaths
from service.client.http import JsonObject, Server
from service.client.runs import run_path
from service.comparison.model import (
    describe_baseline,
    describe_missing_parts,
    describe_quarantine,
    describe_variant,
)
from service.domain.code_links import code_links
from service.domain.statuses import FAILING
from service.domain.texts import Quote
from service.evidence.model import describe_evidence
from service.failures.model import find_location
from service.results.rows import Execution, describe_flaky

_MAX_COMPARED: Final = 500  # failing and fixed results that are read
_MAX_SHOWN: Final = 50  # failures, and flaky results
_MAX_DETAILS: Final = 20  # failures, and flaky results, of which the line or the attempts are read

# Each kind of change that is a failure, with its title, in the order of the groups.
_TITLES: Final = {
    "new_failure": "New failures",
    "flaky_failure": "Failures of flaky cases",
    "known_failure": "Known failures",
    "quarantined": "Quarantined failures",
}
_TITLES_WITHOUT_BASELINE: Final = {**_TITLES, "new_failure": "Failures"}
_FIXED: Final = "fixed"


class FileCount(NamedTuple):
    """The number of failing results of a file, and its change, which is None without a complete comparison."""

    file: str
    failing: int
    change: int | None


class ResultGroup(NamedTuple):
    """Results under one title. `total` also counts results that aren't shown."""

    title: str
    total: int
    results: Sequence[JsonObject]

    @property
    def omitted(self) -> int:
        """The number of results that aren't shown."""
        return max(0, self.total - len(self.results))

    def tests(self) -> Iterator[Sequence[JsonObject]]:
        """Yield the results of each test, in the order of its variants."""
        tests: dict[tuple[str, str], list[JsonObject]] = {}
        for result in self.results:
            tests.setdefault((result["suite"], result["name"]), []).append(result)
        yield from (sorted(results, key=describe_variant) for results in tests.values())


@dataclass(frozen=True, slots=True)
class RunChanges:
    """The failures of a run, compared with its baseline, and the results that passed after a failed attempt.

    `details` contains the lines and attempts of the first results, by their IDs. `canceled` are the names of the jobs
    that the CI system canceled, as far as they are known.
    """

    run: JsonObject
    comparison: JsonObject
    flaky: Sequence[JsonObject]
    quarantines: dict[str, JsonObject]
    details: Mapping[str, JsonObject] = field(default_factory=dict)
    code_url_pattern: str | None = None  # of the project, for code hosts that the service doesn't know
    canceled: Collection[str] = ()

    @property
    def baseline(self) -> JsonObject | None:
        """The run that the comparison refers to, or None if there is no earlier run to compare with."""
        baseline: JsonObject | None = self.comparison["baseline"]
        return baseline

    @property
    def failures(self) -> Sequence[JsonObject]:
        """The first failing results with their change."""
        return _first_failures(self.comparison)

    @property
    def is_partial(self) -> bool:
        """Whether the run has more failing and fixed results than were read."""
        return bool(self.comparison.get("has_more"))

    @property
    def failing(self) -> int:
        """The number of failing results."""
        return sum(self.comparison["counts"][change] for change in _TITLES)

    @property
    def unexplained_status(self) -> str:
        """The status of the run if no result explains it, such as `error` without an error, or an empty text."""
        run = self.run
        status: str = run["status"]
        explains = run["counts"]["error"] if status == "error" else self.failing
        is_explained = status == "passed" or (explains and status != "canceled")
        return "" if is_explained and not run.get("failures_missing") else status

    def groups(self) -> Iterator[ResultGroup]:
        """Yield the groups that have results: each kind of failure, and then the flaky results."""
        titles = _TITLES if self.baseline else _TITLES_WITHOUT_BASELINE
        for change, title in titles.items():
            if total := self.comparison["counts"][change]:
                yield ResultGroup(title, total, [item for item in self.failures if item["change"] == change])
        if total := self.run["counts"]["flaky"]:
            yield ResultGroup("Flaky results, passed after a failed attempt", total, self.flaky)

    def files(self) -> list[FileCount]:
        """Return the failing results per file."""
        is_compared = self.baseline is not None and not self.is_partial
        return _count_by_file(self.comparison["data"], is_compared=is_compared)

    def evidence(self, result: JsonObject, quote: Quote = str) -> str | None:
        """Return the evidence for the change of a result in words, or the job attempts of a flaky result."""
        if quarantine := self.quarantines.get(result.get("quarantine_id") or ""):
            return describe_quarantine(quarantine, quote)
        evidence = result.get("evidence")  # null for a failure that wasn't searched in the complete window
        if self.baseline is not None and evidence is not None:
            return describe_evidence(evidence, self.baseline["branch"], quote)
        detail = self.details.get(result["id"])
        if detail and result.get("flaky"):
            return describe_flaky(detail.get("part"), list(map(_to_execution, detail["attempt_details"])), quote)
        return None

    def locate(self, result: JsonObject, paths: RepositoryPaths) -> tuple[str | None, int | None]:
        """Return the file and line of a failure in the repository. Both can be unknown.

        A traceback can name another file than the case. It can be relative to any folder, or part of a library, so it
        must exist in the checkout.
        """
        detail = self.details.get(result["id"]) or {}
        failure, project, line = detail.get("failure") or {}, self.run["project_id"], detail.get("line") or None
        file = paths.find(result["file"], project) if result["file"] else None
        found = find_location((failure.get("details"), failure.get("message")), file, line, paths.exists)
        if found and found.file == file:
            return found
        if found and paths.can_contain(path := paths.find(found.file, project)):
            return path, found.line
        return file, line if file else None

    def file_url(self, path: str, line: int | None = None) -> str | None:
        """Return the link to a file of the repository at the tested commit, if its code host is known."""
        run = self.run
        links = code_links(run.get("repository_url"), pipeline=run.get("pipeline"), pattern=self.code_url_pattern)
        return links.file_url(run.get("commit_sha"), path, line)

    def describe_baseline(self, quote: Quote = str) -> str:
        """Return which run this run was compared with. Without one, a gate counts all failures as new."""
        consequence = ", so gates count all failures as new" if self.failing and not self.baseline else ""
        return describe_baseline(self.baseline, quote) + consequence

    def describe_missing_parts(self, decision: JsonObject | None = None, quote: Quote = str) -> str | None:
        """Return which parts sent no results, or None. A decision states which of them are allowed to be missing."""
        missing = (decision or self.comparison).get("missing_parts") or ()
        return describe_missing_parts(missing, self.run.get("parts") or (), self.canceled, quote)


def read_changes(server: Server, run: JsonObject, canceled: Collection[str] = ()) -> RunChanges:
    """Return the changes of a complete run, some of whose jobs can have been canceled. Raises ServerError."""
    filters = [*(("change", change) for change in (*_TITLES, _FIXED)), ("limit", str(_MAX_COMPARED))]
    comparison = server.get(f"{run_path(run['run_id'])}/comparison", filters)
    flaky = []
    if run["counts"]["flaky"]:
        filters = [("run_id", run["run_id"]), ("flaky", "true"), ("limit", str(_MAX_SHOWN))]
        flaky = server.get("/results", filters)["data"]
    failures = _first_failures(comparison)
    quarantines = read_quarantines(server, failures)
    details = _read_details(server, run, failures, flaky)
    project = server.get(f"/projects/{quote(run['project_id'], safe='')}") if details else {}
    return RunChanges(run, comparison, flaky, quarantines, details, project.get("code_url_pattern"), canceled)


def merge_by_details(
    results: Iterable[JsonObject], describe: Callable[[JsonObject], Iterable[str]]
) -> Mapping[tuple[str, ...], Sequence[JsonObject]]:
    """Return the results of one test by their details, so that variants with the same details share them."""
    merged: dict[tuple[str, ...], list[JsonObject]] = {}
    for result in results:
        merged.setdefault(tuple(describe(result)), []).append(result)
    return merged


def read_quarantines(server: Server, items: Sequence[JsonObject]) -> dict[str, JsonObject]:
    """Return the quarantines of items of a comparison by their IDs. Raises ServerError."""
    ids = {item["quarantine_id"] for item in items if item["quarantine_id"]}
    return {id_: server.get(f"/quarantines/{quote(id_, safe='')}") for id_ in sorted(ids)}


def _count_by_file(items: Iterable[JsonObject], *, is_compared: bool) -> list[FileCount]:
    """Return the counts of each file with failing or fixed results, those with the largest increase first.

    `items` are the failing and fixed results of a comparison. A result without a file isn't counted.
    """
    failing: Counter[str] = Counter()
    failed_before: Counter[str] = Counter()
    for item in items:
        if item["file"]:
            failing[item["file"]] += item["change"] != _FIXED
            failed_before[item["file"]] += item["baseline_status"] in FAILING
    counted = [
        FileCount(file, failing[file], failing[file] - failed_before[file] if is_compared else None) for file in failing
    ]
    return sorted(counted, key=lambda count: (-(count.change or 0), -count.failing, count.file))


def _to_execution(attempt: JsonObject) -> Execution:
    return Execution(attempt["attempt"], attempt["status"], attempt["job_attempt"])


def _first_failures(comparison: JsonObject) -> list[JsonObject]:
    return list(islice((item for item in comparison["data"] if item["change"] in _TITLES), _MAX_SHOWN))


def _read_details(
    server: Server, run: JsonObject, failures: Sequence[JsonObject], flaky: Sequence[JsonObject]
) -> dict[str, JsonObject]:
    """Return the first failures, whose lines are shown, and the first flaky results if a job was rerun."""
    is_rerun = any((part["attempt"] or 0) > 1 for part in run.get("parts") or ())
    items = chain(failures[:_MAX_DETAILS], flaky[: _MAX_DETAILS if is_rerun else 0])
    details = {item["id"]: server.find(f"/results/{quote(item['id'], safe='')}") for item in items}
    return {result_id: detail for result_id, detail in details.items() if detail}  # others were deleted
