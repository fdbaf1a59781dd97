"""A model of the client of Buildkite Test Engine, as its repository documents it (bktec 3, July 2026).

Each job requests the plan of `build/step`. The first request creates it, and later ones get it, also with other items
and another total. A job without a response, or with an error of the server, sorts its own items and executes those
whose position modulo the total is its index. The result of the pipeline is that of the newest attempt of each job.

Assumed in favor of bktec: every job whose plan names a file that its commit lacks fails, and so does a job whose index
is above the total of the plan. No job disturbs another one in its workspace.
"""

from collections.abc import Collection
from random import Random

from service.splits.model import plan_parts
from tests.splits.pipelines import Attempt, Job, Plot, executed_items, is_executed_again


class PerNodeFallback:
    """The jobs of a pipeline that follow the plan of the server, or their own split."""

    def __init__(self, plot: Plot) -> None:
        self._plot = plot
        self._plans: dict[str, list[list[str]]] = {}
        self._executed: dict[str, set[str]] = {key: set() for key in plot.items}
        self._commits = dict.fromkeys(plot.items, 0)

    def run(self) -> tuple[bool, int]:
        """Return whether the pipeline is green, and the number of items that no job executed."""
        random = Random(self._plot.seed)
        jobs = list(self._plot.jobs)
        random.shuffle(jobs)
        succeeded = [self._run_job(job) for job in jobs]
        lost = (set(of_key[self._commits[key]]) - self._executed[key] for key, of_key in self._plot.items.items())
        return all(succeeded), sum(map(len, lost))

    def _run_job(self, job: Job) -> bool:
        is_green = False
        for retries, attempt in enumerate(job.attempts):
            if retries and not is_executed_again(attempt, succeeded=is_green):
                break
            self._commits |= {key: max(self._commits[key], attempt.commit) for key in job.keys}
            succeeded = [self._execute(job, attempt, key) for key in job.keys]
            is_green = all(succeeded)
        return is_green

    def _execute(self, job: Job, attempt: Attempt, key: str) -> bool:
        items = self._plot.items[key][attempt.commit]
        total = max(job.number, job.total + attempt.total_change)
        if attempt.fate == "killed_before_split":
            return False
        part = self._find_part(key, items, total, job.number, reaches_server=attempt.reaches_server)
        if part is None or not items.issuperset(part):
            return False
        self._executed[key].update(executed_items(part, attempt, self._plot.durations_ms))
        return attempt.fate in ("ok", "drops_item")

    def _find_part(
        self, key: str, items: Collection[str], total: int, number: int, *, reaches_server: bool
    ) -> list[str] | None:
        if not reaches_server:
            return sorted(items)[number - 1 :: total]
        if key not in self._plans:
            self._plans[key] = [list(part) for part in plan_parts(items, self._plot.durations_ms, total).parts]
        plan = self._plans[key]
        return plan[number - 1] if number <= len(plan) else None
