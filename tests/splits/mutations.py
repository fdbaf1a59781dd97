"""Deliberate defects of the client, the plan, and the server, which the simulation must detect."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import pytest

from service.client import splits
from service.splits import model
from service.splits.model import Assignment, MissingItem, SplitPlan
from tests.splits import simulation
from tests.splits.client import Machine, Plan, Request

Patch = pytest.MonkeyPatch

_PATTERN: Final = ".zof-results/splits/*.json"


def split_by_position(patch: Patch) -> None:
    """Let a job without the server take each nth item of its own list, as bktec does."""

    def select(items: Iterable[str], total: int, number: int) -> list[str]:
        return sorted(items)[number - 1 :: total]

    patch.setattr(model, "select_by_name", select)


def send_stale_assignments(patch: Patch) -> None:
    """Send the assignments of earlier jobs and pipelines with those of the job."""

    def find_all(self: Machine, _run_id: str) -> list[Any]:
        return [splits._read(path)["assignment"] for path in sorted(self.checkout.glob(_PATTERN))]

    patch.setattr(Machine, "find_assignments", find_all)


def reuse_any_assignment(patch: Patch) -> None:
    """Let a job execute the items of the file in its workspace, also if another job wrote them."""
    split = Machine.split

    def split_again(self: Machine, request: Request) -> list[str]:
        for path in self.checkout.glob(_PATTERN):
            if (stored := splits._read(path)["assignment"])["key"] == request.key:
                return [*stored["items"]]
        return split(self, request)

    patch.setattr(Machine, "split", split_again)


def decide_in_each_worker(patch: Patch) -> None:
    """Let each process of a test tool request its part, without the file of the others."""
    split = Machine.split

    def split_again_alone(self: Machine, request: Request) -> list[str]:
        for path in self.checkout.glob(_PATTERN):
            path.unlink()
        return split(self, request)

    patch.setattr(Machine, "split", split_again_alone)


def count_rejected_uploads(patch: Patch) -> None:
    patch.setattr(simulation, "COUNTED_UPLOADS", frozenset({"stored", "rejected"}))


def replace_the_plan(patch: Patch) -> None:
    """Give each request with other items or another total a plan of its own."""
    put = simulation.Server.put

    def put_again(self: simulation.Server, key: str, total: int, items: Sequence[str]) -> Plan:
        self.plans.pop(key, None)
        return put(self, key, total, items)

    patch.setattr(simulation.Server, "put", put_again)


def accept_other_items(patch: Patch) -> None:
    """Give a request the stored plan although its items differ."""
    put = simulation.Server.put

    def put_equal(self: simulation.Server, key: str, total: int, items: Sequence[str]) -> Plan:
        plan = self.plans.get(key, ())
        return plan if len(plan) == total else put(self, key, total, items)

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
        send_stale_assignments,
        reuse_any_assignment,
        decide_in_each_worker,
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
