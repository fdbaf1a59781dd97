"""The options that describe an upload of reports, which `report` and `run` share, and the defaults of a CI job."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from service.client import arguments
from service.client.arguments import Command, run_options
from service.client.ci import CiJob, current_job, untrusted_run_id
from service.client.owners import pack_owners
from service.client.selections import selected_run

if TYPE_CHECKING:
    from service.client.servers import ServerKey

ReportFields = Sequence[tuple[str, str]]

_OPTIONS: Final = (
    run_options,
    arguments.project_option(
        help_text="Project of the run.  [default without a key: that of the only trusted publisher of the job]",
    ),
    click.option(
        "--untrusted",
        is_flag=True,
        help="Send to an untrusted run, whose ID begins with `untrusted:`, with a key of the"
        " role public. For pull requests from forks. `promote` makes the run trusted.",
    ),
    click.option("--environment", type=arguments.IDENTIFIER, help="System under test, for example staging."),
    click.option("--branch", type=arguments.BRANCH, help="Tested branch.  [default: the branch of the CI job]"),
    click.option(
        "--commit", "commit_sha", type=arguments.TEXT, help="Tested commit.  [default: the commit of the CI job]"
    ),
    click.option("--ci-url", type=arguments.TEXT, help="Link to the job.  [default: the page of the CI job]"),
    click.option(
        "--base-branch", type=arguments.BRANCH, help="Target branch of the pull request.  [default: that of the CI job]"
    ),
    click.option(
        "--pull-request", type=arguments.IDENTIFIER, help="Number of the pull request.  [default: that of the CI job]"
    ),
    click.option(
        "--title", type=arguments.TITLE,
        help="What the run tests.  [default: the title of the pull request, or the first line of the commit message]",
    ),
    click.option("--author", type=arguments.TITLE, help="Author of the change.  [default: that of the CI job]"),
    click.option(
        "--workflow", type=arguments.TITLE, help="Name of the pipeline or workflow.  [default: that of the CI job]"
    ),
    click.option("--job-url", type=arguments.HTTPS_URL, help="Page of the job.  [default: that of the CI job]"),
    click.option(
        "--repository-url", type=arguments.HTTPS_URL, help="Page of the repository.  [default: that of the CI job]"
    ),
    click.option("--label", "labels", multiple=True, type=arguments.LABEL, help="Label of the run; repeatable."),
    click.option(
        "--shard", type=arguments.SHARD,
        help="Part of the run that the files contain, for example 2/8, or 2 if the number of parts is unknown.  "
        "[default with --pipeline and without --variant: the number of the parallel job]",
    ),
    click.option(
        "--variant", multiple=True, type=arguments.VARIANT,
        help="Pair that distinguishes this job in a matrix, for example os:linux; repeatable.",
    ),
    click.option(
        "--owners", "owners_map", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
        help='JSON object of globs of files and their owners, for example {"tests/*": "@acme/qa"}, for files without'
        " owners in CODEOWNERS of the checkout, which is always used. The last matching glob counts.",
    ),
    click.option(
        "--root", type=arguments.ROOT,
        help="Folder of the checkout where the tests were executed, for files with absolute paths.  [default: the root"
        " of the repository, or the working directory]",
    ),
    click.option(
        "--path-prefix", type=arguments.PATH_PREFIX,
        help="Folder of the repository to which the files in the reports are relative, or `.` for its root.  [default:"
        " of the folders around each report and the working directory, the one that contains most of its files, or"
        " else the only one in the repository that contains all of them]",
    ),
    click.option("--part", type=arguments.IDENTIFIER, help="Name of the CI job.  [default: that of the CI job]"),
    click.option(
        "--attempt", type=arguments.ATTEMPT,
        help="Attempt of the CI job. A rerun has a higher number, and its results are attempts of the same cases."
        "  [default: that of the CI job]",
    ),
    click.option("--not-final", is_flag=True, help="Expect further uploads. `gate --pipeline` completes the run."),
    click.option(
        "--allow-empty", is_flag=True, help="State that the run passed if the files contain no results.  "
        "[default: a run without results is an error]",
    ),
)  # fmt: skip


ignore_option: Final = click.option(
    "--ignore", "ignored", multiple=True, metavar="GLOB",
    help="Leave out files, for example '*.log' or 'legacy/*'; repeatable. Files in archives are always read.",
)  # fmt: skip


class UploadOptions(NamedTuple):
    """What the options and the CI job state about an upload: its run, and the query parameters of the request.

    `expects_new` is true if results that another job has sent before are not expected. `owners` is the file with the
    owners of the tested files, or None.
    """

    run_id: str
    fields: ReportFields
    expects_new: bool
    owners: bytes | None = None

    @property
    def project(self) -> str:
        """The project of the run."""
        return dict(self.fields)["project_id"]


def upload_options(command: Command) -> Command:
    """Add the options that describe an upload. `select_upload` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def attachment_options(command: Command) -> Command:
    """Add the options that select the files to upload in addition to the reports."""
    attach = click.option(
        "--attach", "attached", multiple=True, metavar="GLOB",
        help="Upload further files to the run, for example 'coverage/**'; repeatable.",
    )  # fmt: skip
    none = click.option(
        "--no-attachments", is_flag=True,
        help="Don't upload the files that the reports name, such as screenshots.  [default: upload those in the"
        " checkout and in the folder of the report]",
    )  # fmt: skip
    return attach(none(command))


