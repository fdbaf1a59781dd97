"""Fingerprints of failures: failures that differ only in values such as numbers, IDs, and paths have the same one.

The time of each pattern is linear in the length of any text.
"""

import re
from itertools import islice
from string import ascii_letters, digits, hexdigits
from typing import Final

from service.domain.bounded_cache import BoundedCache
from service.domain.ids import Fingerprint, fingerprint_hash

_MAX_LINES: Final = 10
_MAX_EXAMINED: Final = 8_000  # characters
_MANY_WORDS: Final = 4
_LONG_QUOTE: Final = 40

_MASK: Final = "\0"  # texts contain no NUL, so no other text equals a masked value

# Only the zero of `0x` matters to the patterns. A byte that isn't part of UTF-8 represents it during the translation.
_HEX_ZERO: Final = b"\xff"
_ONES: Final = bytes.maketrans(b"0123456789" + _HEX_ZERO, b"1111111111" + b"0")

# Each pattern starts with a set of characters or with literals, which the engine searches about ten times as fast.
_PATH: Final = r"""[^\s"'`<>|:,;()\[\]{}\\/]"""
_UNIX_TEMPORARY: Final = re.compile(rf"/(?<![\w.]/)(?:private/)?(?:tmp|var/tmp|var/folders|dev/shm)/(?:{_PATH}|[\\/])*")
_WINDOWS_TEMPORARY: Final = re.compile(rf"[A-Za-z]:[\\/]+(?:{_PATH}+[\\/]+)*(?:[Tt]e?mp|TE?MP)[\\/](?:{_PATH}|[\\/])*")
_TEMPORARY_FOLDER: Final = re.compile(r"(?:mp|MP)[\\/]")  # part of _WINDOWS_TEMPORARY
_QUOTED: Final = re.compile(
    r"""
    "[^"\n]*" | '(?<!\w')[^'\n]*'(?!\w) | `[^`\n]*`    # an apostrophe inside a word is no quote
    | “[^“”\n]*” | ‘[^‘’\n]*’ | «[^«»\n]*»
    """,
    re.VERBOSE,
)
_DIGIT_OR_SLASH: Final = re.compile(r"[0-9/]")

# A digit next to a letter or hyphen, without which a text contains none of _IDS.
_MIXED: Final = re.compile(r"1(?:(?<=[A-Za-z+/-]1)|[A-Za-z+/-])")
_SHORTEST_ID: Final = 7  # an abbreviated Git commit
_SHORTEST_BASE64: Final = 20
_HEX_RUN: Final = b"h" * _SHORTEST_ID
_BASE64_RUN: Final = b"b" * _SHORTEST_BASE64
_HEX_CLASS: Final = bytes(ord("h") if chr(code) in hexdigits else 0 for code in range(256))
_BASE64_CLASS: Final = bytes(ord("b") if chr(code) in ascii_letters + digits + "+/" else 0 for code in range(256))
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+(?:[eE][-+]?[0-9]+)?")
_FROM_DIGIT: Final = re.compile(r"[01][A-Za-z0-9+/-]*={0,2}")
_BEFORE_DIGIT: Final = ascii_letters + "+/-"
_IDS: Final = re.compile(
    rf"""
    (?<![A-Za-z0-9]) (?:
        [0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}} | 0[xX][0-9a-fA-F]+
    ) (?![A-Za-z0-9])
    | (?<![A-Za-z0-9+/]) (?=[A-Za-z+/]*[0-9]) [A-Za-z0-9+/]{{{_SHORTEST_BASE64},}}={{0,2}}
    | (?<![A-Za-z0-9]) (?=[a-fA-F]*[0-9]) [0-9a-fA-F]{{{_SHORTEST_ID},}} (?![A-Za-z0-9])
    """,
    re.VERBOSE,
)

