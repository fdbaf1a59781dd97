"""Checks of the internals of libraries on which the service depends."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version

Checks = Mapping[str, Callable[[], object]]  # what the service expects, and a function that returns whether it's true


def parameters(function: Callable[..., object]) -> list[str]:
    """Return the names of the parameters without `self`."""
    return [name for name in inspect.signature(function).parameters if name != "self"]


def assert_unchanged(libraries: Iterable[str], module: str, checks: Checks) -> None:
    """Fail with the expectations that aren't true, and with the module that depends on them."""
    versions = ", ".join(f"{library} {version(library)}" for library in libraries)
    changed = "; ".join(name for name, check in checks.items() if not _is_true(check))
    assert not changed, f"{versions} changed what {module} relies on: {changed}. Review the module."


def _is_true(check: Callable[[], object]) -> bool:
    try:
        return bool(check())
    except Exception:  # such as a missing attribute
        return False
