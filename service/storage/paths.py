"""Where an organization's files lie: `<area>/<org_id>/…`, so that no path can name another's."""

import re
from typing import Final, Literal

from service.domain.ids import OrgId

# artifacts: files of results and runs · exports: what export jobs wrote · inbox: reports on their way into the store,
# and where producers leave large events
Area = Literal["artifacts", "exports", "inbox"]

_OWNER: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)


def stored_path(area: Area, org_id: OrgId, *parts: str) -> str:
    """The path of a file. Raises ValueError for a part that is not plain: use our ids, not a producer's names."""
    for part in parts:
        if not _PART.fullmatch(part):
            raise ValueError(f"{part!r} can't be part of a stored path")
    return "/".join((area, str(org_id), *parts))


def belongs_to(path: str, org_id: OrgId, *areas: Area) -> bool:
    """Whether a path that someone gave us lies in one of these areas of this organization."""
    area, _, rest = path.partition("/")
    owner, _, name = rest.partition("/")
    plain = all(part not in {"", ".", ".."} for part in name.split("/"))
    return area in areas and owner == str(org_id) and plain


def referred_path(reference: str, storage_url: str, *areas: Area) -> tuple[OrgId, str] | None:
    """The path that somebody refers to, as itself or behind the URL of our storage, and whose it is.

    None for anything else: another's storage, another area, a way out of it.
    """
    path = reference.removeprefix(storage_url.rstrip("/") + "/")
    owner = path.split("/")[1:2]
    if not owner or not _OWNER.fullmatch(owner[0]):
        return None
    org_id = OrgId(int(owner[0]))
    return (org_id, path) if belongs_to(path, org_id, *areas) else None
