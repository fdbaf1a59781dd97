"""The cases that a process knows."""

from service.cases.model import Case, CaseCache, CasesVersion, KnownCases
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import OrgId

ORG = OrgId(1)


def case(number: int) -> Case:
    return Case("shop", f"tc {number}", f"cart.{number}", f"behaves as specified, number {number}", 0, f"{number}.py")


def test_cache_of_40_mib_contains_many_cases_with_short_names() -> None:
    known = KnownCases.of(BoundedCache(40 * 2**20), ORG, CasesVersion(0, 0))
    for number in range(30_000):
        known.add(case(number), case(number).key)
    assert all(known.find(case(number)) == case(number).key for number in range(30_000))


def test_cases_are_known_for_one_version_of_one_organization() -> None:
    cache: CaseCache = BoundedCache(2**20)
    known, first = KnownCases.of(cache, ORG, CasesVersion(0, 0)), case(1)
    known.add(first, first.key)
    assert KnownCases.of(cache, ORG, CasesVersion(0, 0)).find(first) == first.key
    later = KnownCases.of(cache, ORG, CasesVersion(1, 0))
    assert later.find(first) is None
    assert KnownCases.of(cache, ORG, CasesVersion(0, 1)).find(first) is None
    known.add(case(2), case(2).key)  # by a batch that began earlier
    assert later.find(case(2)) is None
    assert KnownCases.of(cache, OrgId(2), CasesVersion(0, 0)).find(first) is None
    assert KnownCases.of(cache, OrgId(11), None).find(first) is None
