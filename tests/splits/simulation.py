"""Simulations of pipelines with splits: the code of the client and of the plan, and a server in memory.

A seed selects a pipeline (tests/splits/pipelines.py), and the order in which its jobs take their steps. The truth is
kept apart from the code under test: the items that a test tool executed, and those with results that were stored.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from service.client.ci import CiJob
from service.splits import model
from service.splits.model import Assignment, MissingItem
from tests.splits.client import Conflict, Machine, Plan, Request, simulated_machine
from tests.splits.pipelines import Attempt, Job, Plot, create_plot, executed_items, is_executed_again

_PIPELINE: Final = "812"
_EARLIER_PIPELINE: Final = "811"

COUNTED_UPLOADS: frozenset[str] = frozenset({"stored"})  # the receipts whose assignments count

Named = tuple[str, str]  # the key of a split, and an item


class Upload(NamedTuple):
    """An accepted upload. `part` and `attempt` tell which earlier upload it supersedes."""

    part: tuple[Any, ...]
    attempt: int
    documents: Sequence[Mapping[str, Any]]
    executed: frozenset[Named]
    is_unfinished: bool


class Server:
    """The plans of a pipeline and its accepted uploads, as the API promises."""

    def __init__(self, durations_ms: Mapping[str, int]) -> None:
        self.uploads: list[Upload] = []
        self.plans: dict[str, Plan] = {}
        self._planned: dict[str, Sequence[str]] = {}
        self._durations_ms = durations_ms

    def put(self, key: str, total: int, items: Sequence[str]) -> Plan:
        """Store the plan of the first request, and return it to each equal one. Raises Conflict for others."""
        if key not in self.plans:
            self.plans[key] = model.plan_parts(items, self._durations_ms, total).parts
            self._planned[key] = items
        plan, difference = self.plans[key], model.describe_difference(self._planned[key], items)
        if difference or len(plan) != total:
            raise Conflict(difference or f"the total of the plan is {len(plan)}")
        return plan

    def find_missing(self) -> list[MissingItem]:
        """Return the missing items of all splits of the pipeline."""
        stated = [document for upload in self.uploads for document in upload.documents]
        executed = {item for upload in self.uploads for _, item in upload.executed}
        missing: list[MissingItem] = []
        for key in sorted({*self.plans, *(document["key"] for document in stated)}):
            planned = {item: number for number, part in enumerate(self.plans.get(key, ()), 1) for item in part}
            assignments = [_read(document) for document in stated if document["key"] == key]
            names = {item: item for one in assignments for item in (*one.items, *(one.all_items or ()))}
            missing += model.find_missing_items(key, planned, assignments, names, self._durations_ms.keys(), executed)
        return missing

    def has_unfinished(self) -> bool:
        """Return whether the newest upload of a part states that its results are unfinished."""
        newest: dict[tuple[Any, ...], int] = {}
        for upload in self.uploads:
            newest[upload.part] = max(upload.attempt, newest.get(upload.part, 0))
        return any(upload.is_unfinished and upload.attempt == newest[upload.part] for upload in self.uploads)


def _read(document: Mapping[str, Any]) -> Assignment:
    return Assignment(
        document["key"],
        document["unit"],
        document["total"],
        document["index"],
        document["items"],
        document.get("all_items"),
        document["expects_results"],
    )


@dataclass
class Outcome:
    """What happened in a pipeline. An item is lost if no job executed it, and unseen if no stored upload has it.

    `violations` are errors of any pipeline: an item twice in one plan, or workers of a job with different items.
    """

    seed: int
    lost: set[Named] = field(default_factory=set)
    unseen: set[Named] = field(default_factory=set)
    missing: set[Named] = field(default_factory=set)
    failed_jobs: int = 0
    hidden_uploads: int = 0
    conflicts: int = 0
    is_unfinished: bool = False
    has_results: bool = False
    violations: list[str] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)  # of missing items that a job executed
    log: list[str] = field(default_factory=list)

    @property
    def gate_passes(self) -> bool:
        return self.has_results and not (self.missing or self.is_unfinished)

    @property
    def is_green(self) -> bool:
        """Whether the gate passes, and the newest attempt of each job succeeded, so without a conflict."""
        return self.gate_passes and not self.failed_jobs

    @property
    def silent(self) -> set[Named]:
        """The items without stored results in a green pipeline."""
        return self.unseen if self.is_green else set()

    def find_errors(self) -> list[str]:
        """Return what must never happen.

        A limit is known: a job that succeeds without a stored report can be the only one that knows an item.
        """
        silent = () if self.hidden_uploads else sorted(self.silent)
        return [*self.violations, *(f"{key}: {item} is lost, and the pipeline is green" for key, item in silent)]

    @property
    def is_wrongly_red(self) -> bool:
        """Whether only missing items block the pipeline although jobs executed everything."""
        return not (self.failed_jobs or self.is_unfinished or self.lost) and bool(self.missing)


class Execution:
    """The execution of a plot with the code under test."""

    def __init__(self, plot: Plot, folder: Path, machine: Machine) -> None:
        self._plot, self._folder, self._machine = plot, folder, machine
        self._server = Server(plot.durations_ms)
        self._executed: set[Named] = set()
        self._stored: set[Named] = set()
        self._unsent: dict[Named, str] = {}
        self._numbers: dict[tuple[str, int, str, bool], int] = {}
        self._owners: dict[int, Job] = {}
        self._commits = dict.fromkeys(plot.items, 0)
        self.outcome = Outcome(plot.seed)

    def run(self) -> Outcome:
        """Let the jobs take their steps in a random order, and then evaluate the gate."""
        self._leave_assignments()
        random = Random(self._plot.seed)
        running = [self._run_job(job) for job in self._plot.jobs]
        while running:
            position = random.randrange(len(running))
            if next(running[position], self) is self:
                del running[position]
        return self._evaluate()

    def _leave_assignments(self) -> None:
        """Write the assignments of an earlier pipeline into the shared workspaces, as a self-hosted runner would."""
        if self._plot.stale_total is None:
            return
        for job in self._plot.jobs:
            for key in self._plot.items if job.runner is not None else ():
                request = self._request(key, 0, self._plot.stale_total, 1, _EARLIER_PIPELINE)
                self._machine.use(self._workspace(job, 0), self._ci_job(job, 1, _EARLIER_PIPELINE)).split(request)

    def _run_job(self, job: Job) -> Generator[None]:
        succeeded = False
        for retries, attempt in enumerate(job.attempts):
            if retries and not is_executed_again(attempt, succeeded=succeeded):
                break
            while job.runner is not None and self._owners.setdefault(job.runner, job) is not job:
                yield
            self._commits |= {key: max(self._commits[key], attempt.commit) for key in job.keys}
            succeeded = yield from self._run_attempt(job, attempt, retries + 1)
            if job.runner is not None:
                del self._owners[job.runner]
            yield
        self.outcome.failed_jobs += not succeeded

    def _run_attempt(self, job: Job, attempt: Attempt, number: int) -> Generator[None, None, bool]:
        """Execute one attempt of a job, and return whether it succeeded."""
        workspace, ci_job = self._workspace(job, number), self._ci_job(job, number, _PIPELINE)
        parts: dict[str, list[str]] = {}
        if attempt.fate != "killed_before_split":
            for key in job.keys:
                request = self._request(key, attempt.commit, job.total + attempt.total_change, job.number, _PIPELINE)
                try:
                    parts[key] = self._split(workspace, ci_job, request, attempt)
                except Conflict:
                    self.outcome.conflicts += 1
                    self._log(job, number, "conflict")
                    return False
                yield
        executed = {
            (key + job.copy, item)
            for key, part in parts.items()
            for item in executed_items(part, attempt, self._plot.durations_ms)
        }
        self._executed |= executed
        self._log(job, number, f"{attempt.fate}: executed {len(executed)} of {sum(map(len, parts.values()))} items")
        yield
        is_uploaded = attempt.fate not in ("killed_after_split", "killed_before_upload")
        succeeded = attempt.fate in ("ok", "drops_item")
        is_stored = is_uploaded and self._upload(workspace, ci_job, job, attempt, number, executed)
        for named in executed - self._stored:
            self._unsent[named] = f"upload {attempt.upload}" if is_uploaded else "killed before the upload"
        self.outcome.hidden_uploads += succeeded and not is_stored and not self._plot.is_strict
        return succeeded and (is_stored or not self._plot.is_strict)

    def _split(self, workspace: Path, ci_job: CiJob, request: Request, attempt: Attempt) -> list[str]:
        """Let each worker of a test tool request the part. Every second one finds the server in another state."""
        found = []
        for worker in range(attempt.workers):
            is_up = attempt.reaches_server != bool(worker % 2)
            found.append(self._machine.use(workspace, ci_job, self._server.put if is_up else None).split(request))
        documents = self._machine.use(workspace, ci_job).find_assignments(self._run_id(_PIPELINE))
        follows_plan = all(one.get("all_items") is None for one in documents if one["key"] == request.key)
        if any(part != found[0] for part in found):
            self.outcome.violations.append(f"workers of a job have different items: {found}")
        for item in found[0]:
            followed = (request.key, request.total, item, follows_plan)
            if self._numbers.setdefault(followed, request.number) != request.number:
                numbers = (self._numbers[followed], request.number)
                self.outcome.violations.append(f"{item} is twice in one plan of {request.total} parts: {numbers}")
        return found[0]

    def _upload(
        self, workspace: Path, ci_job: CiJob, job: Job, attempt: Attempt, number: int, executed: set[Named]
    ) -> bool:
        is_unfinished = attempt.fate not in ("ok", "drops_item")
        machine = self._machine.use(workspace, ci_job)
        documents = machine.find_assignments(self._run_id(_PIPELINE), is_unfinished=is_unfinished)
        self._log(job, number, f"upload {attempt.upload} with {[(one['key'], one['index']) for one in documents]}")
        if attempt.upload not in COUNTED_UPLOADS:
            return False
        is_stored = attempt.upload == "stored"
        parts: dict[str, tuple[Any, ...]] = {
            "github": (job.name,),
            "buildkite": (job.name, job.copy, job.number),
            "none": (),
        }
        part, items = parts[self._plot.system], frozenset(executed if is_stored else ())
        order = number if self._plot.system != "none" else len(self._server.uploads) + 1
        self._server.uploads.append(Upload(part, order, documents, items, is_unfinished))
        self._stored |= items
        return is_stored

    def _evaluate(self) -> Outcome:
        outcome = self.outcome
        required = {
            (key + job.copy, item)
            for job in self._plot.jobs
            for key in job.keys
            for item in self._plot.items[key][self._commits[key]]
        }
        outcome.lost = required - self._executed
        outcome.unseen = required - self._stored
        outcome.missing = {(missing.key, missing.item) for missing in self._server.find_missing()}
        outcome.has_results = bool(self._stored)
        outcome.is_unfinished = self._server.has_unfinished()
        for named in outcome.missing - outcome.lost:
            not_sent = "assignment not sent" if named in self._stored else self._unsent.get(named, "not executed")
            outcome.causes["item of an older commit" if named not in required else not_sent] += 1
        return outcome

    def _request(self, key: str, commit: int, total: int, number: int, pipeline: str) -> Request:
        items = self._plot.items[key][commit]
        run_id = self._run_id(pipeline) if self._plot.system == "none" else None
        return Request(key, max(number, total), number, sorted(items), run_id)

    def _workspace(self, job: Job, number: int) -> Path:
        own = f"{job.name}-{'-'.join(job.keys)}{job.copy}-{job.number}-{number}"
        path = self._folder / (own if job.runner is None else f"runner-{job.runner}")
        path.mkdir(exist_ok=True)
        return path

    def _ci_job(self, job: Job, number: int, pipeline: str) -> CiJob:
        """Return the job as its variables describe it. GitHub has one name and one page for all jobs of a matrix."""
        if self._plot.system == "none":
            return CiJob()
        page = f"https://ci.example.org/{pipeline}/attempts/{number}"
        run = self._run_id(pipeline)
        if self._plot.system == "github":
            return CiJob(pipeline=run, part=job.name, attempt=str(number), job_url=page)
        page += f"#{'-'.join(job.keys)}{job.copy}-{job.number}"
        return CiJob(pipeline=run, part=job.name, attempt=str(number), job_url=page, shard=str(job.number))

    def _run_id(self, pipeline: str) -> str:
        """Return the pipeline, or the run outside of the known CI systems."""
        return f"{self._plot.system}-{pipeline}"

    def _log(self, job: Job, number: int, text: str) -> None:
        self.outcome.log.append(f"{'+'.join(job.keys)}{job.copy} {job.number}/{job.total}, attempt {number}: {text}")


def simulate(seed: int, folder: Path, change: Callable[[Plot], Plot] = lambda plot: plot) -> Outcome:
    """Return what happens in the pipeline of a seed, in a folder for workspaces."""
    place = folder / str(seed)
    place.mkdir()
    try:
        with simulated_machine(place) as machine:
            return Execution(change(create_plot(seed)), place, machine).run()
    finally:
        shutil.rmtree(place)
