"""The commit that a build contains. The build hook runs this module by its path, so it imports no other one."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

VARIABLE: Final = "ZOF_RESULTS_COMMIT"  # for builds without a repository, such as the build of the image


def find_built_commit(root: Path) -> str:
    """Return the full SHA that the variable states, or else the commit of an unmodified checkout, or an empty string.

    A checkout whose tracked files differ from its commit isn't that commit. Raises ValueError for a wrong variable.
    """
    commit = os.environ.get(VARIABLE, "")
    if not commit:
        return _find_unmodified(root) if (root / ".git").exists() else ""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise ValueError(f"{VARIABLE}: must be the full SHA of a commit, in lowercase hex digits")
    return commit


def _find_unmodified(root: Path) -> str:
    command = ["git", "--no-optional-locks", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):  # without Git, or a repository of another user
        return ""
    lines = found.stdout.splitlines()
    commits = [line.removeprefix("# branch.oid ") for line in lines if line.startswith("# branch.oid ")]
    is_unmodified = all(line.startswith("# ") for line in lines)
    return commits[0] if commits and is_unmodified else ""
