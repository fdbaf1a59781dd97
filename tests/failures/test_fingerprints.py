"""Fingerprints: failures that differ only in masked values have the same one, and others have different ones."""

import re
from time import process_time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import Fingerprint, fingerprint_id, parse_fingerprint_id
from service.failures.fingerprints import Fingerprinter, fingerprint, mask

MIB: Final = 2**20
WORDS: Final = "the payment was not accepted by"


def of(message: str | None, **fields: str | None) -> Fingerprint:
    values = {"project_id": "shop", "suite": "cart", "type_": "Error", "details": None, **fields}
    return fingerprint(message=message, **values)  # type: ignore[arg-type]


# From reports of the tools.
DAYJS = """Error: expect(received).toBe(expected) // Object.is equality

Expected: "2012-03-11T03:00:00-04:00"
Received: "2012-03-11T04:00:00-04:00"
    at Object.toBe (/src/src/dayjs/test/plugin/timezone.test.js:87:65)
    at Promise.then.completed (/src/src/dayjs/node_modules/jest-circus/build/utils.js:298:28)"""
ATTRS = """AssertionError: assert bool is None
 +  where None = get_return_type()
 +    where get_return_type = <attr._compat._AnnotationExtractor object at 0x7fdf64d21960>.get_return_type"""
JUNIT_JAVA = """unexpected exception type thrown; expected:<java.lang.IllegalStateException> but was:<java.lang.Error>
\tat org.junit.Assert.fail(Assert.java:88)"""
FLAKYBOT = (
    "The project docs does not contain an active database. Please visit http://console.cloud.google.com:80/datastore"
)
GO_TEST = """=== RUN   TestPays
    pays_test.go:12: Get "http://127.0.0.1:43121/pay": dial tcp 127.0.0.1:43121: connect: connection refused
--- FAIL: TestPays (0.01s)"""
GO_PANIC = """panic: test timed out after 10m0s

goroutine 17 [running]:
testing.(*M).startAlarm.func1()
\t/usr/local/go/src/testing/testing.go:2036 +0x8e"""
XUNIT = """Assert.Equal() Failure: Values differ
Expected: 3
Actual:   5
   at Shop.CartTests.Pays() in C:\\work\\cart\\CartTests.cs:line 12"""
NUNIT = "System.IO.FileNotFoundException : Could not find file 'C:\\Users\\ci\\AppData\\Local\\Temp\\tmp4A1.tmp'."
SELENIUM = """UnknownServerException: inspector error: {"code":-32000,"message":"Cannot navigate to invalid URL"}
  (Session info: chrome=50.0.2661.75)"""
PLAYWRIGHT = "Timed out 5000ms waiting for expect(locator).toBeVisible()"
PYTEST = "FileNotFoundError: [Errno 2] No such file or directory: '/tmp/pytest-of-ci/pytest-0/test_reads0/cart.csv'"


