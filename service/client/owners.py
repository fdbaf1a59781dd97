"""The owners of tested files that an upload states: CODEOWNERS of the checkout, and the map of `--owners FILE`."""

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import click

from service.client.checkout import find_checkout
from service.client.terminal import print_message, printable_line, to_json
from service.domain import codeowners
from service.domain.codeowners import OwnersHost, Rule
from service.domain.globs import check_glob

_FOLDERS: Final[Mapping[OwnersHost | None, Sequence[str]]] = {
    "github": (".github", "", "docs"), "gitlab": ("", "docs", ".gitlab"), None: (".github", "", "docs", ".gitlab"),
}  # fmt: skip
_HOSTS: Final[Mapping[str, OwnersHost]] = {".github": "github", ".gitlab": "gitlab"}
_VARIABLES: Final[Mapping[str, OwnersHost]] = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab"}
_MAX_BYTES: Final = 3_000_000  # GitHub ignores a larger file
_MAX_LISTED: Final = 5  # messages


def pack_owners(map_path: Path | None) -> bytes | None:
    """Return the compressed document of the owners, or None without a usable CODEOWNERS and without a map.

    An unusable CODEOWNERS is only a message: it doesn't prevent the upload. Raises click.UsageError for the map.
    """
    globs = [] if map_path is None else _read_map(map_path)
    host, sections = _read_codeowners()
    document = to_json({"host": host, "sections": sections, "map": globs}).encode()
    if len(document) > codeowners.MAX_OWNERS_BYTES:
        print_message(f"warning: CODEOWNERS isn't used: its rules have more than {codeowners.MAX_OWNERS_BYTES:,} bytes")
        document, sections = to_json({"host": host, "sections": [], "map": globs}).encode(), []
    return gzip.compress(document, mtime=0) if sections or globs else None


def _read_codeowners() -> tuple[OwnersHost, Sequence[Sequence[Rule]]]:
    """Return the host and the rules of the first CODEOWNERS in the folders of the host of this CI job, or of any."""
    known = next((host for variable, host in _VARIABLES.items() if os.environ.get(variable)), None)
    paths = {folder: find_checkout() / folder / "CODEOWNERS" for folder in _FOLDERS[known]}
    for folder, path in paths.items():
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_BYTES + 1)
            text = data.decode() if len(data) <= _MAX_BYTES else None
        except (OSError, ValueError) as error:
            print_message(f"warning: {path} isn't used: it can't be read as UTF-8: {printable_line(str(error))}")
            break
        if text is None:
            print_message(f"warning: {path} isn't used: it has more than {_MAX_BYTES:,} bytes. Use fewer patterns")
            break
        host = known or _HOSTS.get(folder) or ("gitlab" if codeowners.has_sections(text) else "github")
        sections, ignored = codeowners.parse_codeowners(text, host)
        more = [f"and {len(ignored) - _MAX_LISTED} more such lines"] if ignored[_MAX_LISTED:] else []
        for message in (*ignored[:_MAX_LISTED], *more):
            print_message(f"warning: {path}: {printable_line(message)}")
        return host, sections
    return known or "github", []


def _read_map(path: Path) -> Sequence[Rule]:
    """Return the globs of a file with their owners. Raises click.UsageError."""
    try:
        globs = {check_glob(glob): owners for glob, owners in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise click.UsageError(f'--owners: {path} must be JSON such as {{"tests/*": "@acme/qa"}}: {error}') from None
    rules = [(glob, [owners] if isinstance(owners, str) else owners) for glob, owners in globs.items()]
    for glob, owners in rules:
        if not (glob and isinstance(owners, list) and all(map(codeowners.is_owner, owners))):
            limit = f"names of at most {codeowners.MAX_OWNER} characters"
            raise click.UsageError(f"--owners: {path}: {glob!r} must have {limit}")
        if len(owners) > codeowners.MAX_OWNERS or len(rules) > codeowners.MAX_OWNER_GLOBS:
            limits = f"{codeowners.MAX_OWNER_GLOBS:,} globs with {codeowners.MAX_OWNERS} owners each"
            raise click.UsageError(f"--owners: {path} must have at most {limits}")
    return rules
