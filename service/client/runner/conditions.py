"""The conditions under which the failure of a command can be excused, as far as the client can check them.

Doubt never passes: a condition that can't be checked isn't met. The server checks the stored results.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from service.client.runner.evidence import ToolEvidence
from service.client.runner.execute import MAX_OWN_CODE, ExitOutcome
from service.client.runner.tools import Tool

EXIT_CODE: Final = "exit_code"
REPORTS: Final = "reports"
SECOND_CAUSE: Final = "second_cause"
SERVER: Final = "server"


class Doubt(NamedTuple):
    """A condition that isn't met, and why."""

    condition: str
    text: str


class Finished(NamedTuple):
    """A command that has ended. `tool` is None if it's unknown.

    `stated_code` is the exit code that, according to the user, only failed tests cause.
    """

    outcome: ExitOutcome
    tool: Tool | None = None
    stated_code: int | None = None
    evidence: Sequence[ToolEvidence] = ()

    @property
    def stated_failures(self) -> int | None:
        """The number of failed tests that the tool states, or None."""
        if self.evidence:
            return self.evidence[0].failed_tests
        return self.outcome.code if self.tool and self.tool.counts and self.stated_code is None else None


def find_doubts(finished: Finished) -> list[Doubt]:
    """Return the conditions that an executed command doesn't meet."""
    if problem := _check_code(finished):
        return [Doubt(EXIT_CODE, problem)]
    return [Doubt(SECOND_CAUSE, problem) for problem in _find_causes(finished)]


def _check_code(finished: Finished) -> str | None:
    code, number = finished.outcome
    if number is not None:
        return f"signal {number} ended the command"
    if code > MAX_OWN_CODE:
        return f"the exit code {code} doesn't mean failed tests"
    if finished.stated_code is not None:
        stated = finished.stated_code
        return None if code == stated else f"the exit code {code} isn't {stated}, which --tests-failed-exit states"
    if finished.tool and code not in finished.tool.failed_codes:
        return f"the exit code {code} of {finished.tool.title} doesn't mean failed tests ({finished.tool.source})"
    return None


def _find_causes(finished: Finished) -> Iterator[str]:
    """Yield which other causes the exit code can have."""
    tool = finished.tool
    yield from _find_problems(finished)
    if finished.stated_code is not None or (tool and tool.evidence == "documented"):
        return
    if tool is None:
        yield (
            "the tool isn't known from the command, so its exit code can have any cause. Use --tool, or"
            " --tests-failed-exit if the code only means failed tests"
        )
    elif tool.evidence == "none":
        yield (
            f"the exit code of {tool.title} can have other causes: {tool.other_causes}. Use --tests-failed-exit if the"
            " code only means failed tests"
        )
    elif not finished.evidence:
        yield (
            f"{tool.title} gives no evidence from inside, and its exit code can have other causes: {tool.other_causes}."
            f" Install the plugin or reporter for {tool.title}, or use --tests-failed-exit if the code only means"
            " failed tests"
        )


def _find_problems(finished: Finished) -> Iterator[str]:
    if not finished.evidence:
        return
    if len(finished.evidence) > 1:
        yield f"the command executed {len(finished.evidence)} sessions of tools, of which only one can explain its code"
        return
    (evidence,) = finished.evidence
    if evidence.problem:
        yield evidence.problem
    elif not evidence.finished:
        yield f"the session of {evidence.tool} didn't finish"
    elif finished.tool and evidence.tool != finished.tool.name:
        yield f"the command executes {finished.tool.title}, but the evidence is of {evidence.tool}"
    elif evidence.exit_code != finished.outcome.code:
        yield f"{evidence.tool} ended with {evidence.exit_code}, but the command with {finished.outcome.code}"
    yield from evidence.problems
