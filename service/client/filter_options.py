"""Command-line options that are generated from the filters that the server accepts."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from service.commands import CheckedText
from service.domain.filter_types import BooleanType
from service.domain.filters import FilterParameter

Command = TypeVar("Command", bound=Callable[..., Any])


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
    """Return the description, in which the names of parameters are those of their options."""
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
