"""Fingerprints of failures: failures that differ only in values such as numbers, IDs, and paths have the same one.

The time of each pattern is linear in the length of any text.
"""

import re
from functools import lru_cache
from itertools import islice
from string import ascii_letters
from typing import Final

from service.domain.ids import Fingerprint, fingerprint_hash

_MAX_LINES: Final = 10
_MAX_EXAMINED: Final = 8_000  # characters
_CACHED_TEXTS: Final = 256  # 4 MB, or 16 MB for texts of long lines outside of the Basic Multilingual Plane
_MANY_WORDS: Final = 4
_LONG_QUOTE: Final = 40

_MASK: Final = "\0"  # texts contain no NUL, so no other text equals a masked value

# Each pattern starts with a set of characters or with literals, which the engine searches about ten times as fast.
_PATH: Final = r"""[^\s"'`<>|:,;()\[\]{}\\/]"""
_UNIX_TEMPORARY: Final = re.compile(rf"/(?<![\w.]/)(?:private/)?(?:tmp|var/tmp|var/folders|dev/shm)/(?:{_PATH}|[\\/])*")
_WINDOWS_TEMPORARY: Final = re.compile(rf"[A-Za-z]:[\\/]+(?:{_PATH}+[\\/]+)*(?:[Tt]e?mp|TE?MP)[\\/](?:{_PATH}|[\\/])*")
_QUOTED: Final = re.compile(
    r"""
    "[^"\n]*" | '(?<!\w')[^'\n]*'(?!\w) | `[^`\n]*`    # an apostrophe inside a word is no quote
    | “[^“”\n]*” | ‘[^‘’\n]*’ | «[^«»\n]*»
    """,
    re.VERBOSE,
)
_DIGIT_OR_SLASH: Final = re.compile(r"[0-9/]")

# A digit next to a letter or hyphen, without which a text contains none of _IDS.
_MIXED: Final = re.compile(r"[0-9](?:(?<=[A-Za-z+/-][0-9])|[A-Za-z+/-])")
_SHORTEST_ID: Final = 7  # an abbreviated Git commit
_DECIMAL: Final = re.compile(r"[-+]?[0-9]+(?:[eE][-+]?[0-9]+)?")
_FROM_DIGIT: Final = re.compile(r"[0-9][A-Za-z0-9+/-]*={0,2}")
_BEFORE_DIGIT: Final = ascii_letters + "+/-"
_IDS: Final = re.compile(
    rf"""
    (?<![A-Za-z0-9]) (?:
        [0-9a-fA-F]{{8}}-(?:[0-9a-fA-F]{{4}}-){{3}}[0-9a-fA-F]{{12}} | 0[xX][0-9a-fA-F]+
    ) (?![A-Za-z0-9])
    | (?<![A-Za-z0-9+/]) (?=[A-Za-z+/]*[0-9]) [A-Za-z0-9+/]{{20,}}={{0,2}}
    | (?<![A-Za-z0-9]) (?=[a-fA-F]*[0-9]) [0-9a-fA-F]{{{_SHORTEST_ID},}} (?![A-Za-z0-9])
    """,
    re.VERBOSE,
)

_MONTH_NAME: Final = re.compile("Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec")  # codespell:ignore may - a month
_MONTH: Final = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"  # codespell:ignore may - a month
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
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_STARTS_WITH_WORDS: Final = re.compile(r"[^A-Za-z]*(?:[A-Za-z]{2,}[^A-Za-z]+){3}[A-Za-z]{2}")  # finds most of them fast


def fingerprint(
    project_id: str, suite: str, type_: str | None, message: str | None, details: str | None
) -> Fingerprint:
    """Return the hash of a failure: of the project, the type, and the masked message, or else the masked details.

    The first 10 lines are masked. If fewer than 4 words remain, the suite is part of the hash.
    """
    text = message if message and not message.isspace() else details or ""
    masked, identifies = _mask_cached(_first_lines(text))
    return fingerprint_hash(project_id, type_ or "", None if identifies else suite, masked)


def mask(text: str) -> str:
    """Return the text with each variable value replaced by a NUL character.

    The values are temporary paths, quoted values that contain a digit, a slash, or more than 40 characters, UUIDs,
    hexadecimal and base64-like runs, dates and times, durations, hosts of URLs, and numbers.
    """
    text = _UNIX_TEMPORARY.sub(_MASK, text)
    if ":\\" in text or ":/" in text:
        text = _WINDOWS_TEMPORARY.sub(_MASK, text)
    text = _QUOTED.sub(_mask_quoted, text)
    if _MIXED.search(text):
        text = _mask_ids(text)
    if _MONTH_NAME.search(text):
        text = _NAMED_DATE.sub(_MASK, text)
    return _VALUE.sub(_MASK, text)


def _mask_quoted(match: re.Match[str]) -> str:
    quoted = match[0]
    return _MASK if len(quoted) > _LONG_QUOTE + 2 or _DIGIT_OR_SLASH.search(quoted) else quoted


def _mask_ids(text: str) -> str:
    """Mask UUIDs and hexadecimal and base64-like runs. Examines only runs that contain a digit, which are few."""
    parts: list[str] = []
    end = 0
    for match in _FROM_DIGIT.finditer(text):
        before = text[end : match.start()]
        stem = before.rstrip(_BEFORE_DIGIT)
        run = before[len(stem) :] + match[0]
        parts += stem, run if _DECIMAL.fullmatch(run) else _IDS.sub(_MASK, run)
        end = match.end()
    return "".join((*parts, text[end:]))


@lru_cache(_CACHED_TEXTS)
def _mask_cached(text: str) -> tuple[str, bool]:
    """Return the masked text, and whether it has enough words to identify a failure."""
    masked = mask(text)
    return masked, bool(_STARTS_WITH_WORDS.match(masked)) or _has_many_words(masked)


def _has_many_words(text: str) -> bool:
    return len(list(islice(_WORD.finditer(text), _MANY_WORDS))) == _MANY_WORDS


def _first_lines(text: str) -> str:
    lines = text[:_MAX_EXAMINED].split("\n", _MAX_LINES)
    return text[:_MAX_EXAMINED] if len(lines) <= _MAX_LINES else "\n".join(lines[:_MAX_LINES])
