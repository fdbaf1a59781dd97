"""The runs that a command reads, one run or those of a CI pipeline, and their jobs that can send no results."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import click

from service.client.arguments import selected_pipeline, selected_run
from service.client.ci import CiJob
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
    return Selection(pipeline=selected_pipeline(job), project=project)
