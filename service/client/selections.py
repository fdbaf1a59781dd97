"""What the options and the CI job select: one run or the runs of a pipeline, and jobs that can send no results."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import click

from service.client.ci import CiJob, pipeline_run_id
from service.domain.globs import SearchedText


class Selection(NamedTuple):
    """One run, or the runs of a pipeline. With `project`, only the run of this project."""

    run_id: str | None = None
    pipeline: str | None = None
    project: str | None = None


class AbsentJobs(NamedTuple):
    """What a request states about jobs without results: globs of those that can be missing, and the canceled ones."""

    allowed: Sequence[str] = ()
    canceled: Collection[str] = ()

    def allow(self, name: str) -> bool:
        """Return whether one of the globs matches the name of a part or project."""
        return any(SearchedText(name).matches(glob) for glob in self.allowed)


def select_runs(job: CiJob, run_id: str | None, project: str | None, *, pipeline: bool) -> Selection:
    """Return what the options and the CI job select. Raises click.UsageError."""
    if not pipeline:
        return Selection(selected_run(job, run_id, project, pipeline=False), project=project)
    if run_id:
        raise click.UsageError("--run-id: can't be combined with --pipeline")
    return Selection(pipeline=_pipeline_of(job), project=project)


def selected_run(job: CiJob, run_id: str | None, project: str | None, *, pipeline: bool) -> str:
    """Return the ID of the run that the options and the CI job select. Raises click.UsageError."""
    if run_id and pipeline:
        raise click.UsageError("--run-id: can't be combined with --pipeline")
    if pipeline:
        stated = _pipeline_of(job)
        if not project:
            raise click.UsageError("--project: must be set with --pipeline, or set RESULTS_PROJECT")
        return pipeline_run_id(stated, project)
    selected = run_id or job.run_id
    if selected is None:
        raise click.UsageError("--run-id: must be set outside of a known CI system")
    return selected


def _pipeline_of(job: CiJob) -> str:
    """Return the pipeline of the CI job. Raises click.UsageError."""
    if job.pipeline is None:
        raise click.UsageError("--pipeline: can't be used outside of a known CI system. Use --run-id")
    return job.pipeline
