"""Which quarantines match a case, and the globs, compared with an independent reference."""

import os
import random
import time

import pytest

from service.domain.globs import check_glob
from service.domain.ids import CaseKey
from service.quarantines.model import ActiveQuarantine, ActiveQuarantines, CaseMatcher, CaseTexts

CASE = CaseKey(7)


def matches(glob: str, text: str) -> bool:
    """Return whether a glob matches the name of a case, with the same result for its suite."""
    of_name = match(CaseMatcher(name=glob), name=text) is not None
    assert of_name == (match(CaseMatcher(suite=glob), suite=text) is not None)
    return of_name


def reference(glob: str, text: str) -> bool:
    """Match by dynamic programming over all prefixes, without regular expressions."""
    reachable = [True] + [False] * len(text)
    for character in glob:
        if character == "*":
            for end in range(1, len(text) + 1):
                reachable[end] = reachable[end] or reachable[end - 1]
        else:
            reachable = [False] + [
                before and character in ("?", letter) for before, letter in zip(reachable, text, strict=False)
            ]
    return reachable[-1]


def test_globs_match_like_the_reference() -> None:
    generator = random.Random(os.environ.get("RESULTS_TEST_SEED", "globs"))
    matching = 0
    for _ in range(5_000):
        glob = "".join(generator.choices("ab*?[].\n", weights=[6, 4, 4, 2, 1, 1, 1, 1], k=generator.randrange(8)))
        text = "".join(generator.choices("ab[].\n", weights=[6, 4, 1, 1, 1, 1], k=generator.randrange(10)))
        assert matches(glob, text) == reference(glob, text), (glob, text)
        matching += matches(glob, text)
    assert matching > 300


@pytest.mark.parametrize(
    ("glob", "text", "expected"),
    [
        ("pays", "pays", True),
        ("pays", "pays twice", False),
        ("pays*", "pays", True),
        ("Pays", "pays", False),
        ("test_[a]", "test_[a]", True),
        ("test_[a]", "test_a", False),
        ("a.c", "abc", False),
        ("a\\*", "a\\b", True),
        ("", "", True),
        ("", "a", False),
        ("*", "", True),
        ("?", "", False),
        ("*", "two\nlines", True),
        ("a?", "a\n", True),
        ("a", "a\n", False),
        ("*ab*ab*", "abab", True),
        ("*aab", "aaab", True),
    ],
)
def test_glob_matches_the_complete_text_literally(glob: str, text: str, expected: bool) -> None:
    assert matches(glob, text) is expected


def test_glob_without_a_match_takes_little_time() -> None:
    """A backtracking expression takes hours, and an attempt at each position takes seconds."""
    globs = [f"*{'a?' * (150 + number)}b*" for number in range(90)]
    quarantines = ActiveQuarantines(ActiveQuarantine(glob, CaseMatcher(name=glob)) for glob in globs)
    started = time.thread_time()
    assert not matches("*a?a*a?a*a?a*a?a*b", "a" * 5_000)
    assert not any(quarantines.match([CaseTexts(CASE, "shop", "a" * 1_000 + "--b", {})]))
    assert time.thread_time() - started < 0.1


@pytest.mark.parametrize("glob", ["x" * 500, "*" * 5, "*a*b*c*d*"])
def test_glob_within_the_limits_is_accepted(glob: str) -> None:
    assert check_glob(glob) == glob


@pytest.mark.parametrize(("glob", "message"), [("x" * 501, "at most 500 characters"), ("*" * 6, r"at most 5 \*")])
def test_glob_over_the_limits_is_rejected(glob: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_glob(glob)


def match(*matchers: CaseMatcher, suite: str = "shop.cart", name: str = "pays", **variant: str) -> str | None:
    """Return the ID of the matching quarantine. The first matcher has the highest ID."""
    quarantines = [ActiveQuarantine(f"qua_{9 - index}", matcher) for index, matcher in enumerate(matchers)]
    found = list(filter(None, ActiveQuarantines(quarantines).match([CaseTexts(CASE, suite, name, variant)])))
    assert [excused.case_key for excused in found] == [CASE] * len(found)
    return found[0].quarantine_id if found else None


@pytest.mark.parametrize(
    ("matcher", "expected"),
    [
        (CaseMatcher(CASE), True),
        (CaseMatcher(CaseKey(8)), False),
        (CaseMatcher(suite="shop.*"), True),
        (CaseMatcher(suite="shop"), False),
        (CaseMatcher(name="pay?"), True),
        (CaseMatcher(suite="shop.*", name="ships"), False),
        (CaseMatcher(suite="blog.*", name="pays"), False),
        (CaseMatcher(name="pays", variant={"os": "linux"}), True),
        (CaseMatcher(name="pays", variant={"os": "linux", "browser": "firefox"}), True),
        (CaseMatcher(name="pays", variant={"os": "windows"}), False),
        (CaseMatcher(name="pays", variant={"python": "3.12"}), False),
    ],
)
def test_matcher_matches_by_case_or_by_names_and_variant(matcher: CaseMatcher, expected: bool) -> None:
    assert (match(matcher, os="linux", browser="firefox") is not None) is expected


def test_oldest_matching_quarantine_is_returned() -> None:
    assert match() is None
    assert match(CaseMatcher(name="*"), CaseMatcher(CASE), CaseMatcher(suite="blog")) == "qua_8"
    assert match(CaseMatcher(CASE), CaseMatcher(name="*")) == "qua_8"
    assert match(CaseMatcher(CASE), CaseMatcher(CASE)) == "qua_8"
    assert match(CaseMatcher(name="*"), CaseMatcher(suite="*")) == "qua_8"


def test_cases_of_one_suite_are_matched_separately() -> None:
    quarantines = ActiveQuarantines([ActiveQuarantine("qua_1", CaseMatcher(suite="shop", name="pays"))])
    names = [("shop", "ships"), ("shop", "pays"), ("blog", "pays")]
    cases = [CaseTexts(CaseKey(key), suite, name, {}) for key, (suite, name) in enumerate(names)]
    assert list(quarantines.match(cases)) == [None, (1, "qua_1"), None]


def test_caller_can_pause_after_each_compared_glob() -> None:
    globs = ["*a?b", "*a??b", "pay*", "*"]
    quarantines = ActiveQuarantines(
        ActiveQuarantine(f"qua_{n}", CaseMatcher(name=glob)) for n, glob in enumerate(globs)
    )
    assert list(quarantines.match([CaseTexts(CASE, "", "xab", {})])) == [None, None, (CASE, "qua_3")]
