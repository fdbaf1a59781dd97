"""The runs that a command reads: one run, or the runs of a CI pipeline."""

from typing import NamedTuple

import click

from service.client.arguments import selected_pipeline, selected_run
from service.client.ci import CiJob


class Selection(NamedTuple):
    """One run, or the runs of a pipeline. With `project`, only the run of this project."""

    run_id: str | None = None
    pipeline: str | None = None
    project: str | None = None


def select_runs(job: CiJob, run_id: str | None, project: str | None, *, pipeline: bool) -> Selection:
    """Return what the options and the CI job select. Raises click.UsageError."""
    if not pipeline:
        return Selection(selected_run(job, run_id, project, pipeline=False), project=project)
    if run_id:
        raise click.UsageError("--run-id: can't be combined with --pipeline")
    return Selection(pipeline=selected_pipeline(job), project=project)
