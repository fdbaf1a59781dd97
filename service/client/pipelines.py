"""The runs of a CI pipeline, and the projects that sent no results to it."""

import time
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from typing import Final, NamedTuple

from service.client.changes import RunChanges
from service.client.ci import earlier_run_id, pipeline_run_id
from service.client.http import ClientError, JsonObject, Server, TemporaryFailure, read_list
from service.client.runs import AwaitedRun, Deadline, await_run, find_run, list_receipts, list_receipts_of_pipeline
from service.client.selections import AbsentJobs, Selection
from service.client.servers import server_of
from service.client.terminal import print_message
from service.domain.texts import Quote
from service.receipts.model import describe_part

_PAGE: Final = "1000"
_PAUSE_S: Final = 2.0  # between requests for runs of which none exists yet


class MissingProject(NamedTuple):
    """A project that sent results to the pipeline of a baseline, and none to this pipeline.

    `canceled` is true if all of its jobs were canceled.
    """

    project: str
    allowed: bool
    canceled: bool = False

    @property
    def notes(self) -> list[str]:
        """Why the project sent no results, as far as it is known, and whether it can be missing."""
        return ["canceled"] * self.canceled + ["allowed"] * self.allowed


class AwaitedRuns(NamedTuple):
    """The runs at the end of a wait. `problem` states why runs that appeared during the wait are unknown."""

    runs: Sequence[AwaitedRun]
    problem: str | None = None


def await_runs(servers: Sequence[Server], selection: Selection, deadline: Deadline, *, completes: bool) -> AwaitedRuns:
    """Return the selected runs when they are complete, or with their problems. Raises ClientError.

    A pipeline that has no run at the end of the wait has an empty list. Its runs are listed again after the wait,
    because other runs can appear during it. With `completes`, the client completes the runs of a pipeline. An error
    about one run of a pipeline is its problem.
    """
    if selection.run_id is not None:
        return AwaitedRuns([await_run(_find_server(servers, selection.run_id), selection.run_id, deadline)])
    awaited: dict[str, AwaitedRun] = {}
    is_first = True
    while True:
        try:
            found = find_runs(servers, selection, required=completes)
        except ClientError as error:
            if not awaited:
                raise
            return AwaitedRuns(list(awaited.values()), f"runs that appeared during the wait are unknown: {error}")
        new = {run_id: listed for run_id, listed in found.items() if run_id not in awaited}
        for run_id, (server, run) in new.items():
            awaited[run_id] = _await_run_of_pipeline(server, run_id, run, deadline, completes=completes)
        if not new and (awaited or deadline.remaining_s <= 0):
            return AwaitedRuns(list(awaited.values()))
        if not new:
            if is_first:
                print_message(f"{describe_absence(selection)} yet; waiting for up to {deadline.remaining_s:.0f} s")
            time.sleep(min(_PAUSE_S, deadline.remaining_s))
        is_first = False


def describe_absence(selection: Selection) -> str:
    """Return that a run doesn't exist, or that a pipeline has none."""
    if selection.run_id is not None:
        return f"run {selection.run_id} doesn't exist"
    project = f" of project {selection.project}" if selection.project else " that the key can read"
    return f"pipeline {selection.pipeline} has no run{project}"


def list_runs(server: Server, pipeline: str, project: str | None = None) -> list[JsonObject]:
    """Return the runs of a pipeline that the key can read. Raises ServerError."""
    filters = {"pipeline": pipeline, "limit": _PAGE} | ({"project_id": project} if project else {})
    return read_list(server, "/runs", filters)


def find_runs(
    servers: Sequence[Server], selection: Selection, *, required: bool
) -> dict[str, tuple[Server, JsonObject | None]]:
    """Return the selected runs by their IDs, each with the server that is opened for its project. Raises ServerError.

    A run of a pipeline is None if only its reports exist, which a key might not be able to read unless `required`.
    """
    if selection.run_id is not None:
        server = _find_server(servers, selection.run_id)
        run = find_run(server, selection.run_id)
        return {selection.run_id: (server, run)} if run else {}
    found = {
        run_id: (server, run)
        for server in servers
        for run_id, run in _find_runs_of_key(server, selection, required=required).items()
    }
    return dict(sorted(found.items()))