def select_upload(
    url: str | None, key: "ServerKey | None", *, run_id: str | None, pipeline: bool, untrusted: bool,
    allow_empty: bool, not_final: bool, owners_map: Path | None, **options: Any,
) -> UploadOptions:  # fmt: skip
    """Return the upload that the options and the CI job describe. Raises click.UsageError and ClientError."""
    job = current_job(os.environ)
    if untrusted and not isinstance(key, str):
        raise click.UsageError("--untrusted: needs a key with the role public in RESULTS_API_KEY or --key")
    options["project_id"] = options["project_id"] or _default_project(url, key)
    selected = selected_run(job, run_id, options["project_id"], pipeline=pipeline)
    selected = untrusted_run_id(selected) if untrusted else selected
    if not pipeline or options["variant"]:
        job = job._replace(shard=None)  # the job has its own run or variant
    if not (options["part"] or job.part):
        job = job._replace(attempt=None)  # attempts of unnamed jobs would be attempts of each other
    states_all_shards = "/" in (options["shard"] or "")
    waits_for_others = not_final or (pipeline and not states_all_shards)
    options["final"] = "false" if waits_for_others else None
    options["allow_empty"] = "true" if allow_empty else None
    fields = _report_fields(options, job)
    owners = None if untrusted else pack_owners(owners_map)  # a fork doesn't decide them
    return UploadOptions(selected, fields, pipeline and "attempt" not in dict(fields), owners)


def _default_project(url: str | None, key: "ServerKey | None") -> str:
    """Return the only project whose trusted publisher accepts this CI job. Raises ClientError and click.UsageError."""
    if url is None or key is None or isinstance(key, str):
        raise click.UsageError("--project: must be set, or set RESULTS_PROJECT")
    from service.client.report import default_project  # which is loaded with the server

    return default_project(url, key)


def _report_fields(options: dict[str, Any], job: CiJob) -> list[tuple[str, str]]:
    """Return the query parameters of the upload. The CI job sets those that the options don't."""
    repeated = {"labels": options.pop("labels"), "variant": options.pop("variant")}
    stated = job._asdict()
    fields = [(name, value or stated.get(name)) for name, value in (options | {"pipeline": None}).items()]
    fields += [(name, value) for name, values in repeated.items() for value in values]
    return [(name, value) for name, value in fields if value]
