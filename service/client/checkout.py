"""The folder of the checkout, to which the absolute paths in reports are relative."""

import mmap
from collections.abc import Sequence
from pathlib import Path

from service.domain.report_fields import check_root


def find_root(files: Sequence[Path]) -> str | None:
    """Return the root of the repository, or else the working directory, if one of the files contains its path."""
    root = str(find_checkout())
    try:
        check_root(root)
    except ValueError:  # the root of the file system
        return None
    return root if any(_contains(file, root) for file in files) else None


def find_checkout() -> Path:
    """Return the root of the repository that contains the working directory, or else the working directory."""
    working_directory = Path.cwd()
    folders = (working_directory, *working_directory.parents)
    return next((folder for folder in folders if (folder / ".git").exists()), working_directory)


def is_file(path: Path) -> bool:
    """Return whether a file exists. A path of a producer can be invalid."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _contains(file: Path, folder: str) -> bool:
    """Return whether a file contains the path of a folder, with the separators of Windows, or escaped as in JSON."""
    path = folder.partition(":")[2] if folder[1:2] == ":" else folder
    forms = {path, path.replace("\\", "/"), path.replace("\\", "\\\\")}
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(form.encode(errors="surrogateescape")) >= 0 for form in forms)
