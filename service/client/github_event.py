"""The event that started a workflow of GitHub Actions, such as a push or a pull request."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class GitHubEvent:
    """The event in the file that GITHUB_EVENT_PATH names. `problem` states why the file can't be read."""

    def __init__(self, path: str) -> None:
        self.problem = "" if path else "GITHUB_EVENT_PATH isn't set"
        self._document: Any = None
        try:
            self._document = json.loads(Path(path).read_text("utf-8")) if path else None
        except (OSError, ValueError) as error:
            self.problem = f"the file GITHUB_EVENT_PATH can't be read: {error!r}"

    def text(self, *names: str) -> str:
        """Return the text at this path, or an empty text."""
        value = self._find(names)
        return value if isinstance(value, str) else ""

    def number(self, *names: str) -> int | None:
        """Return the number at this path, or None."""
        value = self._find(names)
        return value if isinstance(value, int) else None

    def _find(self, names: Iterable[str]) -> Any:
        value = self._document
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        return value
