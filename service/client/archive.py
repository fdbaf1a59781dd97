"""The client archive: the user commands and their dependencies in one file that needs only Python ≥ 3.10.

`python -m service.client.archive` builds dist/zof-results-client.pyz and its SHA-256, and so does the build of a wheel.
It copies the installed packages that `[build-system]` in pyproject.toml names with their locked versions, so that an
isolated build installs them first.
"""

import ast
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from service.client.built_commit import find_built_commit
from service.domain.client_archive import ARCHIVE_FOLDER, ARCHIVE_NAME
from service.version import COMMIT_FILE, NAME

_PLUGIN: Final = Path("service/client/runner/pytest_zof_results.py")  # runs in other processes, with their packages
_BUILD_MODULES: Final = ("archive.py", "built_commit.py", "wheel_hook.py")
_ROOT: Final = Path(__file__).parents[2]
_METADATA: Final = ("METADATA", "licenses/")  # of each distribution: the version and the license texts
_SHEBANG: Final = b"#!/usr/bin/env python3\n"
_MAIN: Final = "from service.client.__main__ import main\n\nmain()\n"
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)  # the oldest that a ZIP file can contain
_MODE: Final = 0o644
_REMEDY: Final = "Run `make setup`, or build in an isolated environment."


class ArchiveError(Exception):
    """The archive can't be built."""


def build(target: Path) -> str:
    """Write the archive and a .sha256 file next to it. Return the SHA-256.

    The bytes depend only on the source code, its commit, and the locked versions. The content isn't compressed, because
    the output of zlib depends on its version. Raises ArchiveError.
    """
    packages = read_packages()
    files = {"__main__.py": _MAIN.encode(), **dict(_own_files(packages)), **dict(_third_party_files(packages))}
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


def read_packages() -> Mapping[str, str]:
    """Return the versions of the packages to copy by their names: what the build system requires in one version."""
    build_system, _, _ = _read_project().partition("[project]")
    return dict(re.findall(r'"([\w.-]+)==([^"]+)"', build_system))


def _read_project() -> str:
    return (_ROOT / "pyproject.toml").read_text(encoding="utf-8")  # Python 3.10 has no tomllib


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.create_system = 3  # Unix, so that the bytes are the same on every system
    info.external_attr = _MODE << 16
    return info


def _own_files(packages: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield the modules of this package, the modules that they import, the version, the plugin, and the commit."""
    modules = (path for pattern in ("*.py", "runner/*.py") for path in Path(__file__).parent.glob(pattern))
    pending = [path for path in modules if path.name not in (*_BUILD_MODULES, _PLUGIN.name)]
    found: set[Path] = set()
    while pending:
        path = pending.pop()
        if path not in found:
            found.add(path)
            pending += _imported_files(path, packages)
    for path in found:
        yield path.relative_to(_ROOT).as_posix(), path.read_bytes()
    (number,) = re.findall(r'^version = "(.+)"$', _read_project(), re.MULTILINE)  # an isolated build installs nothing
    metadata = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {number}\n"
    yield f"zof_results-{number}.dist-info/METADATA", metadata.encode()
    yield _PLUGIN.as_posix(), (_ROOT / _PLUGIN).read_bytes()
    yield f"service/{COMMIT_FILE}", find_built_commit(_ROOT).encode()


def _imported_files(path: Path, packages: Mapping[str, str]) -> Iterator[Path]:
    """Yield the files that a module of the service imports. Raises ArchiveError for packages outside of the archive."""
    for name in _imported_names(ast.parse(path.read_bytes())):
        top, *_ = name.split(".")
        if top == "service":
            yield from _module_files(name)
        elif top not in packages and top not in sys.stdlib_module_names:
            raise ArchiveError(f"{path} imports {name}, which isn't part of the client archive")


def _imported_names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str) -> Iterator[Path]:
    """Yield the files of a module and of its parent packages. A name inside of a module has no file."""
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        base = _ROOT.joinpath(*parts[:count])
        yield from (path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file())


def _third_party_files(packages: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the packages. Raises ArchiveError if an installed version isn't the locked one."""
    for name, version in packages.items():
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            raise ArchiveError(f"{name} {version} isn't installed. {_REMEDY}") from None
        if installed.version != version:
            raise ArchiveError(f"{name} {installed.version} is installed, but {version} is locked. {_REMEDY}")
        yield from _files_of(installed)


def _files_of(installed: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in installed.files or ():
        folder, _, rest = file.as_posix().partition("/")
        is_metadata = folder.endswith(".dist-info")
        is_needed = rest.startswith(_METADATA) if is_metadata else file.suffix in (".py", ".pem")
        if is_needed and "tests" not in file.parts and ".." not in file.parts:
            yield file.as_posix(), Path(str(file.locate())).read_bytes()


def main(arguments: Iterable[str] = ()) -> None:
    """Build the archive in the checkout and print its path and SHA-256."""
    target = _ROOT / ARCHIVE_FOLDER / ARCHIVE_NAME
    digest = build(target)
    if "--quiet" not in arguments:
        sys.stdout.write(f"{digest}  {target.relative_to(_ROOT)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
