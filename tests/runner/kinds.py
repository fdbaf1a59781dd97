"""The matrix: kinds of failures that aren't only a quarantined test, and what `zof-results run` must do with them.

`kinds.yaml` lists them. In each kind, the quarantined test `pays` fails, unless the kind says otherwise. The outcomes
are `excused` (exit code 0), `failed` (another failure is known), and `refused` (for doubt).
"""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from service.client.runner.tools import find_tool
from tests.runner.projects import PROJECTS

Expected = Literal["excused", "failed", "refused"]
Quarantining = Literal["exact", "expired", "ended", "glob", "variant", "other_project", "none"]

PAYS_FAILS: Mapping[str, str] = {"PAYS": "fails"}
_FILE = Path(__file__).with_name("kinds.yaml")
_OTHERS = "*"  # all tools that the kind doesn't name


class Change(NamedTuple):
    """What a kind changes in a project, and the expected outcome.

    `files` are written, or deleted if their text is null. `append` are further arguments of the project's command.
    `command` replaces it, and `shell` is a script around it; both contain `{command}`. `is_stated` adds the option
    `--tests-failed-exit` for tools that give no evidence. `quarantining` and `has_baseline` are about the service.
    """

    expected: Expected
    files: Mapping[str, str | None] = {}
    variables: Mapping[str, str] = {}
    append: str = ""
    command: str = ""
    shell: str = ""
    options: tuple[str, ...] = ()
    quarantining: Quarantining = "exact"
    has_baseline: bool = True
    is_stated: bool = True


class Kind(NamedTuple):
    """A kind of failure, and its change of the project of each tool that can have it."""

    name: str
    title: str
    changes: Mapping[str, Change]


@cache
def all_kinds() -> tuple[Kind, ...]:
    """Return the kinds in the order of the file."""
    return tuple(map(_read, yaml.safe_load(_FILE.read_text())))


def cells() -> Iterator[tuple[Kind, str, Change]]:
    """Yield each kind with each tool that can have it."""
    for kind in all_kinds():
        for tool, change in kind.changes.items():
            yield kind, tool, change


def states_code(tool: str, change: Change) -> bool:
    """Return whether the user must state the code, because the tool gives no evidence."""
    found = find_tool((), tool)
    return change.is_stated and found is not None and found.evidence == "none"


def _read(entry: Mapping[str, Any]) -> Kind:
    listed: dict[str, Change | None] = {}
    for tools, fields in entry["changes"].items():  # null: the tool can't have the kind
        change = Change(**{**fields, "options": tuple(fields.get("options", ()))}) if fields else None
        listed |= dict.fromkeys(tools.split(", "), change)
    others = listed.pop(_OTHERS, None)
    changes = {tool: listed.pop(tool, others) for tool in PROJECTS}
    assert not listed, f"{entry['name']}: unknown tools {list(listed)}"
    return Kind(entry["name"], entry["title"], {tool: change for tool, change in changes.items() if change})
