"""The outputs of a command for later steps and jobs of the CI system, such as the ID of the run."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from service.client.terminal import print_message
from service.command_line import print_line

Outputs = Mapping[str, str]

_PREFIX: Final = "RESULTS_OUTPUT_"  # of variables, whose names must differ from settings
_AGENT: Final = "buildkite-agent"
_AGENT_TIMEOUT_S: Final = 30
_MAX_VARIABLE: Final = 1_000  # characters; GitLab accepts a file of 5 kB


class _OutputFile(NamedTuple):
    """A file to which outputs are appended: the variable with its path, a variable that must be set, and a format."""

    variable: str
    marker: str
    format: Callable[[str, str], str]


def _format_output(name: str, value: str) -> str:
    return f"{name}={value}"


def _format_variable(name: str, value: str) -> str:
    return f"{_PREFIX}{name.upper()}={value}"


def _format_export(name: str, value: str) -> str:
    return f"export {_PREFIX}{name.upper()}={shlex.quote(value)}"


_GITHUB_FILE: Final = _OutputFile("GITHUB_OUTPUT", "GITHUB_OUTPUT", _format_output)
_VARIABLE_FILES: Final = (
    _OutputFile("RESULTS_OUTPUT_FILE", "RESULTS_OUTPUT_FILE", _format_variable),
    _OutputFile("BITBUCKET_PIPELINES_VARIABLES_PATH", "BITBUCKET_BUILD_NUMBER", _format_variable),
    _OutputFile("BASH_ENV", "CIRCLECI", _format_export),
)


def write_outputs(values: Mapping[str, object], *, prints: bool = True) -> None:
    """Provide these values to later steps and jobs, in each way that the CI system supports. Never raises an error.

    None is left out. A value becomes one line. Except for outputs of GitHub, long values are left out.
    Azure Pipelines reads outputs from stdout, so that it gets none if `prints` is false, because stdout then contains
    the data of the command.
    """
    outputs = {name: _to_text(value) for name, value in values.items() if value is not None}
    _append(_GITHUB_FILE, outputs)
    short = {name: value for name, value in outputs.items() if len(value) <= _MAX_VARIABLE}
    for file in _VARIABLE_FILES:
        _append(file, short)
    if os.environ.get("TF_BUILD") and prints:
        for name, value in short.items():
            print_line(f"##vso[task.setvariable variable={name};isOutput=true]{value.replace('%', '%AZP25')}")
    if os.environ.get("BUILDKITE") and shutil.which(_AGENT):
        _set_meta_data(short)


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).splitlines())


def _append(file: _OutputFile, outputs: Outputs) -> None:
    path = os.environ.get(file.variable)
    if not (path and os.environ.get(file.marker)):
        return
    try:
        with Path(path).open("a", encoding="utf-8") as opened:
            opened.writelines(f"{file.format(name, value)}\n" for name, value in outputs.items())
    except OSError as error:
        print_message(f"warning: {file.variable} can't be written: {error}")


def _set_meta_data(outputs: Outputs) -> None:
    """Set the meta-data of the build. All jobs share it, so that the keys contain the project.

    The agent rejects an empty value.
    """
    prefix = f"results:{outputs['project']}" if "project" in outputs else "results"
    for name, value in outputs.items():
        if not value:
            continue
        command = [_AGENT, "meta-data", "set", f"{prefix}:{name}", value]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_AGENT_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            print_message(f"warning: the meta-data of the build can't be set: {error}")
            return
