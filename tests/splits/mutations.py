"""Deliberate defects of the client, the plan, and the server, which the simulation must detect."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

import pytest

from service.splits import model
from service.splits.model import Assignment, MissingItem, SplitPlan
from tests.splits import client, simulation

Patch = pytest.MonkeyPatch


def split_by_position(patch: Patch) -> None:
    """Let a job without the server take each nth item of its own list, as bktec does."""

    def select(items: Iterable[str], total: int, number: int) -> list[str]:
        return sorted(items)[number - 1 :: total]

    patch.setattr(client, "select_by_name", select)


def count_rejected_uploads(patch: Patch) -> None:
    patch.setattr(simulation, "COUNTED_UPLOADS", frozenset({"stored", "rejected"}))


def replace_the_plan(patch: Patch) -> None:
    """Give each request with other items or another total a plan of its own."""
    put = simulation.Server.put

    def put_anew(self: Any, request: Any) -> Any:
        self.plans.pop(request.key, None)
        return put(self, request)

    patch.setattr(simulation.Server, "put", put_anew)


def accept_other_items(patch: Patch) -> None:
    """Give a request the stored plan although its items differ."""
    put = simulation.Server.put

    def put_equal(self: Any, request: Any) -> Any:
        if request.key in self.plans:
            planned = self.plans[request.key][0]
            request = request._replace(items=planned.items, total=planned.total)
        return put(self, request)

    patch.setattr(simulation.Server, "put", put_equal)


def plan_without_the_last_item(patch: Patch) -> None:
    plan = model.plan_parts

    def plan_fewer(items: Collection[str], durations_ms: Mapping[str, int], total: int) -> SplitPlan:
        return plan(sorted(items)[:-1], durations_ms, total)

    patch.setattr(model, "plan_parts", plan_fewer)


def plan_an_item_twice(patch: Patch) -> None:
    plan = model.plan_parts

    def plan_more(items: Collection[str], durations_ms: Mapping[str, int], total: int) -> SplitPlan:
        planned = plan(items, durations_ms, total)
        return planned._replace(parts=[sorted({*part, min(items)}) for part in planned.parts])

    patch.setattr(model, "plan_parts", plan_more)


def find_missing_items_without(patch: Patch, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the arguments of the function that finds missing items."""
    find = model.find_missing_items

    def find_fewer(*values: Any) -> list[MissingItem]:
        names = ("key", "planned", "assignments", "names", "in_baseline", "executed")
        arguments = dict(zip(names, values, strict=True))
        change(arguments)
        return find(**arguments)

    patch.setattr(model, "find_missing_items", find_fewer)


def ignore_the_plan(patch: Patch) -> None:
    find_missing_items_without(patch, lambda arguments: arguments.update(planned={}))


def ignore_results(patch: Patch) -> None:
    """Regard each stated item as executed."""
    find_missing_items_without(patch, lambda arguments: arguments.update(in_baseline=()))


def ignore_the_items_of_all_jobs(patch: Patch) -> None:
    """Regard only the items of assignments, although a job without the server states those of all jobs."""

    def change(arguments: dict[str, Any]) -> None:
        assignments: list[Assignment] = arguments["assignments"]
        arguments["assignments"] = [assignment._replace(all_items=None) for assignment in assignments]

    find_missing_items_without(patch, change)


MUTATIONS: Final[Mapping[str, Callable[[Patch], None]]] = {
    change.__name__: change
    for change in (
        split_by_position,
        count_rejected_uploads,
        replace_the_plan,
        accept_other_items,
        plan_without_the_last_item,
        plan_an_item_twice,
        ignore_the_plan,
        ignore_results,
        ignore_the_items_of_all_jobs,
    )
}