_MONTH_NAME: Final = re.compile("Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec")
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)"
)
_TIME: Final = r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:[ ]?[AaPp][Mm]\b)?"
_ZONE: Final = r"(?:Z\b|[ ]?(?:UTC|GMT)?[-+][0-9]{2}:?[0-9]{2}\b|[ ](?:UTC|GMT)\b)?"
_NAMED_DATE: Final = re.compile(  # with the name of the month
    rf"""
    \b (?:(?:Mon|Tues?|Wed(?:nes)?|Thu(?:rs)?|Fri|S(?:at|atur|un))(?:day)?,?[ ])?
    (?:{_MONTH}[ ]{{1,2}}[0-9]{{1,2}} | [0-9]{{1,2}}[ /-]{_MONTH})
    (?:,?[ /-][0-9]{{4}}(?:[,:]?[ ]?{_TIME}{_ZONE})? | ,?[ ]{_TIME}{_ZONE}(?:[ ][0-9]{{4}}\b)?)
    """,
    re.VERBOSE,
)

_DURATION_UNIT: Final = (
    r"(?:ns|nanos(?:econds?)?|[uµμ]s|micros(?:econds?)?|ms|msecs?|millis(?:econds?)?|s|secs?|seconds?|m|mins?|minutes?"
    r"|h|hrs?|hours?|d|days?)"
)
_NUMBER: Final = r"[0-9]*(?:[.:][0-9]+|,[0-9]{3}(?![0-9]))*(?:[eE][-+]?[0-9]+\b)?"  # also a time, version, or address
_VALUE: Final = re.compile(
    rf"""
    [-+/0-9] (?:
        (?<=[0-9]) (?:
            [0-9]{{3}}[-/][0-9]{{2}}[-/][0-9]{{2}}(?:[T ]{_TIME}{_ZONE})?
            | [0-9]*(?:\.[0-9]+)?[ ]?{_DURATION_UNIT}
              (?:[ ]?[0-9]+(?:\.[0-9]+)?[ ]?{_DURATION_UNIT}){{0,4}}(?![A-Za-z0-9])
            | {_NUMBER}
        )
        | (?<=:/) /[^\s/?\#"'`<>\\,;)}}]+                   # user, host, and port of a URL
        | (?<=[-+]) (?<![\w)\]\0][-+]) [0-9]{_NUMBER}
    )
    """,
    re.VERBOSE,
)
# Four words of an ASCII text. The quantifiers are possessive, so that the time is linear.
_FOUR_ASCII_WORDS: Final = re.compile(r"(?:[^A-Za-z]*+(?:[A-Za-z](?![A-Za-z])[^A-Za-z]*+)*+[A-Za-z]{2,}+){4}")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
# Also counts ASCII parts of words, such as `gr` in `größer`. Fingerprints of version 1 depend on this.
_STARTS_WITH_WORDS: Final = re.compile(r"[^A-Za-z]*(?:[A-Za-z]{2,}[^A-Za-z]+){3}[A-Za-z]{2}")


class Fingerprinter:
    """A cache of fingerprints, by shape: most failures repeat, or differ only in digits."""

    def __init__(self, max_bytes: int) -> None:
        self._known: BoundedCache[tuple[str, str, str, bytes], Fingerprint] = BoundedCache(max_bytes)

    def find(
        self, project_id: str, suite: str, type_: str | None, message: str | None, details: str | None
    ) -> Fingerprint:
        """Return the fingerprint of a failure."""
        key = project_id, suite, type_ or "", _shape(_examined(message, details))
        number = self._known.get(key)
        if number is None:
            number = _fingerprint(*key)
            self._known.add(key, number)
        return number


def fingerprint(
    project_id: str, suite: str, type_: str | None, message: str | None, details: str | None
) -> Fingerprint:
    """Return the hash of a failure: of the project, the type, and the masked message, or else the masked details.

    The first 10 lines are masked. If fewer than 4 words remain, the suite is part of the hash.
    """
    return _fingerprint(project_id, suite, type_ or "", _shape(_examined(message, details)))


def _fingerprint(project_id: str, suite: str, type_: str, shape: bytes) -> Fingerprint:
    masked = _mask(shape.decode())
    return fingerprint_hash(project_id, type_, None if _has_many_words(masked) else suite, masked)


