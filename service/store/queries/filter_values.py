"""The SQL parameters of filters."""

from typing import Any, Final

from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId
from service.domain.statuses import STATUS_CODES

_ALL_CODES: Final = list(STATUS_CODES.values())


def filter_values(org_id: OrgId, filter_: RunFilter, after: Position | None) -> dict[str, Any]:
    """Return the parameters of a statement for the part of the list after a position.

    Each field of the filter is the parameter of its name. A field with several values is a list, or null without any.
    If no status is set, `any_status` is true, and `statuses` are all letters. The times are converted to the range of
    run keys from `first_key` to `before_run`. `trusted` is null if runs of both kinds match.
    """
    before = filter_.before(after)
    values = {
        name: (list(value) or None) if isinstance(value, tuple) else value for name, value in vars(filter_).items()
    }
    return values | {
        "org_id": org_id,
        "statuses": values["statuses"] or _ALL_CODES,
        "any_status": not values["statuses"],
        "trusted": filter_.is_trusted,
        "first_key": filter_.first_key,
        "before_run": before.run_key,
        "before_case": before.case_key,
    }
