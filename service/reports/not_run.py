"""The words with which producers mark a case that wasn't run."""

from typing import Final

NOT_RUN_FLAGS: Final = frozenset({"notrun", "disabled", "skipped", "ignored", "pending"})
NOT_RUN: Final = NOT_RUN_FLAGS | {"not run", "not_run", "inactive", "suppressed", "skip", "todo"}
