"""Where an organization's files lie: `<area>/<org_id>/…`, so that no path can name another's."""

import re
from typing import Final, Literal

from service.domain.ids import OrgId

# artifacts: files of results and runs · exports: what export jobs wrote · inbox: where producers leave large events ·
# uploads: reports on their way into the store
Area = Literal["artifacts", "exports", "inbox", "uploads"]

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
