"""The paths of routes for the router of aiohttp."""

import re
from typing import Final

_VARIABLE: Final = re.compile(r"\{(\w+)\}")


def router_path(path: str) -> str:
    """Return the path with variables that also match braces, which variables of aiohttp don't match by default."""
    return _VARIABLE.sub(r"{\1:[^/]+}", path)
