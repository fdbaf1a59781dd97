"""Log events of temporary database errors."""

from service.log import log
from service.store.postgres.database import is_conflict
from service.store.postgres.retries import is_missing_right


def log_temporary(error: BaseException, **fields: object) -> None:
    """Log an error after which the work is repeated, with its cause: a conflict, a missing permission, or an outage."""
    fields["error"] = repr(error)
    if is_conflict(error):
        log.warning("database_conflict", **fields)
    elif is_missing_right(error):
        log.warning("database_permission_missing", **fields)
    else:
        log.warning("database_unreachable", **fields)
