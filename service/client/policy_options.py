"""The options that state the policy of a gate."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from service.client.arguments import RATE
from service.commands import IntegerRange


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
)
