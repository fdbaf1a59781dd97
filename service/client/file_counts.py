"""The failing results of a run per file, with the change of their number against the baseline."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from service.domain.statuses import FAILING

_FIXED: Final = "fixed"


class FileCount(NamedTuple):
    """The number of failing results of a file, and its change, which is None without a complete comparison."""

    file: str
    failing: int
    change: int | None


def count_by_file(items: Iterable[dict[str, Any]], *, is_compared: bool) -> list[FileCount]:
    """Return the counts of each file with failing or fixed results, those with the largest increase first.

    `items` are the failing and fixed results of a comparison. A result without a file isn't counted.
    """
    failing: Counter[str] = Counter()
    failed_before: Counter[str] = Counter()
    for item in items:
        if item["file"]:
            failing[item["file"]] += item["change"] != _FIXED
            failed_before[item["file"]] += item["baseline_status"] in FAILING
    counted = [
        FileCount(file, failing[file], failing[file] - failed_before[file] if is_compared else None) for file in failing
    ]
    return sorted(counted, key=lambda count: (-(count.change or 0), -count.failing, count.file))
