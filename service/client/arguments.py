"""Types of command-line arguments, and options that several commands share.

Invalid values are errors before any request is sent.
"""

import functools
import json
import math
import os
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import click

from service.client.ci import current_job, first_line
from service.client.terminal import print_message
from service.command_line import CheckedText, IntegerRange
from service.domain.filter_types import BooleanType, TextType, TimeType
from service.domain.filters import FilterParameter
from service.domain.report_fields import check_https_url, check_label, check_path_prefix, check_root, check_shard
from service.domain.variants import check_pair
from service.runs.model import MAX_ATTEMPT

if TYPE_CHECKING:
    from service.client.job_keys import JobKeys
    from service.client.servers import ServerKey


Command = TypeVar("Command", bound=Callable[..., Any])

POLICY_EXAMPLE: Final = "max_share=0.05,days=14,release_after_runs=50"  # of automatic quarantine
_EMPTY_KEY: Final = "Check that the CI system passes the secret to this job"
_SERVER: Final = ("url", "key")  # parameters that aren't fields of the API
_PARAMETERS: Final = {"url": "endpoint"}  # of fields of the API whose parameter has another name than its option
_UNFINISHED_JOBS: Final = frozenset({"failure", "cancelled"})
_parse_name: Final = TextType().parse
_parse_text: Final = TextType(1_000).parse


def _check_url(text: str) -> str:
    parts = urlsplit(_parse_name(text))
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("must be a URL such as https://results.example.org")
    return text


def _check_key(text: str) -> str:
    if not (_parse_name(text).isascii() and text.isprintable() and " " not in text):
        raise ValueError("must be an API key, which begins with zof_")
    return text


def _check_identifier(text: str) -> str:
    if any(unicodedata.category(character).startswith("C") for character in _parse_name(text)):
        raise ValueError("must contain only printable characters")
    return text


def _check_path_id(text: str) -> str:
    if _check_identifier(text) in (".", ".."):
        raise ValueError("must not be . or ..")
    return text


def _check_label(text: str) -> str:
    return check_label(_parse_text(text))


def _check_path_prefix(text: str) -> str:
    check_path_prefix(_parse_text(text))
    return text  # `.` is the root


def _check_title(text: str) -> str:
    title = first_line(text)
    if not title:
        raise ValueError("must not be empty")
    return title


def _check_attempt(text: str) -> str:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_ATTEMPT):
        raise ValueError(f"must be a number from 1 to {MAX_ATTEMPT}")
    return text


