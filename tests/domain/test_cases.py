"""The cache of known cases: its memory, and the cases that it keeps."""

import tracemalloc

from service.domain.cases import Case, KnownCases
from service.domain.ids import OrgId

ORG = OrgId(1)
MEBIBYTE = 2**20


def case(number: int, text: str = "") -> Case:
    return Case("shop", f"tc {number}", f"{text}{number}", f"{number}{text}", 0, f"tests/{text}{number}")


def known_cases(*max_bytes: int) -> KnownCases:
    known = KnownCases(*max_bytes)
    known.renew({ORG: 0})
    return known


def test_memory_is_limited_also_with_long_names() -> None:
    known = known_cases(4 * MEBIBYTE)
    tracemalloc.start()
    try:
        for number in range(5_000):
            each = case(number, "\N{SNOWMAN}" * 1_000)
            known.add(ORG, each, each.key, 0)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 2 * MEBIBYTE < size < 5 * MEBIBYTE


def test_default_cache_keeps_many_cases_with_short_names() -> None:
    known = known_cases()
    for number in range(30_000):
        known.add(ORG, case(number), case(number).key, 0)
    assert all(known.of(ORG)(case(number)) for number in range(30_000))


def test_recently_used_case_stays() -> None:
    known = known_cases(MEBIBYTE)
    used, unused = case(0), case(1)
    known.add(ORG, used, used.key, 0)
    known.add(ORG, unused, unused.key, 0)
    for number in range(2, 10_000):
        known.add(ORG, case(number), case(number).key, 0)
        known.of(ORG)(used)
    assert known.of(ORG)(used) == used.key
    assert known.of(ORG)(unused) is None


def test_cases_are_known_for_one_version() -> None:
    known, first, second = known_cases(), case(1), case(2)
    known.add(ORG, first, first.key, 0)
    known.renew({ORG: 0})
    assert known.of(ORG)(first) == first.key
    known.renew({ORG: 1})
    assert known.of(ORG)(first) is None
    known.add(ORG, first, first.key, 0)  # by a batch that began earlier
    known.add(ORG, second, second.key, 1)
    assert (known.of(ORG)(first), known.of(ORG)(second)) == (None, second.key)
    known.add(OrgId(2), first, first.key, known.version(OrgId(2)))  # no version was read
    assert known.of(OrgId(2))(first) is None


def test_lookup_of_an_earlier_version_adds_no_case() -> None:
    known, used = known_cases(MEBIBYTE), case(0)
    known.add(ORG, used, used.key, 0)
    for number in range(1, 1_500):
        known.add(ORG, case(number), case(number).key, 0)
    find = known.of(ORG)
    known.renew({ORG: 1})
    assert find(used) == used.key
    assert known.of(ORG)(used) is None
