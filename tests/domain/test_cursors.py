"""Cursors: valid for one list, one organization, and one filter, and independent of filters that are not set."""

from dataclasses import dataclass
from typing import Annotated, Final

import pytest

from service.domain.cursors import CursorCodec, Cursors
from service.domain.errors import InvalidRequest
from service.domain.filter_types import TextType
from service.domain.filters import FilterParameter, ResultFilter
from service.domain.ids import CaseKey, OrgId

CODEC: Final = CursorCodec[bytes](bytes, bytes)
ORG: Final = OrgId(1)
FILTER: Final = ResultFilter(statuses=("f",), project_id="shop", from_ms=0, case_key=CaseKey(-7))
# Created by version 1 of the format. It must work until that version is no longer supported.
RELEASED: Final = "AXBvc2l0aW9ud0UdGXyoh0Q"


@dataclass(frozen=True)
class LaterFilter(ResultFilter):
    """The filter of a later version, with a field that clients of the earlier version couldn't set."""

    commit_sha: Annotated[str | None, FilterParameter("commit_sha", TextType(), "Commit", ("results",))] = None


def cursors(filter_: ResultFilter, list_name: str = "results", org_id: OrgId = ORG) -> Cursors[bytes]:
    return Cursors(CODEC, list_name, org_id, filter_.set_fields())


def later(commit_sha: str | None) -> LaterFilter:
    return LaterFilter(**FILTER.set_fields(), commit_sha=commit_sha)


def test_cursor_contains_its_position() -> None:
    assert cursors(FILTER).read(cursors(FILTER).write(b"position")) == b"position"
    assert cursors(FILTER).read(None) is None
    assert cursors(FILTER).write(None) is None


def test_released_cursor_still_works() -> None:
    assert cursors(FILTER).read(RELEASED) == b"position"


def test_cursor_from_before_a_filter_existed_still_works() -> None:
    assert cursors(later(None)).read(cursors(FILTER).write(b"position")) == b"position"
    with pytest.raises(InvalidRequest):
        cursors(later("abc")).read(cursors(FILTER).write(b"position"))


@pytest.mark.parametrize(
    "other",
    [
        cursors(ResultFilter()),
        cursors(ResultFilter(statuses=("e",), project_id="shop", from_ms=0, case_key=CaseKey(-7))),
        cursors(ResultFilter(statuses=("f",), branch="shop", from_ms=0, case_key=CaseKey(-7))),
        cursors(FILTER, list_name="runs"),
        cursors(FILTER, org_id=OrgId(2)),
    ],
)
def test_cursor_of_another_filter_list_or_organization_is_rejected(other: Cursors[bytes]) -> None:
    with pytest.raises(InvalidRequest, match="starting_after"):
        cursors(FILTER).read(other.write(b"position"))


def test_cursor_of_another_version_is_rejected() -> None:
    with pytest.raises(InvalidRequest):
        cursors(FILTER).read("An" + RELEASED[2:])
