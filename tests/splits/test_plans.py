"""The plan of a split: the longest item first, always to the part with the least time."""

import random
from statistics import median

import pytest

from service.splits.model import plan_parts


def test_longest_item_is_assigned_first_to_the_part_with_the_least_time() -> None:
    durations_ms = {"a": 50, "b": 40, "c": 30, "d": 30, "e": 20, "f": 10}
    plan = plan_parts(list(durations_ms), durations_ms, 2)
    assert plan.parts == [["a", "d", "f"], ["b", "c", "e"]]
    assert plan.predicted_ms == [90, 90]
    assert plan.gain_ms == 100 - 90  # a, c, and e are the first part of an alphabetical split
    assert plan.unknown_items == 0


def test_names_decide_between_equal_times() -> None:
    plan = plan_parts(["d", "a", "c", "b"], dict.fromkeys("abcd", 7), 2)
    assert plan.parts == [["a", "c"], ["b", "d"]]
    assert plan.predicted_ms == [14, 14]


@pytest.mark.parametrize("seed", range(20))
def test_equal_inputs_have_equal_plans_in_any_order(seed: int) -> None:
    chosen = random.Random(seed)
    items = [f"test_{number}.py" for number in range(chosen.randrange(1, 200))]
    known = chosen.sample(items, chosen.randrange(len(items) + 1))
    durations_ms = {item: chosen.choice([0, 1, 5, 5, 5, 90, 4_000]) for item in known}
    total = chosen.randrange(1, 12)
    plan = plan_parts(items, durations_ms, total)
    for _ in range(5):
        chosen.shuffle(items)
        chosen.shuffle(known)
        assert plan_parts(items, {item: durations_ms[item] for item in known}, total) == plan
    assert sorted(item for part in plan.parts for item in part) == sorted(items)
    assert len(plan.parts) == total
    assert all(list(part) == sorted(part) for part in plan.parts)
    assert plan.unknown_items == len(items) - len(known)


@pytest.mark.parametrize("seed", range(20))
def test_no_part_is_longer_than_the_bound_of_the_rule(seed: int) -> None:
    """The last item of the slowest part began when no other part had less time."""
    chosen = random.Random(seed)
    durations_ms = {f"test_{number}.py": chosen.randrange(1, 10_000) for number in range(chosen.randrange(1, 300))}
    total = chosen.randrange(1, 9)
    plan = plan_parts(list(durations_ms), durations_ms, total)
    assert plan.predicted_ms is not None
    assert sum(plan.predicted_ms) == sum(durations_ms.values())
    slowest, mean = max(plan.predicted_ms), sum(durations_ms.values()) / total
    assert slowest <= mean + max(durations_ms.values()) * (1 - 1 / total)


def test_parts_without_items_are_empty() -> None:
    plan = plan_parts(["a"], {"a": 5}, 3)
    assert (plan.parts, plan.predicted_ms, plan.gain_ms) == ([["a"], [], []], [5, 0, 0], 0)


def test_item_without_a_duration_gets_the_median_of_the_others() -> None:
    durations_ms = {"a": 10, "b": 100, "c": 1_000}
    plan = plan_parts(["a", "b", "c", "new"], durations_ms, 4)
    assert plan.unknown_items == 1
    assert plan.predicted_ms == [1_000, 100, 100, 10]
    assert median(durations_ms.values()) == 100
    assert plan.parts == [["c"], ["b"], ["new"], ["a"]]


def test_items_without_time_are_distributed_to_all_parts() -> None:
    plan = plan_parts(list("abcdef"), dict.fromkeys("abcdef", 0), 3)
    assert sorted(map(len, plan.parts)) == [2, 2, 2]


def test_without_a_duration_nothing_is_predicted() -> None:
    plan = plan_parts(list("abcde"), {}, 2)
    assert (plan.predicted_ms, plan.gain_ms, plan.unknown_items) == (None, None, 5)
    assert sorted(map(len, plan.parts)) == [2, 3]