def find_missing_projects(
    servers: Sequence[Server],
    selection: Selection,
    compared: Iterable[RunChanges],
    present: Collection[str],
    absent: AbsentJobs,
) -> list[MissingProject]:
    """Return the projects that have runs in the pipelines of the baselines, and none here. Raises ServerError.

    With one run or project selected, others don't count. `present` are the projects with a run here. A glob of
    `absent` allows the project with this name, and globs that match all of its jobs do so too, such as the jobs that
    GitHub skipped.
    """
    if selection.pipeline is None or selection.project is not None:
        return []
    baselines = {changes.baseline["run_id"] for changes in compared if changes.baseline}
    missing: dict[str, JsonObject] = {}
    for pipeline in _pipelines_of(servers, baselines):
        for run in chain.from_iterable(list_runs(server, pipeline) for server in servers):
            if run["project_id"] not in present:
                missing.setdefault(run["project_id"], run)
    return [_describe_project(server_of(servers, project), run, absent) for project, run in sorted(missing.items())]


def describe_missing_projects(missing: Sequence[MissingProject], present: int, quote: Quote = str) -> str | None:
    """Return which of the projects of a pipeline sent no results, or None if no project is missing."""
    if not missing:
        return None
    listed = "; ".join(describe_part({"part": project.project}, project.notes, quote=quote) for project in missing)
    total = present + len(missing)
    return f"{len(missing)} of {total} projects sent no results: {listed}"


def _find_server(servers: Sequence[Server], run_id: str) -> Server:
    """Return the server whose project has the run, so that --project isn't necessary. Raises ClientError."""
    if len(servers) == 1:
        return servers[0]
    found = next((server for server in servers if find_run(server, run_id)), None)
    if found is None:
        projects = ", ".join(server.project or "" for server in servers)
        raise ClientError(f"run {run_id} doesn't exist in {projects}. To wait for it, state its project with --project")
    return found


def _await_run_of_pipeline(
    server: Server, run_id: str, listed: JsonObject | None, deadline: Deadline, *, completes: bool
) -> AwaitedRun:
    """Return the run, also after an error. Raises TemporaryFailure if the server doesn't respond at all."""
    try:
        return await_run(server, run_id, deadline, completes=completes)
    except ClientError as error:
        if isinstance(error, TemporaryFailure) and error.status is None:
            raise
        return AwaitedRun(run_id, listed, str(error), is_error=True)


def _find_runs_of_key(server: Server, selection: Selection, *, required: bool) -> dict[str, JsonObject | None]:
    """Return the runs that a key can read: None for one that doesn't exist, but has a report or event.

    Runs and receipts state their pipeline, except runs of earlier clients, whose run ID doesn't contain the project.
    """
    pipeline, project = selection.pipeline or "", selection.project
    found: dict[str, JsonObject | None] = {run["run_id"]: run for run in list_runs(server, pipeline, project)}
    earlier = find_run(server, earlier_run_id(pipeline))
    if earlier and project in (None, earlier["project_id"]) and earlier.get("pipeline") in (None, pipeline):
        found[earlier["run_id"]] = earlier
    for receipt in _list_receipts(server, pipeline, project, required=required):
        if receipt["run_id"] and receipt["status"] not in ("stored", "partial"):
            found.setdefault(receipt["run_id"], None)
    return found


def _list_receipts(server: Server, pipeline: str, project: str | None, *, required: bool) -> list[JsonObject]:
    """Return the receipts of the pipeline, or of the run of a project, because a receipt doesn't state it."""
    if project:
        return list_receipts(server, pipeline_run_id(pipeline, project), required=required)
    of_earlier_run = list_receipts(server, earlier_run_id(pipeline), required=required)
    stated = list_receipts_of_pipeline(server, pipeline, required=required)
    return [receipt for receipt in of_earlier_run if receipt.get("pipeline") is None] + stated


def _pipelines_of(servers: Sequence[Server], run_ids: Collection[str]) -> list[str]:
    runs = (find_run(server, run_id) for run_id in sorted(run_ids) for server in servers)
    return sorted({run["pipeline"] for run in runs if run and run.get("pipeline")})


def _describe_project(server: Server, run: JsonObject, absent: AbsentJobs) -> MissingProject:
    """Return a missing project that has this run in the pipeline of a baseline."""
    project = run["project_id"]
    detail = (find_run(server, run["run_id"]) if any(absent) else None) or {}
    jobs = {part["part"] or "" for part in detail.get("parts") or ()}
    is_allowed = absent.allow(project) or (bool(jobs) and all(map(absent.allow, jobs)))
    return MissingProject(project, is_allowed, bool(jobs) and jobs <= set(absent.canceled))
