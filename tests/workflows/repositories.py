"""Git repositories for the tests of releases, and programs that record their calls."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_AUTHOR: Final = {
    f"GIT_{role}_{name}": value
    for role in ("AUTHOR", "COMMITTER")
    for name, value in (("NAME", "A"), ("EMAIL", "a@example.org"), ("DATE", "2026-01-31T12:00:00Z"))
}


@dataclass(frozen=True)
class Repository:
    """A Git repository in a temporary folder."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, paths: Iterable[str], changes: Mapping[str, str]) -> "Repository":
        """Create a repository with copies of these files of the checkout, changed files, and one commit."""
        for path in paths:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, folder / path)
        for path, text in changes.items():
            (folder / path).write_text(text)
        repository = cls(folder)
        repository.run("git", "init", "--quiet", "--template=", "--initial-branch=main")
        repository.run("git", "add", "--all")
        repository.run("git", "commit", "--quiet", "--message", "all: copy the checkout")
        return repository

    def run(self, *command: str | Path, **variables: str) -> str:
        """Run a command in the repository. Return its output, and show everything if it fails."""
        done = self.attempt(*command, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def attempt(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_", "MAKE"))
        }
        environment = {**inherited, **_AUTHOR, **variables}
        return subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)


def recording(folder: Path, name: str, script: str = "") -> Path:
    """Create a program that writes its arguments and its input to files, and return the folder for PATH."""
    program = folder / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"with open({str(folder / name)!r}, 'a') as file:\n    file.write(' '.join(sys.argv[1:]) + '\\n')\n{script}"
    )
    program.chmod(0o755)
    return program.parent
