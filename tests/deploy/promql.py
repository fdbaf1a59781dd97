"""A reader of the names in PromQL expressions. promtool checks the syntax."""

import re
from collections.abc import Iterator
from typing import NamedTuple

_STRING = re.compile(r'"(?:\\.|[^"\\])*"')
_DURATION = re.compile(r"\[[^\]]*\]|\boffset\s+\w+")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*\(|[\w:])")
_KEYWORDS = {"and", "or", "unless", "bool", "inf", "nan"}


class Selector(NamedTuple):
    """A metric with the labels of its matchers."""

    metric: str
    labels: frozenset[str]


def selectors(expression: str) -> list[Selector]:
    """Return the metrics that the expression reads."""
    plain = _GROUPING.sub("", _DURATION.sub("", _STRING.sub('""', expression)))
    found = ((name, re.findall(r"(\w+)\s*[=!]", matchers)) for name, matchers in _SELECTOR.findall(plain))
    return [Selector(name, frozenset(labels)) for name, labels in found if name.lower() not in _KEYWORDS]


def grouping_labels(expression: str) -> set[str]:
    """Return the labels of `by`, `on`, and similar clauses."""
    return {label.strip() for group in _GROUPING.findall(expression) for label in group.split(",") if label.strip()}


def route_patterns(expression: str) -> Iterator[str]:
    """Yield the regular expressions that routes must match."""
    yield from (pattern.replace("\\\\", "\\") for pattern in re.findall(r'route=~"([^"]*)"', expression))