@pytest.mark.parametrize(
    ("message", "replacements", "other"),
    [
        pytest.param(
            DAYJS,
            [("03-11T03:00:00-04:00", "11-04T02:00:00-05:00"), ("87:65", "101:7")],
            ("timezone", "utc"),
            id="jest",
        ),
        pytest.param(ATTRS, [("0x7fdf64d21960", "0x7f0000000010")], ("bool is", "int is"), id="pytest with an address"),
        pytest.param(PYTEST, [("pytest-0/test_reads0/cart", "pytest-12/x/y")], ("No such", "Not a"), id="pytest"),
        pytest.param(JUNIT_JAVA, [("Assert.java:88", "Assert.java:103")], ("lang.Error", "lang.Exception"), id="JUnit"),
        pytest.param(
            FLAKYBOT, [("console.cloud.google.com:80", "localhost:8081")], ("/datastore", "/firestore"), id="Java"
        ),
        pytest.param(
            GO_TEST,
            [("43121", "55000"), ("(0.01s)", "(12.20s)"), ("12: Get", "7: Get")],
            ("connection r", "connection not r"),
            id="Go",
        ),
        pytest.param(
            GO_PANIC, [("10m0s", "1h30m0s"), ("17 [", "9 ["), ("+0x8e", "+0x1b4")], ("panic", "fatal"), id="Go panic"
        ),
        pytest.param(
            XUNIT, [("3\n", "1,000\n"), (" 5\n", " -7.5\n"), ("line 12", "line 9")], ("CartTests", "Pay"), id="xUnit"
        ),
        pytest.param(NUNIT, [("tmp4A1.tmp", "tmpB2.tmp")], ("find file", "open file"), id="NUnit"),
        pytest.param(SELENIUM, [("-32000", "7"), ("50.0.2661.75", "119.0")], ("navigate", "go"), id="Selenium"),
        pytest.param(PLAYWRIGHT, [("5000ms", "30 s")], ("toBeVisible", "toBeHidden"), id="Playwright"),
    ],
)
def test_messages_of_tools(message: str, replacements: list[tuple[str, str]], other: tuple[str, str]) -> None:
    changed = message
    for old, new in replacements:
        assert old in changed
        changed = changed.replace(old, new)
        assert of(changed) == of(message), mask(changed)
    assert of(message.replace(*other)) != of(message)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("order 12 of 1,000 costs -1.5e-3 or .5", "order # of # costs # or .#"),
        ("cart.ts:12:30 and 10.0.0.1:80 and a-1", "cart.ts:# and # and a-#"),
        ("after 5s, 1.5 minutes, 3m20s, 1 h 5 min, 20 µs", "after #, #, #, #, #"),
        ("5 stores in 5 mice", "# stores in # mice"),
        ("id 123e4567-e89b-12d3-a456-426614174000.", "id #."),
        ("commit 9e761a3, digest deadbeef00, facade, 0xFF", "commit #, digest #, facade, #"),
        ("token dGhpcyBpcyBhIHRlc3Q1==, aVeryLongIdentifierInCamelCase", "token #, aVeryLongIdentifierInCamelCase"),
        ("at 2026-11-25T19:51:05.123+01:00, 2026/11/25 19:51:05", "at #, #"),
        ("on Wed, 25 Nov 2026 19:51:05 GMT", "on #"),
        ("on Wed Nov 25 19:51:05 2026 or Nov 5, 2026 7:51 PM", "on # or #"),
        ("[25/Nov/2026:19:51:05 +0000] 3 Marks", "[#] # Marks"),
        ("GET https://u:p@shop.example:8443/cart?a=b", "GET https:#/cart?a=b"),
        ("open /tmp/a-b/c.txt: denied in /var/folders/x/T/y, /private/tmp/z", "open #: denied in #, #"),
        (r"open C:\Users\ci\AppData\Local\Temp\x.txt: denied, C:\cart\x.txt", r"open #: denied, C:\cart\x.txt"),
        ("got 'paid' not 'order 1', \"a/b\", `" + "x" * 41 + "`, “x1”", "got 'paid' not #, #, #, #"),
        ("can't read 5 of the user's files", "can't read # of the user's files"),
        ("'open /tmp/x: denied' and 'a' 1 'b'", "'open #: denied' and 'a' # 'b'"),
        ("int32 and user_7", "int# and user_#"),
        ("0x1f or 1x1f or 00x1f or 10x0X7f", "# or #x#f or #x#f or #x#X#f"),
        ("on Nov 5 2000x, due May 5, 12:00x", "on #x, due #x"),
        ("«1» and a line of 2\nand /a/tmp/x, C:/a/tmp/x, C:/a/temp", "# and a line of #\nand /a/tmp/x, #, C:/a/temp"),
    ],
)
def test_mask(text: str, masked: str) -> None:
    assert mask(text).replace("\0", "#") == masked


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (DAYJS, "fp1_cde05a5fd05ccbf0"),
        (ATTRS, "fp1_857c8aa7f36fb65e"),
        (PYTEST, "fp1_c4fa46310696c628"),
        (JUNIT_JAVA, "fp1_64b0356e99263f25"),
        (GO_TEST, "fp1_fb8a37a8fa844a3c"),
        (GO_PANIC, "fp1_c635c80aa91fc259"),
        (XUNIT, "fp1_1dead8d6deb547f4"),
        (NUNIT, "fp1_8e73d1c545b178d4"),
        (SELENIUM, "fp1_0f278f30b6e3e9d7"),
        (PLAYWRIGHT, "fp1_997d7dac5b14fcca"),
        ("assert 1 == 2", "fp1_1dbab95a753c09d2"),
        ("a 1 b c ef gh ij", "fp1_73f3d1d8f7d1f1ed"),  # three words
        ("übermäßiger größer 1", "fp1_8ff31758e255c8c1"),  # two words with four ASCII parts
        ("x'1 " * 1000 + WORDS, "fp1_84890432b7868d67"),
    ],
)
def test_fingerprints_of_version_1_never_change(message: str, expected: str) -> None:
    """Stored fingerprints and tickets depend on them. A change needs a new version."""
    assert fingerprint_id(of(message)) == fingerprint_id(of(message)) == expected


@given(st.lists(st.sampled_from(("0x", "x", "0", "7", "12", "2026", ":", "-", "/", "'", " ", "Nov ", "ab", "ms"))))
def test_digits_do_not_matter(parts: list[str]) -> None:
    """Except the zero of `0x`. The cache of fingerprints depends on this."""
    text = "".join(parts)
    other = re.sub(r"[0-9](?!x)", lambda digit: str(9 - int(digit[0])), text)
    assert mask(text) == mask(other)
    assert of(text) == of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"project_id": "shop"}, {"project_id": "blog"}),
        ({"type_": "KeyError"}, {"type_": "IndexError"}),
    ],
)
def test_project_and_type_are_part_of_the_hash(one: dict[str, str], other: dict[str, str]) -> None:
    assert of(f"{WORDS} 1", **one) != of(f"{WORDS} 1", **other)


