"""Annotations of the contracts on every supported version of Python."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args, get_type_hints

from service import contracts


def test_metadata_is_hashable() -> None:
    """Before Python 3.11.8 and 3.12.2, `Annotated[list[str], FailFast()] | None` hashes the metadata."""
    annotations = list(filter(is_annotated, contained(annotations_of_contracts())))
    assert len(annotations) > 50
    assert [annotation for annotation in annotations if not is_hashable(annotation.__metadata__)] == []


def annotations_of_contracts() -> Iterator[Any]:
    for found in pkgutil.iter_modules(contracts.__path__, f"{contracts.__name__}."):
        module = import_module(found.name)
        for value in vars(module).values():
            if not inspect.isclass(value):
                yield value
            elif value.__module__.startswith(contracts.__name__):
                yield from get_type_hints(value, include_extras=True).values()


def contained(annotations: Iterator[Any]) -> Iterator[Any]:
    """Yield the annotations, and those that they contain."""
    for annotation in annotations:
        yield annotation
        yield from contained(part for part in get_args(annotation) if not isinstance(part, list))


def is_annotated(value: Any) -> bool:
    return hasattr(value, "__metadata__")


def is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
