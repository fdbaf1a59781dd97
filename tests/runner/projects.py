"""A small project for each test tool.

`pays` and `ships` are in one file, and `counts` is in another file. The variables `PAYS` and `SHIPS` state what the
tests do: they fail, skip, hang, end the process with the code of failed tests, or kill it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

import yaml


class Project(NamedTuple):
    """A project of a tool: its files, its command, its report unless the tool reports live, and how it's built."""

    files: Mapping[str, str]
    command: str
    report: str = ""
    prepare: str = ""


PROJECTS: Final[Mapping[str, Project]] = {
    tool: Project(**fields) for tool, fields in yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text()).items()
}