def test_suite_is_part_of_the_hash_of_few_words() -> None:
    assert of("assert a1 == 2 or x", suite="a") != of("assert a1 == 2 or x", suite="b")
    assert of("one two three", suite="a") != of("one two three", suite="b")
    assert of("one two three four", suite="a") == of("one two three four", suite="b")
    assert of(None, suite="a") != of(None, suite="b")
    assert of(None, suite="a") == of("", suite="a")


def test_details_replace_a_missing_message() -> None:
    assert of(None, details=f"{WORDS} 1") == of(" \n", details=f"{WORDS} 2") == of(f"{WORDS} 3", details="other")


def test_only_the_first_ten_lines_count() -> None:
    lines = [f"{WORDS} {letter}" for letter in "abcdefghij"]
    assert of("\n".join(lines)) == of("\n".join([*lines, "k"]))
    assert of("\n".join(lines)) != of("\n".join([*lines[:-1], "k"]))


def test_public_id() -> None:
    number = of(WORDS)
    assert fingerprint_id(number).startswith("fp1_")
    assert parse_fingerprint_id(fingerprint_id(number)) == number
    assert parse_fingerprint_id(f"fp2_{'0' * 16}") is None


def _quoted(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(("'{}'", '"{}"', "`{}`", "“{}”")).map(lambda quotes: quotes.format(text))


_HEX = st.text("0123456789abcdef", min_size=7, max_size=64).filter(lambda text: any(map(str.isdigit, text)))
_BASE64 = st.text("ABCXYZabcxyz0123456789+/", min_size=20, max_size=60).map(lambda text: f"{text}1")
_VALUES = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.uuids().map(str),
    _HEX,
    _HEX.map(lambda text: f"0x{text}"),
    _BASE64,
    st.datetimes().map(str),
    st.datetimes().map(lambda time: f"{time.isoformat(timespec='milliseconds')}Z"),
    st.tuples(st.integers(0, 9999), st.sampled_from(("ms", " s", "s", " seconds", "m", "h", " days"))).map(
        lambda duration: f"{duration[0]}{duration[1]}"
    ),
    _HEX.map(lambda text: f"/tmp/{text}/x.log"),
    _HEX.flatmap(lambda text: _quoted(f"order {text}")),
    _quoted("a/b"),
    st.text("abc xyz", min_size=41).flatmap(_quoted),
)  # fmt: skip


@given(_VALUES, _VALUES)
def test_masked_values_do_not_matter(one: str, other: str) -> None:
    messages = [f"{WORDS} the provider: {value}, and then it stopped" for value in (one, other)]
    assert of(messages[0]) == of(messages[1])


_LETTERS = st.text(st.characters(categories=["L", "P", "Zs", "Sm"], exclude_characters="/'\"`“‘«:-+"), max_size=30)


@given(_LETTERS, _LETTERS, _VALUES)
def test_every_other_text_matters(one: str, other: str, value: str) -> None:
    messages = [f"{WORDS} the provider: {value} ({text})" for text in (one, other)]
    assert (of(messages[0]) == of(messages[1])) == (one == other)


@pytest.mark.parametrize(
    "repeated",
    [
        "'", " '", '"', "“", "«", "1s", "1 s", "1", "a", "a1", "/", "/tmp", "/tmp/", "C:\\", "C:\\a\\", "-1-", "x:12:",
        "Mon, ", "Nov 5 ", "May 1 1:1:1", "deadbeef-", "://", "1,000", "1.", "1e", "a/", "'a'b ", "\n", "ä",
        "aaaaaaaa1 ",
    ],
)  # fmt: skip
def test_hostile_texts_take_linear_time(repeated: str) -> None:
    text = repeated * (MIB // len(repeated))
    started = process_time()
    of(text)
    of(None, details=text)
    assert process_time() - started < 0.1
    started = process_time()
    mask(text[: MIB // 8])
    assert process_time() - started < 0.5, "not linear: at most 8,000 characters are masked, in less than 5 ms"


def test_fingerprint_does_not_depend_on_the_failures_before() -> None:
    """A failure can be found by its shape, which depends on the failures before."""
    fingerprints = Fingerprinter(20_000)
    lines = "\n".join(f"line {number} of the output" for number in range(1, 60))
    texts = ["total is 5", WORDS, f"{WORDS} 0x1f", lines[:900], lines, WORDS * 200]
    numbers = [of(text) for text in texts]
    assert len(set(numbers)) == len(texts) - 1, "the first lines of two texts are equal"
    for count in range(60):
        assert [fingerprints.find("shop", "cart", "Error", text, None) for text in texts] == numbers
        for number in range(count):
            assert fingerprints.find("shop", "cart", "Error", f"{WORDS} 0x{number}f", None) == numbers[2]
