"""The cache of known cases: its memory, and the cases that it keeps."""

import tracemalloc

from service.domain.cases import Case, KnownCases
from service.domain.ids import OrgId

ORG = OrgId(1)
MEBIBYTE = 2**20


def case(number: int, text: str = "") -> Case:
    return Case("shop", f"tc {number}", f"{text}{number}", f"{number}{text}", 0, f"tests/{text}{number}")


def test_memory_is_limited_also_with_long_names() -> None:
    known = KnownCases(4 * MEBIBYTE)
    tracemalloc.start()
    try:
        for number in range(5_000):
            each = case(number, "\N{SNOWMAN}" * 1_000)
            known.add(ORG, each, each.key)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2 * MEBIBYTE < size < 5 * MEBIBYTE


def test_default_cache_keeps_many_cases_with_short_names() -> None:
    known = KnownCases()
    for number in range(30_000):
        known.add(ORG, case(number), case(number).key)
    assert all(known.of(ORG)(case(number)) for number in range(30_000))


def test_recently_used_case_stays() -> None:
    known = KnownCases(MEBIBYTE)
    used, unused = case(0), case(1)
    known.add(ORG, used, used.key)
    known.add(ORG, unused, unused.key)
    for number in range(2, 10_000):
        known.add(ORG, case(number), case(number).key)
        known.of(ORG)(used)
    assert known.of(ORG)(used) == used.key
    assert known.of(ORG)(unused) is None
