"""Renders the page docs/runner-matrix.md from the kinds."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from service.client.runner.tools import find_tool
from tests.runner.installed_tools import VERSIONS
from tests.runner.kinds import all_kinds
from tests.runner.projects import PROJECTS

PAGE = Path(__file__).parents[2] / "docs" / "runner-matrix.md"
_HEAD = """# Which failures `run` excuses

`zof-results run -- COMMAND` turns the exit code of a test command into 0 only if every cause of the failure is a
quarantined test. This page shows what it does with {kinds} kinds of failures and {tools} tools. A nightly test executes
each of the {cells} combinations with the real tool, and compares the outcome with this page.

A quarantined test fails in each of them, in addition to the failure that the row names, unless the row says otherwise.

| Outcome | Meaning |
|---|---|
| excused | Only quarantined tests have failed, and the evidence is complete: the exit code is 0 |
| failed | Something else has failed: the exit code of the command stays |
| refused | The evidence isn't complete, so the failure can have another cause: the exit code of the command stays |

## What it can't see

- **A hook at the exit of the process with the same code.** It changes nothing: failed tests have this code, too.
- **What `--tests-failed-exit` and `--tool` state.** The user is responsible for them.
- **A `beforeAll` hook of Jest in another module than its tests.** Jest states its error as the error of each test
  below. The reporter looks for such hooks in the file of the tests only.
- **Lines of a TAP report that aren't TAP**, which the format permits. Its plan must be complete.
- **What the tool ignores**, such as an error of a global teardown in Vitest, or of a listener of Robot Framework.

## Tools with evidence

The exit code of cargo-nextest and Robot Framework means failed tests only, according to their documentation and to
these experiments. pytest, Playwright, Jest, and Vitest exit with the same code for other reasons, so that a plugin or
reporter inside the tool gives the evidence.

"""
_OTHERS = """
## Tools without evidence

Their exit codes have other causes, which no report shows. `run` excuses their failures only with
`--tests-failed-exit`, which the executions of this table have, except where the row says otherwise.

"""


def render() -> str:
    """Return the page."""
    with_evidence = [tool for tool in PROJECTS if _evidence(tool) != "none"]
    others = [tool for tool in PROJECTS if tool not in with_evidence]
    cells = sum(len(kind.changes) for kind in all_kinds())
    head = _HEAD.format(kinds=len(all_kinds()), tools=len(PROJECTS), cells=cells)
    return head + "\n".join(_table(with_evidence)) + "\n" + _OTHERS + "\n".join(_table(others)) + "\n"


def _evidence(tool: str) -> str:
    found = find_tool((), tool)
    assert found is not None
    return found.evidence


def _table(tools: Sequence[str]) -> Iterator[str]:
    yield _row("Failure", *(f"{_title(tool)} {VERSIONS[tool]}" for tool in tools))
    yield _row("---", *("---" for _ in tools))
    for kind in all_kinds():
        if outcomes := {tool: change.expected for tool, change in kind.changes.items() if tool in tools}:
            yield _row(kind.title, *(outcomes.get(tool, "") for tool in tools))


def _title(tool: str) -> str:
    found = find_tool((), tool)
    assert found is not None
    return found.title


def _row(*texts: str) -> str:
    return f"| {' | '.join(texts)} |".replace("|  |", "| |").replace("|  |", "| |")
