"""Damaged copies of reports. The same seed and number always give the same mutant of the same reports."""

import random
import re
from collections.abc import Callable, Sequence
from typing import Final

TOKENS: Final = (
    b"<", b">", b"&", b"]]>", b"<![CDATA[", b"\0", b"\xff", b'"', b"{", b"]", b"\\ud800", b"&#xD800;", b"-1e999",
)  # fmt: skip
_MAX_SIZE: Final = 100_000  # bytes of a mutant
_MAX_CHANGES: Final = 4
_MAX_REPEATS: Final = 100
_MAX_SLICE: Final = 2_000
# Values that a program might not expect instead of a text, a number, or a name.
_TEXTS: Final = (
    b'""', b'"-1"', b'"0"', b'"1.5"', b'"NaN"', b'"1e999"', b'"null"', b'"\xc2\xb2"', b'"9999-12-31T23:59:59Z"',
    b'"0001-01-01T00:00:00+23:59"', b'"99991231 23:59:59.999"', b'"/home/ci/shop/a.py"', b'"' + b"9" * 400 + b'"',
)  # fmt: skip
_VALUES: Final = (
    *_TEXTS, b"null", b"true", b"[]", b"{}", b"[[]]", b'{"a": 1}', b"0", b"-1", b"1.5", b"1e999", b"9" * 400,
)  # fmt: skip
_NESTED: Final = (b"[", b'{"a":', b'{"suites":[', b'{"steps":[{"name":"a",', b"<a>", b"<suite>", b"<testsuite>", b"  ")
_WRITTEN_VALUE: Final = re.compile(rb'(?<=[=:,[ ])(?:"[^"\n<>]{0,200}"|\d{1,30}\b|null|true|false)')
# An element without child elements, or a JSON object without lists and objects.
_PART: Final = re.compile(rb"<(\w+)(?:\s[^<>]*)?>[^<]{0,2000}</\1>|<\w[^<>]*/>|\{[^{}\[\]]{0,2000}\}")

Report = bytes
Mutation = Callable[[random.Random, Report, Report], Report]


def mutant(reports: Sequence[Report], seed: int, number: int) -> Report:
    """Return a copy of one of the reports with a few changes."""
    choice = random.Random(f"{seed}-{number}")
    report = choice.choice(reports)
    mutations = choice.choice((_OF_VALUES, _OF_VALUES, (*_OF_VALUES, *_OF_BYTES)))
    for _ in range(choice.randint(1, _MAX_CHANGES)):
        report = choice.choice(mutations)(choice, report, choice.choice(reports))[:_MAX_SIZE]
    return report


def _slice(choice: random.Random, report: Report) -> tuple[int, int]:
    start = choice.randint(0, len(report))
    return start, min(len(report), start + choice.randint(0, _MAX_SLICE))


def _change_bytes(choice: random.Random, report: Report, _other: Report) -> Report:
    changed = bytearray(report)
    for _ in range(choice.randint(1, 8) if report else 0):
        changed[choice.randrange(len(changed))] = choice.randrange(256)
    return bytes(changed)


def _delete(choice: random.Random, report: Report, _other: Report) -> Report:
    start, end = _slice(choice, report)
    return report[:start] + report[end:]


def _truncate(choice: random.Random, report: Report, _other: Report) -> Report:
    return report[: choice.randint(0, len(report))]


def _repeat(choice: random.Random, report: Report, _other: Report) -> Report:
    start, end = _slice(choice, report)
    return report[:end] + report[start:end] * choice.choice((1, 2, _MAX_REPEATS)) + report[end:]


def _insert_slice(choice: random.Random, report: Report, other: Report) -> Report:
    start, end = _slice(choice, other)
    position = choice.randint(0, len(report))
    return report[:position] + other[start:end] + report[position:]


def _swap_slice(choice: random.Random, report: Report, other: Report) -> Report:
    (start, end), (other_start, other_end) = _slice(choice, report), _slice(choice, other)
    return report[:start] + other[other_start:other_end] + report[end:]


def _insert_token(choice: random.Random, report: Report, _other: Report) -> Report:
    position = choice.randint(0, len(report))
    token = choice.choice((*TOKENS, choice.randbytes(8)))
    return report[:position] + token + report[position:]


def _insert_nested(choice: random.Random, report: Report, _other: Report) -> Report:
    position = choice.randint(0, len(report))
    return report[:position] + choice.choice(_NESTED) * choice.choice((50, 150, 2_000)) + report[position:]


def _insert_long_text(choice: random.Random, report: Report, _other: Report) -> Report:
    position = choice.randint(0, len(report))
    return report[:position] + choice.choice((b"x", b" ", b"\n", b"9", b"\xc3\xa4")) * 20_000 + report[position:]


def _replace_value(choice: random.Random, report: Report, _other: Report) -> Report:
    return _replace(choice, report, _WRITTEN_VALUE, choice.choice(_TEXTS if _is_xml(report) else _VALUES))


def _exchange_value(choice: random.Random, report: Report, other: Report) -> Report:
    return _replace(choice, report, _WRITTEN_VALUE, _found(choice, other, _WRITTEN_VALUE))


def _exchange_part(choice: random.Random, report: Report, other: Report) -> Report:
    return _replace(choice, report, _PART, _found(choice, other, _PART))


def _repeat_part(choice: random.Random, report: Report, other: Report) -> Report:
    part, separator = _found(choice, other, _PART), b"" if _is_xml(report) else b","
    return _replace(choice, report, _PART, separator.join([part] * choice.choice((2, _MAX_REPEATS))))


def _nest_part(choice: random.Random, report: Report, other: Report) -> Report:
    part, depth = _found(choice, other, _PART), choice.choice((1, 50, 300))
    start, end = (b"<suite>", b"</suite>") if _is_xml(report) else (b"[", b"]")
    return _replace(choice, report, _PART, start * depth + part + end * depth)


def _remove_part(choice: random.Random, report: Report, _other: Report) -> Report:
    return _replace(choice, report, _PART, b"" if _is_xml(report) else b"null")


def _is_xml(report: Report) -> bool:
    return b"<" in report[:20]


def _replace(choice: random.Random, report: Report, pattern: re.Pattern[bytes], replacement: bytes) -> Report:
    found = pattern.search(report, choice.randint(0, len(report)))
    return report[: found.start()] + replacement + report[found.end() :] if found else report


def _found(choice: random.Random, report: Report, pattern: re.Pattern[bytes]) -> bytes:
    found = pattern.search(report, choice.randint(0, len(report)))
    return found[0] if found else b""


# Most mutants of these are well-formed, so that the code behind the parser reads them.
_OF_VALUES: Final[tuple[Mutation, ...]] = (
    _replace_value, _replace_value, _exchange_value, _exchange_part, _repeat_part, _nest_part, _remove_part,
)  # fmt: skip
_OF_BYTES: Final[tuple[Mutation, ...]] = (
    _change_bytes, _delete, _truncate, _repeat, _insert_slice, _swap_slice, _insert_token, _insert_nested,
    _insert_long_text,
)  # fmt: skip
