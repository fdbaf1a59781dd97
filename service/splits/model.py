"""Splits: the plan of the items of parallel jobs, and the items that no job executed.

An item is a file or a case. A job states its assignment, the items that it executes, with its upload, so that an item
that no job executed is known by name.
"""

import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from heapq import heapreplace
from statistics import median
from typing import Final, Literal, NamedTuple

SplitUnit = Literal["file", "case"]
MissingReason = Literal["no_upload", "no_results"]

MAX_SPLIT_KEY: Final = 200
MAX_ITEMS: Final = 50_000
MAX_ITEM: Final = 1_000  # characters
MAX_PARTS: Final = 1_000
MAX_SPLIT_BYTES: Final = 10 * 2**20  # of a request, and of an assignment without compression
MAX_SPLITS: Final = 20  # of one pipeline or run in a project
MAX_ASSIGNMENTS: Final = 5_000  # of the splits of a run
MAX_ASSIGNMENTS_OF_UPLOAD: Final = 20
SPLIT_DAYS: Final = 30
HISTORY_RUNS: Final = 20  # the newest ones of the base branch
MAX_HISTORY_RESULTS: Final = 200_000  # in about 0.5 s; runs before these aren't read
ASSIGNMENT_FORMAT: Final = 1
_NAME_BYTES: Final = 8


class SplitPlan(NamedTuple):
    """The items of each part, in the order of their names.

    `predicted_ms` is the sum of the durations of each part, with the median for items without a duration. It is None
    if no item has a duration. `gain_ms` is the difference between the slowest part of an alphabetical split and the
    slowest part of the plan.
    """

    parts: Sequence[Sequence[str]]
    predicted_ms: Sequence[int] | None
    unknown_items: int
    gain_ms: int | None


class Assignment(NamedTuple):
    """The items that a job executes, with the plan that it follows.

    `all_items` are the items of all jobs if the server didn't respond, so that the job split them by name, else None.
    If it `expects_results`, the job has executed only the items with results.
    """

    key: str
    unit: SplitUnit
    total: int
    number: int  # of the part, from 1
    items: Collection[str]
    all_items: Collection[str] | None
    expects_results: bool = False


class MissingItem(NamedTuple):
    """An item that no job executed. Without a known part, `number` is None."""

    key: str
    item: str
    number: int | None
    reason: MissingReason


def plan_parts(items: Collection[str], durations_ms: Mapping[str, int], total: int) -> SplitPlan:
    """Return the plan of distinct items: the longest item first, always to the part with the least time.

    Names of items and numbers of parts decide between equal times, so that equal inputs have equal plans.
    """
    names = sorted(items)
    known = [durations_ms[name] for name in names if name in durations_ms]
    assumed = round(median(known)) if known else 1
    times = [max(1, durations_ms.get(name, assumed)) for name in names]  # so that no part gets all items without time
    assigned: list[list[int]] = [[] for _ in range(total)]
    loads = list(range(total))  # the time of each part, multiplied by the total, plus its number: a heap
    for position in sorted(range(len(names)), key=times.__getitem__, reverse=True):
        load = loads[0]
        assigned[load % total].append(position)
        heapreplace(loads, load + times[position] * total)
    parts = [[names[position] for position in sorted(part)] for part in assigned]
    if not known:
        return SplitPlan(parts, None, len(names), None)
    predicted = [sum(times[position] for position in part) for part in assigned]
    alphabetical = max(sum(times[number::total]) for number in range(total))
    return SplitPlan(parts, predicted, len(names) - len(known), alphabetical - max(predicted))


def select_by_name(items: Iterable[str], total: int, number: int) -> list[str]:
    """Return the items of a part without a plan. The part of an item follows only from its name and the total."""
    return sorted(item for item in items if _part_by_name(item, total) == number)


def _part_by_name(item: str, total: int) -> int:
    digest = sha256(item.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_NAME_BYTES], "big") % total + 1


def name_in_results(item: str, unit: SplitUnit, path_prefix: str) -> str:
    """Return the name of an item in results: the path from the root of the repository, or `suite > name` of a case."""
    return posixpath.normpath(posixpath.join(path_prefix, item)) if unit == "file" else item


def describe_difference(planned: Collection[str], requested: Collection[str]) -> str:
    """Return the first items that only one of two collections contains, in words."""
    absent, added = sorted(set(planned) - set(requested)), sorted(set(requested) - set(planned))
    sides = {"the request lacks": absent, "the plan lacks": added}
    return "; ".join(f"{word} {_list(items)}" for word, items in sides.items() if items)


def _list(items: Sequence[str], shown: int = 5) -> str:
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return ", ".join(map(repr, items[:shown])) + more


def find_missing_items(
    key: str, planned: Mapping[str, int], assignments: Iterable[Assignment], names: Mapping[str, str],
    in_baseline: Collection[str], executed: Collection[str],
) -> list[MissingItem]:  # fmt: skip
    """Return the items that no job executed, in the order of their names.

    `planned` has the number of the part of each item of the plan, and `assignments` are those of accepted uploads. An
    item is missing if no assignment contains it, or if the run has no results of it, and the baseline has, or each
    assignment with the item expects results.
    `names` are the names in results of items, which `in_baseline` and `executed` contain.
    """
    numbers: dict[str, int | None] = dict(planned)
    assigned: set[str] = set()
    expected: set[str] = set()  # to have results
    for assignment in assignments:
        (expected if assignment.expects_results else assigned).update(assignment.items)
        for item in (*assignment.items, *(assignment.all_items or ())):
            numbers.setdefault(item, None)
    missing = []
    stated = assigned | expected
    for item, number in sorted(numbers.items()):
        if item not in stated:
            missing.append(MissingItem(key, item, number, "no_upload"))
        elif (name := names[item]) not in executed and (item not in assigned or name in in_baseline):
            missing.append(MissingItem(key, item, number, "no_results"))
    return missing
