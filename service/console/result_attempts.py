"""The attempts of a result on its page, each with its own output."""

from collections.abc import Sequence
from typing import NamedTuple

from service.console.artifacts import LogText
from service.domain.executions import Execution, describe_flaky, group_files
from service.domain.rows import AttemptRow, ResultDetailRow


class AttemptView(NamedTuple):
    """An attempt and its output. `repeats_failure` states whether its failure is that of the result."""

    attempt: AttemptRow
    repeats_failure: bool
    logs: Sequence[LogText]


class AttemptsView(NamedTuple):
    """The attempts of a result. `flaky` states in which of them it failed and passed, or is None."""

    flaky: str | None
    items: Sequence[AttemptView]


def attribute_logs(detail: ResultDetailRow, logs: Sequence[LogText]) -> tuple[AttemptsView, Sequence[LogText]]:
    """Return the attempts with their logs, and the logs of which the attempt isn't known.

    The logs of the only attempt of a result are those of the result.
    """
    executions = [Execution(each.attempt, each.status, each.job_attempt) for each in detail.attempts]
    flaky = describe_flaky(detail.part, executions) if detail.result.flaky else None
    by_id = {log.artifact["id"]: log for log in logs}
    grouped = group_files([log.artifact for log in logs], executions) if len(executions) > 1 else {}
    of_attempts = {number: [by_id[file["id"]] for file in files] for number, files in grouped.items()}
    items = [
        AttemptView(each, each.failure == detail.failure, of_attempts.get(each.attempt, [])) for each in detail.attempts
    ]
    return AttemptsView(flaky, items), of_attempts.get(None, []) if len(executions) > 1 else logs
