"""A run with everything that one page shows about it."""

from service.domain.rows import RunRow
from service.store.postgres.composition import ROW_BUDGET


def is_sortable(run: RunRow) -> bool:
    """Return whether a page sorts the results of a run."""
    return run.counts.total <= ROW_BUDGET