def read_needs(needs: str) -> tuple[list[str], list[str]]:
    """Return the jobs that were skipped on purpose, and those that were canceled. Raises ValueError.

    `needs` is the context of GitHub Actions. GitHub also skips the jobs that need a failed or canceled job, so that
    none was skipped on purpose for sure.
    """
    try:
        results = {name: job["result"] for name, job in json.loads(needs).items()}
        is_certain = _UNFINISHED_JOBS.isdisjoint(results.values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError("must be the context needs of GitHub Actions as JSON: ${{ toJSON(needs) }}") from error
    skipped = [name for name, result in results.items() if is_certain and result == "skipped"]
    return skipped, [name for name, result in results.items() if result == "cancelled"]


def _check_needs(text: str) -> str:
    read_needs(text)
    return text


def _parse_rate(text: str) -> Any:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:  # also NaN, which isn't comparable
        raise ValueError("must be a number from 0 to 1, for example 0.95")
    return rate


class _KeyOption(click.Option):
    """The API key. Without one, a CI job uses its ID token. An empty secret of a CI system is an error that says so."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the key, or the JobKeys of the CI job. Raises click.UsageError."""
        if value == "":
            raise click.UsageError(f"--key: is empty. {_EMPTY_KEY}", ctx)
        if not self.value_is_missing(value) or ctx.resilient_parsing:
            return super().process_value(ctx, value)
        if os.environ.get("RESULTS_API_KEY") == "":
            raise click.UsageError(f"RESULTS_API_KEY: is empty. {_EMPTY_KEY}, or don't set it to use its ID token", ctx)
        return self.find_job_keys(ctx)

    def find_job_keys(self, ctx: click.Context) -> "JobKeys | None":
        """Return the keys of the CI job. Raises click.MissingParameter if it has no ID token."""
        from service.client import job_keys  # only without a key, because they are slow

        keys = job_keys.find_job_keys(os.environ)
        if keys is None:
            raise click.MissingParameter(job_keys.describe_missing_source(os.environ), ctx, self)
        return keys


class _CiKeyOption(_KeyOption):
    """The API key of a command for CI jobs. Without a key and an ID token, the command ends in jobs of forks."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the key or the JobKeys. Raises click.UsageError, and click.exceptions.Exit in the job of a fork."""
        if value == "" or (self.value_is_missing(value) and os.environ.get("RESULTS_API_KEY") == ""):
            _skip_fork(ctx)
        return super().process_value(ctx, value)

    def find_job_keys(self, ctx: click.Context) -> "JobKeys | None":
        """Return the keys of the CI job. Raises as `process_value` does."""
        try:
            return super().find_job_keys(ctx)
        except click.MissingParameter:
            _skip_fork(ctx)
            raise


class _OptionalKeyOption(_KeyOption):
    """The API key of a command that works without a server. It is None without a key and an ID token."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the key, the JobKeys of the CI job, or None. Raises click.UsageError for an invalid key."""
        is_empty = value == "" or (self.value_is_missing(value) and os.environ.get("RESULTS_API_KEY") == "")
        return None if is_empty else super().process_value(ctx, value)

    def find_job_keys(self, _: click.Context) -> "JobKeys | None":
        """Return the keys of the CI job, or None."""
        from service.client import job_keys  # only without a key, because they are slow

        return job_keys.find_job_keys(os.environ)


class _ProjectOption(click.Option):
    """The project of a report. The trusted publisher of a CI job without a key states its default."""

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Return the project, or None for the default. Raises click.UsageError."""
        if self.value_is_missing(value) and not isinstance(ctx.params.get("key", ""), str):
            return None
        return super().process_value(ctx, value)


def _skip_fork(ctx: click.Context) -> None:
    """End the command with 0 in the job of a pull request from a fork."""
    if not ctx.resilient_parsing and current_job(os.environ).is_fork:
        hint = ". A project can accept them with `report --untrusted`" if ctx.info_name == "report" else ""
        print_message(f"{ctx.info_name}: skipped, because the jobs of a pull request from a fork have no API key{hint}")
        ctx.exit()


NAME: Final = CheckedText(_parse_name, "TEXT")
IDENTIFIER: Final = CheckedText(_check_identifier, "TEXT")
PATH_ID: Final = CheckedText(_check_path_id, "TEXT")  # an ID or name in the path of a request
BRANCH: Final = CheckedText(TextType(400).parse, "TEXT")
TEXT: Final = CheckedText(_parse_text, "TEXT")
HTTPS_URL: Final = CheckedText(check_https_url, "URL")
TITLE: Final = CheckedText(_check_title, "TEXT")  # shortened if it is too long
SHARD: Final = CheckedText(check_shard, "I[/N]")
VARIANT: Final = CheckedText(check_pair, "KEY:VALUE")
ROOT: Final = CheckedText(check_root, "FOLDER")
PATH_PREFIX: Final = CheckedText(_check_path_prefix, "FOLDER")
ATTEMPT: Final = CheckedText(_check_attempt, "N")
NEEDS: Final = CheckedText(_check_needs, "JSON")
LABEL: Final = CheckedText(_check_label, "NAME:VALUE")
TIME: Final = CheckedText(TimeType().parse, "TIME")
RATE: Final = CheckedText(_parse_rate, "RATE")

_URL: Final = CheckedText(_check_url, "URL")
_KEY: Final = CheckedText(_check_key, "KEY", is_secret=True)


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select the run. `selected_run` reads them."""
    run_id = click.option(
        "--run-id", type=PATH_ID, help="Run.  [default: the run of the CI job]"
    )  # fmt: skip
    pipeline = click.option(
        "--pipeline", is_flag=True, help="Use the run that all jobs of the CI pipeline share."
    )  # fmt: skip
    return run_id(pipeline(command))


def project_option(*, required: bool = False, help_text: str, uses_variable: bool = True) -> Callable[..., Any]:
    """Return the option that names the project, `project_id`. RESULTS_PROJECT is its default with `uses_variable`.

    If it is required, a CI job without a stored key can omit it.
    """
    return click.option(
        "--project", "project_id", cls=_ProjectOption, type=IDENTIFIER, required=required, help=help_text,
        envvar="RESULTS_PROJECT" if uses_variable else None, show_envvar=uses_variable,
    )  # fmt: skip


def check_policy(text: str) -> str:
    """Return a policy of automatic quarantine. Raises ValueError."""
    from service.quarantines.model import QuarantinePolicy  # its rules are slow to import

    try:
        QuarantinePolicy.parse(text)
    except ValueError as error:
        raise ValueError(f"must be such as {POLICY_EXAMPLE}: {error}") from error
    return text


def timeout_option(purpose: str) -> Callable[..., Any]:
    """Return the option that limits a wait. `purpose` states what the command waits for."""
    return click.option(
        "--timeout", default=600, show_default=True, type=IntegerRange(0), metavar="SECONDS",
        help=f"Maximum time to wait until {purpose}.",
    )  # fmt: skip


def filter_options(
    parameters: Sequence[FilterParameter], variables: Mapping[str, str] | None = None
) -> Callable[[Command], Command]:
    """Return a decorator that adds an option for each filter. `variables` of the environment are defaults of some."""

    def add(command: Command) -> Command:
        for parameter in reversed(parameters):
            help_text = _help_text(parameter, parameters)
            command = _filter_option(parameter, help_text, (variables or {}).get(parameter.name))(command)
        return command

    return add


def _help_text(parameter: FilterParameter, parameters: Sequence[FilterParameter]) -> str:
    """Return the description, in which options replace the names of parameters."""
    options = {other.name: other.option for other in parameters if "_" in other.name}
    names = re.compile(rf"\b(?:{'|'.join(options)})\b") if options else None
    text = names.sub(lambda name: options[name[0]], parameter.description) if names else parameter.description
    choices = parameter.type.schema.get("enum", ())
    return f"{text}: {', '.join(choices)}." if choices else f"{text}."


def _filter_option(parameter: FilterParameter, text: str, variable: str | None) -> Callable[[Command], Command]:
    if isinstance(parameter.type, BooleanType):
        flag = f"{parameter.option}/--no-{parameter.option.removeprefix('--')}"
        return click.option(flag, parameter.name, default=None, help=text)
    metavar = type(parameter.type).__name__.removesuffix("Type").upper()
    return click.option(
        parameter.option, parameter.name, type=CheckedText(parameter.type.parse_text, metavar), help=text,
        multiple=parameter.repeatable, envvar=variable, show_envvar=variable is not None,
    )  # fmt: skip


def selected_filters(parameters: Sequence[FilterParameter], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the filters that are set. Raises UsageError if one is set without the option that it requires."""
    selected = {parameter.name: options[parameter.name] for parameter in parameters if _is_set(options[parameter.name])}
    by_name = {parameter.name: parameter for parameter in parameters}
    for name in selected:
        required = by_name[name].requires
        if required and not _is_set(options.get(required)):
            raise click.UsageError(f"{by_name[name].option} requires {_option(required, by_name)}")
    return selected


def _option(name: str, by_name: Mapping[str, FilterParameter]) -> str:
    return by_name[name].option if name in by_name else f"--{name.replace('_', '-')}"


def _is_set(value: Any) -> bool:
    return value is not None and value != ()


def find_option(field: str) -> str | None:
    """Return the option or argument of the running command for a field of the API, or None if it has none.

    For example, `--to` for `filter.to`, and `--column` for `columns.0`.
    """
    context = click.get_current_context(silent=True)
    parameters = [each for each in context.command.params if each.name not in _SERVER] if context else []
    for name in reversed(field.split(".")):
        for parameter in parameters:
            if parameter.name == _PARAMETERS.get(name, name) or f"--{name.replace('_', '-')}" in parameter.opts:
                return parameter.human_readable_name if isinstance(parameter, click.Argument) else parameter.opts[-1]
    return None


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select the server and the API key."""
    return _add_server(command, _KeyOption)


def ci_server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select the server and the API key, for a command of CI jobs.

    Jobs of pull requests from forks have no key, or an ID token that no trusted publisher accepts. There, the command
    only prints that, and exits with 0.
    """

    @functools.wraps(command)
    def run(key: "ServerKey", **options: Any) -> Any:
        if isinstance(key, str):
            return command(key=key, **options)
        from service.client.job_keys import JobNotTrusted  # only without a key, because it is slow

        try:
            return command(key=key, **options)
        except JobNotTrusted:
            _skip_fork(click.get_current_context())
            raise

    return _add_server(run, _CiKeyOption)


def optional_server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select the server and the API key, for a command that works without both."""
    return _add_server(command, _OptionalKeyOption, required=False)


def split_server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of `optional_server_options` for a command whose option --key has another meaning."""
    return _add_server(command, _OptionalKeyOption, "--api-key", required=False)


def _add_server(
    command: Callable[..., Any], key_option: type[click.Option], name: str = "--key", *, required: bool = True
) -> Callable[..., Any]:
    key = click.option(
        name, "key", cls=key_option, type=_KEY, envvar="RESULTS_API_KEY", show_envvar=True, is_eager=True,
        help="API key.  [default: a key for the ID token of the CI job]",
    )  # fmt: skip
    url = click.option(
        "--url", type=_URL, envvar="RESULTS_URL", show_envvar=True, required=required, help="URL of the server."
    )  # fmt: skip
    return url(key(command))
