"""The options that `gate` shares with `comment` and `gates`: missing parts, folders of files, and limits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click

from service.client.arguments import NAME, NEEDS, RATE, read_needs
from service.client.checkout import RepositoryPaths
from service.client.selections import AbsentJobs
from service.command_line import CheckedText, IntegerRange
from service.domain.filter_types import TextType
from service.domain.report_fields import check_path_prefix

_parse_text: Final = TextType(1_000).parse


def missing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that allow parts to be missing. `select_absent` reads them."""
    needs = click.option(
        "--needs", type=NEEDS, metavar="JSON",
        help="Let jobs that GitHub Actions skipped send no results, unless a job failed or was canceled. A job that"
        " was canceled is named as such."
        " Use a variable with the value ${{ toJSON(needs) }}, such as \"$NEEDS\".",
    )  # fmt: skip
    allowed = click.option(
        "--allow-missing-parts", "allowed_parts", multiple=True, is_flag=False, flag_value="*", type=NAME,
        metavar="[GLOB]", help="Let CI jobs, or projects of a pipeline, whose name matches GLOB send no results;"
        " repeatable.  [default GLOB: any]",
    )  # fmt: skip
    return allowed(needs(command))


def select_absent(allowed_parts: Sequence[str], needs: str | None) -> AbsentJobs:
    """Return the globs of the parts that can be missing, and the jobs that were canceled."""
    skipped, canceled = read_needs(needs) if needs else ((), ())
    return AbsentJobs((*allowed_parts, *skipped), canceled)


def path_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option with the folders of files. `select_paths` reads it."""
    return click.option(
        "--path-prefix", "prefixes", multiple=True, type=CheckedText(_check_prefix, "FOLDER"),
        metavar="[PROJECT=]FOLDER",
        help="Folder of the repository to which the files in reports are relative, for all projects or for one;"
        " repeatable.  [default: the working directory for files that exist in it, or else the root of the"
        " repository]",
    )(command)  # fmt: skip


def select_paths(prefixes: Iterable[str]) -> RepositoryPaths:
    """Return the location of files in the checkout. The folder without a project applies to all other projects."""
    pairs = (prefix.rpartition("=") for prefix in prefixes)
    return RepositoryPaths.of_checkout({project: check_path_prefix(folder) for project, _, folder in pairs})


def _check_prefix(text: str) -> str:
    check_path_prefix(_parse_text(text).rpartition("=")[2])
    return text


def policy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each limit of a policy. `selected_limits` reads them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selected_limits(options: Mapping[str, Any]) -> dict[str, float]:
    """Return the limits that are set."""
    return {name: limit for name, limit in options.items() if limit is not None}


def _count(option: str, help_text: str, minimum: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(option, type=IntegerRange(minimum), metavar="N", help=help_text)


_OPTIONS: Final = (
    _count("--max-failures", "Maximum number of failures."),
    _count("--max-new-failures", "Maximum number of new failures."),
    _count("--max-flaky", "Maximum number of flaky results."),
    click.option("--min-pass-rate", type=RATE, help="Minimum pass rate, from 0 to 1."),
    _count("--min-results", "Minimum number of executed results.  [default: 1]", minimum=1),
    _count("--max-missing-cases", "Maximum number of cases that the baseline executed and this run lacks."),
    _count("--max-missing-items", "Maximum number of items of splits that no job executed.  [default: 0]"),
)