def _examined(message: str | None, details: str | None) -> str:
    return _first_lines(message if message and not message.isspace() else details or "")


def mask(text: str) -> str:
    """Return the text with each variable value replaced by a NUL character.

    The values are temporary paths, quoted values that contain a digit, a slash, or more than 40 characters, UUIDs,
    hexadecimal and base64-like runs, dates and times, durations, hosts of URLs, and numbers.
    """
    return _mask(_shape(text).decode())


def _shape(text: str) -> bytes:
    """Return the text with each digit replaced by 1, except the zero of `0x`.

    All digits are masked, and the patterns don't distinguish them, so texts of the same shape have the same mask.
    """
    encoded = text.encode()
    if "0x" in text or "0X" in text:  # ten times as fast as in bytes
        encoded = encoded.replace(b"0x", _HEX_ZERO + b"x").replace(b"0X", _HEX_ZERO + b"X")
    return encoded.translate(_ONES)


def _mask(text: str) -> str:
    """Mask a shape line by line, because no pattern matches a line end."""
    return "\n".join(map(_mask_line, text.split("\n")))


def _mask_line(text: str) -> str:
    """Mask a line of a shape. Skips each pattern that can't match."""
    has_slash = "/" in text
    if has_slash:
        text = _UNIX_TEMPORARY.sub(_MASK, text)
    if (":\\" in text or ":/" in text) and _TEMPORARY_FOLDER.search(text):
        text = _WINDOWS_TEMPORARY.sub(_MASK, text)
    if "'" in text or '"' in text or "`" in text or not text.isascii():
        text = _QUOTED.sub(_mask_quoted, text)
    if "1" in text or "0" in text:
        text = _mask_ids_and_dates(text)
    elif not has_slash:
        return text
    return _VALUE.sub(_MASK, text)


def _mask_quoted(match: re.Match[str]) -> str:
    quoted = match[0]
    return _MASK if len(quoted) > _LONG_QUOTE + 2 or _DIGIT_OR_SLASH.search(quoted) else quoted


def _mask_ids_and_dates(text: str) -> str:
    if "0" in text or (_MIXED.search(text) and _has_long_run(text.encode())):
        text = _mask_ids(text)
    has_year_or_time = "111" in text or ":1" in text  # the last digit is 0 in `2026x`
    return _NAMED_DATE.sub(_MASK, text) if has_year_or_time and _MONTH_NAME.search(text) else text


def _has_long_run(encoded: bytes) -> bool:
    """Return whether a run of characters is as long as an ID, except an ID that starts with 0x."""
    return _HEX_RUN in encoded.translate(_HEX_CLASS) or _BASE64_RUN in encoded.translate(_BASE64_CLASS)


def _mask_ids(text: str) -> str:
    """Mask UUIDs and hexadecimal and base64-like runs. Examines only runs that contain a digit, which are few."""
    parts: list[str] = []
    end = 0
    for match in _FROM_DIGIT.finditer(text):
        before = text[end : match.start()]
        stem = before.rstrip(_BEFORE_DIGIT)
        run = before[len(stem) :] + match[0]
        is_id = "0" in run or (len(run) >= _SHORTEST_ID and _has_long_run(run.encode()))
        parts += stem, _IDS.sub(_MASK, run) if is_id and not _DECIMAL.fullmatch(run) else run
        end = match.end()
    return "".join((*parts, text[end:]))


def _has_many_words(text: str) -> bool:
    if text.isascii():
        return _FOUR_ASCII_WORDS.match(text) is not None
    if _STARTS_WITH_WORDS.match(text):
        return True
    return len(list(islice(_WORD.finditer(text), _MANY_WORDS))) == _MANY_WORDS


def _first_lines(text: str) -> str:
    if len(text) > _MAX_EXAMINED or text.count("\n") >= _MAX_LINES:
        return "\n".join(text[:_MAX_EXAMINED].split("\n", _MAX_LINES)[:_MAX_LINES])
    return text
