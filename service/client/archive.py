"""The client archive: the user commands and their dependencies in one file that needs only Python ≥ 3.10.

`python -m service.client.archive` builds dist/zof-results-client.pyz and its SHA-256. It needs no network, because it
copies the installed packages. Their versions must be those of requirements.lock.
"""

import ast
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from service.client.built_commit import find_built_commit
from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from service.version import COMMIT_FILE, NAME, find_version

# The dependencies of httpx without anyio, which only its asynchronous client uses.
_DISTRIBUTIONS: Final = ("certifi", "click", "h11", "httpcore", "httpx", "idna")
_BUILD_MODULES: Final = ("archive.py", "built_commit.py", "wheel_hook.py")
_ROOT: Final = Path(__file__).parents[2]
_METADATA: Final = ("METADATA", "licenses/")  # of each distribution: the version and the license texts
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = "from service.client.__main__ import main\n\nmain()\n"
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)  # the oldest that a ZIP file can contain
_MODE: Final = 0o644


class ArchiveError(Exception):
    """The archive can't be built."""


def build(target: Path) -> str:
    """Write the archive and a .sha256 file next to it. Return the SHA-256.

    The bytes depend only on the source code, its commit, and the locked versions. The content isn't compressed, because
    the output of zlib depends on its version. Raises ArchiveError.
    """
    files = {"__main__.py": _MAIN.encode(), **dict(_own_files()), **dict(_third_party_files())}
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent) as folder:  # another process can build the same archive
        built, checksum = Path(folder, target.name), Path(folder, f"{target.name}.sha256")
        with built.open("wb") as file:
            file.write(_SHEBANG)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for name, content in sorted(files.items()):
                    archive.writestr(_zip_info(name), content)
        built.chmod(0o755)
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        checksum.write_text(f"{digest}  {target.name}\n", encoding="ascii")
        for file_path in (built, checksum):
            file_path.replace(target.parent / file_path.name)
    return digest


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3  # Unix, so that the bytes are the same on every system
    info.external_attr = _MODE << 16
    return info


def _own_files() -> Iterator[tuple[str, bytes]]:
    """Yield the modules of this package, the modules of the service that they import, the version, and the commit."""
    pending = [path for path in Path(__file__).parent.glob("*.py") if path.name not in _BUILD_MODULES]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imported_files(path)
    for path in found:
        yield path.relative_to(_ROOT).as_posix(), path.read_bytes()
    number = find_version()
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {number}\n"
    yield f"zof_results-{number}.dist-info/METADATA", metadata.encode()
    yield f"service/{COMMIT_FILE}", find_built_commit(_ROOT).encode()


def _imported_files(path: Path) -> Iterator[Path]:
    """Yield the files that a module of the service imports. Raises ArchiveError for packages outside of the archive."""
    for name in _imported_names(ast.parse(path.read_bytes())):
        top, *_ = name.split(".")
        if top == "service":
            yield from _module_files(name)
        elif top not in _DISTRIBUTIONS and top not in sys.stdlib_module_names:
            raise ArchiveError(f"{path} imports {name}, which isn't part of the client archive")


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str) -> Iterator[Path]:
    """Yield the file of a module and those of its parent packages. A name inside of a module has no file."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        base = _ROOT.joinpath(*parts[:count])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())


def _third_party_files() -> Iterator[tuple[str, bytes]]:
    for name in _DISTRIBUTIONS:
        installed = distribution(name)
        _check_version(name, installed.version)
        yield from _files_of(installed)


def _files_of(installed: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in installed.files or ():
        folder, _, rest = file.as_posix().partition("/")
        is_metadata = folder.endswith(".dist-info")
        is_needed = rest.startswith(_METADATA) if is_metadata else file.suffix in (".py", ".pem")
        if is_needed and "tests" not in file.parts and ".." not in file.parts:
            yield file.as_posix(), Path(str(file.locate())).read_bytes()


def _check_version(name: str, version: str) -> None:
    """Raise ArchiveError if the installed version isn't the locked one, if there is a lock file."""
    lock = _ROOT / "requirements.lock"
    locked = re.search(rf"^{name}==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE) if lock.exists() else None
    if locked and locked[1] != version:
        raise ArchiveError(f"{name} {version} is installed, but {locked[1]} is locked. Run `make setup`.")


def main(arguments: Iterable[str] = ()) -> None:
    """Build the archive in the checkout and print its path and SHA-256."""
    target = _ROOT / ARCHIVE_FOLDER / ARCHIVE_NAME
    digest = build(target)
    if "--quiet" not in arguments:
        sys.stdout.write(f"{digest}  {target.relative_to(_ROOT)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
