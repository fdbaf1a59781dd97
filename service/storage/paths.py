"""Paths of stored files: `<area>/<org_id>/…`, so that a path belongs to exactly one organization.

`client/<version>.pyz` is the client archive of a version of the service, which belongs to no organization.
"""

import re
from typing import Final, Literal, get_args
from urllib.parse import quote

from service.domain.ids import OrgId

# artifacts: files of results and runs; exports: export files; inbox: uploaded reports, the output of their results, and
# the data of large events
Area = Literal["artifacts", "exports", "inbox"]

_OWNER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)

_REPLACEMENT: Final = "_"
PARTIAL_SUFFIX: Final = "#1"  # of a partially written file, unless a file with this suffix exists

# The names that stored_path gets from the service, with the suffix of a partially written file.
_PARTIAL: Final = re.compile(
    r"(exports/\d+/exp_[0-9a-f]{32}/[0-9a-f]{32}[.a-z0-9]*"
    r"|inbox/\d+/rcp_[0-9a-f]{32}/(\d+|(output|embedded)-[0-9a-f]{32})"
    r"|artifacts/\d+/[0-9a-f]{32}/[0-9a-f]{32}|client/[0-9A-Za-z.+-]+\.pyz)#\d+",
    re.ASCII,
)


def is_partial_path(path: str) -> bool:
    """Return whether the path is that of a partially written file of the service."""
    return _PARTIAL.fullmatch(path) is not None


def stored_path(area: Area, org_id: OrgId, *parts: str) -> str:
    """Return the path of a file.

    Raises ValueError if a part contains other characters than letters, digits, dots, dashes, and underscores. Build
    parts from IDs of the service, not from names of a producer.
    """
    for part in parts:
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r} can't be part of a stored path")
    return "/".join((area, str(org_id), *parts))


def organization_prefixes(org_id: OrgId) -> list[str]:
    """Return the prefixes of all files of an organization."""
    return [f"{area}/{org_id}/" for area in get_args(Area)]


def belongs_to(path: str, org_id: OrgId, *areas: Area) -> bool:
    """Return whether an untrusted path is in one of these areas of the organization."""
    area, _, rest = path.partition("/")
    owner, _, name = rest.partition("/")
    is_plain = all(part not in {"", ".", ".."} for part in name.split("/"))
    return area in areas and owner == str(org_id) and is_plain


def resolve_reference(reference: str, storage_url: str, *areas: Area) -> tuple[OrgId, str] | None:
    """Return the organization and path of a reference to a stored file.

    The reference is a path or starts with the URL of the storage. Returns None for a reference to another storage,
    another area, or a path that leaves its area.
    """
    path = reference.removeprefix(storage_url.rstrip("/") + "/")
    owner = path.split("/")[1:2]
    if not owner or not _OWNER.fullmatch(owner[0]):
        return None
    org_id = OrgId(int(owner[0]))
    return (org_id, path) if belongs_to(path, org_id, *areas) else None


def content_disposition(name: str, *, inline: bool = False) -> str:
    """Return the header value with an ASCII file name and the exact name in UTF-8 (RFC 6266).

    A browser saves the file, unless it is `inline`.
    """
    plain = "".join(letter if letter.isascii() and letter.isprintable() else _REPLACEMENT for letter in name)
    plain = plain.replace("\\", _REPLACEMENT).replace('"', _REPLACEMENT)
    return f"{'inline' if inline else 'attachment'}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
