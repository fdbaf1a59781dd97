"""The checkout of the repository, and where the files that results state are in it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class RepositoryPaths:
    """The location of the tested files in the checkout.

    `prefixes` are folders below the root by project; the empty name contains the folder of all other projects. The
    root itself is an empty text.
    """

    prefixes: Mapping[str, str] = field(default_factory=dict)
    root: Path | None = None
    folder: Path = field(default_factory=Path.cwd)

    @classmethod
    def of_checkout(cls, prefixes: Mapping[str, str]) -> "RepositoryPaths":
        """Return the paths of the repository that contains the working directory, if there is one."""
        root = find_checkout()
        return cls(prefixes, root if (root / ".git").exists() else None)

    def find(self, file: str, project: str) -> str:
        """Return the path of a file relative to the root of the repository.

        The prefix of the project comes first, unless the path has it already, because `report` has added it. Without
        it, a file that exists in the working directory is one of this folder. A file that exists only at its own path
        stays unchanged.
        """
        path = self._relative(file.replace("\\", "/"))
        prefix = self.prefixes.get(project, self.prefixes.get(""))
        folder = self._working_folder() if prefix is None else prefix
        below = str(PurePosixPath(folder, path))
        has_prefix = path.startswith(f"{folder.rstrip('/')}/")
        if folder and (self.exists(below) or (prefix and not has_prefix and not self.exists(path))):
            return below
        return path

    def can_contain(self, path: str) -> bool:
        """Return whether the repository can contain a file: without a checkout, any."""
        return self.root is None or self.exists(path)

    def _relative(self, path: str) -> str:
        """Return an absolute path below the root, or a path that starts with `./`, in the short form."""
        if self.root is not None:
            path = path.removeprefix(f"{self.root.as_posix()}/")
        return path.removeprefix("./")

    def _working_folder(self) -> str:
        return "" if self.root is None else path_below(self.root, self.folder)

    def exists(self, path: str) -> bool:
        """Return whether the checkout contains a file: without a checkout, none."""
        return self.root is not None and is_file(self.root / path)


def find_checkout() -> Path:
    """Return the root of the repository that contains the working directory, or else the working directory."""
    working_directory = Path.cwd()
    folders = (working_directory, *working_directory.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), working_directory)


def path_below(root: Path, folder: Path) -> str:
    """Return the path of a folder from the root, which is an empty text itself, as are folders elsewhere."""
    return folder.relative_to(root).as_posix() if root in folder.parents else ""


def is_file(path: Path) -> bool:
    """Return whether a file exists. A path of a producer can be invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
