"""The changes of a run: its failures by kind of change, and the evidence in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import quote

from service.client.http import JsonObject, Server
from service.client.runs import run_path
from service.domain.evidence import describe_baseline, describe_evidence, describe_quarantine

_MAX_SHOWN: Final = 50  # failures, and flaky results

# Each kind of change that is a failure, with its title, in the order of the groups.
_TITLES: Final = {
    "new_failure": "New failures",
    "flaky_failure": "Failures of flaky cases",
    "known_failure": "Known failures",
    "quarantined": "Quarantined failures",
}


class ResultGroup(NamedTuple):
    """Results under one title. `total` also counts results that aren't shown."""

    title: str
    total: int
    results: Sequence[JsonObject]


@dataclass(frozen=True, slots=True)
class RunChanges:
    """The failures of a run, compared with its baseline, and the results that passed after a failed attempt."""

    run: JsonObject
    comparison: JsonObject
    flaky: Sequence[JsonObject]
    quarantines: dict[str, JsonObject]

    @property
    def baseline(self) -> JsonObject | None:
        """The run that the comparison refers to, or None if there is no earlier run to compare with."""
        baseline: JsonObject | None = self.comparison["baseline"]
        return baseline

    @property
    def failures(self) -> Sequence[JsonObject]:
        """The first failing results with their change."""
        failures: Sequence[JsonObject] = self.comparison["data"]
        return failures

    def groups(self) -> Iterator[ResultGroup]:
        """Yield the groups that have results: each kind of failure, and then the flaky results."""
        for change, title in _TITLES.items():
            if total := self.comparison["counts"][change]:
                yield ResultGroup(title, total, [item for item in self.failures if item["change"] == change])
        if total := self.run["counts"]["flaky"]:
            yield ResultGroup("Flaky results, passed after a failed attempt", total, self.flaky)

    def evidence(self, result: JsonObject) -> str | None:
        """Return the evidence for the change of a result in words, or None without a comparison."""
        if quarantine := self.quarantines.get(result.get("quarantine_id") or ""):
            return describe_quarantine(quarantine)
        evidence = result.get("evidence")  # null for a failure that wasn't searched in the complete window
        if self.baseline is None or evidence is None:
            return None
        return describe_evidence(evidence, self.baseline["branch"])

    def describe_baseline(self) -> str:
        """Return which run this run was compared with."""
        return describe_baseline(self.baseline)


def read_changes(server: Server, run: JsonObject) -> RunChanges:
    """Return the changes of a complete run. Raises ServerError."""
    filters = [*(("change", change) for change in _TITLES), ("limit", str(_MAX_SHOWN))]
    comparison = server.get(f"{run_path(run['run_id'])}/comparison", filters)
    flaky = []
    if run["counts"]["flaky"]:
        filters = [("run_id", run["run_id"]), ("flaky", "true"), ("limit", str(_MAX_SHOWN))]
        flaky = server.get("/results", filters)["data"]
    return RunChanges(run, comparison, flaky, read_quarantines(server, comparison["data"]))


def read_quarantines(server: Server, items: Sequence[JsonObject]) -> dict[str, JsonObject]:
    """Return the quarantines of items of a comparison by their IDs. Raises ServerError."""
    ids = {item["quarantine_id"] for item in items if item["quarantine_id"]}
    return {id_: server.get(f"/quarantines/{quote(id_, safe='')}") for id_ in sorted(ids)}
