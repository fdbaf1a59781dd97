"""Types of filter values: how a value is validated, described in JSON Schema, and converted for a query."""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from service.domain.ids import parse_case_id, parse_fingerprint_id
from service.domain.statuses import STATUS_CODES
from service.domain.timestamps import EXAMPLE, parse_timestamp, to_ms

_NO_NUL: Final = r"^[^\x00]*$"
_SPELLINGS: Final = {"cancelled": "canceled"}
_COMMIT: Final = re.compile(r"[0-9a-fA-F]{7,64}")
_WORDS: Final = re.compile(r"\s*[^\s\x00]+(\s+[^\s\x00]+){0,4}\s*")
_MAX_WORDS_TEXT: Final = 1_000
_DIGITS: Final = re.compile(r"-?[0-9]{1,18}")
_BOOLEAN: Final = "must be true or false"


class FilterType(ABC):
    """A type of filter values. `schema` is the JSON Schema of a value."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    @abstractmethod
    def parse(self, value: object) -> Any:
        """Return a JSON value in its canonical form. Raises ValueError, whose message states the requirement."""

    def parse_text(self, text: str) -> Any:
        """Return the value of a query parameter or command-line option in its canonical form. Raises ValueError."""
        return self.parse(text)

    def convert(self, value: Any) -> Any:
        """Return the value that queries use for a parsed value."""
        return value


class TextType(FilterType):
    """Text that must be equal."""

    def __init__(self, max_length: int = 200, min_length: int = 1) -> None:
        shortest = {"minLength": min_length} if min_length else {}
        super().__init__({"type": "string", "pattern": _NO_NUL, **shortest, "maxLength": max_length})
        self._max_length = max_length
        self._min_length = min_length

    def parse(self, value: object) -> str:
        """Return the text. Raises ValueError if it is too short, too long, or can't be stored."""
        text = _text(value)
        if len(text) < self._min_length:
            raise ValueError("must not be empty")
        if len(text) > self._max_length:
            raise ValueError(f"must have at most {self._max_length} characters")
        return text


class StatusType(FilterType):
    """One of several statuses."""

    def __init__(self, choices: Sequence[str]) -> None:
        self._choices = choices
        self._spellings = {spelling: name for spelling, name in _SPELLINGS.items() if name in choices}
        super().__init__({"type": "string", "enum": [*choices, *self._spellings]})

    def parse(self, value: object) -> str:
        """Return the status. Raises ValueError for any other value."""
        status = self._spellings.get(value, value) if isinstance(value, str) else value
        if status not in self._choices:
            raise ValueError(f"must be one of {', '.join(self._choices)}")
        return str(status)

    def convert(self, text: str) -> str:
        """Return the letter that represents the status in the database."""
        return STATUS_CODES[text]

    def converts_to_no_filter(self, letters: Sequence[str]) -> bool:
        """Return whether these letters are all choices, which every row has."""
        return len(letters) == len(self._choices)


class ChoiceType(FilterType):
    """One of several names."""

    def __init__(self, *choices: str) -> None:
        super().__init__({"type": "string", "enum": list(choices)})
        self._choices = choices

    def parse(self, value: object) -> str:
        """Return the name. Raises ValueError for any other value."""
        if value not in self._choices:
            raise ValueError(f"must be one of {', '.join(self._choices)}")
        return str(value)


class TrustType(ChoiceType):
    """Whether runs are trusted, or any of both.

    The schema omits the default: generated Go clients don't compile for a default of names that can be null.
    """

    def __init__(self) -> None:
        super().__init__("true", "false", "any")

    def convert(self, value: str) -> Any:
        """Return the name, or None for trusted runs, which match without a filter."""
        return None if value == "true" else value


class TimeType(FilterType):
    """A time at or after which runs completed, or before which they completed."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "format": "date-time", "examples": [EXAMPLE, "2026-05-20"]})

    def parse(self, value: object) -> str:
        """Return the RFC 3339 time in UTC. Raises ValueError."""
        return parse_timestamp(value).isoformat().replace("+00:00", "Z")

    def convert(self, text: str) -> int:
        """Return milliseconds since 1970."""
        return to_ms(parse_timestamp(text))


class _IdType(FilterType):
    """A public ID, such as case_00c0ffee00c0ffee. `parse_id` returns the key, or None for a malformed ID."""

    def __init__(self, prefix: str, parse_id: Callable[[str], int | None]) -> None:
        super().__init__({"type": "string", "examples": [f"{prefix}_00c0ffee00c0ffee"]})
        self._prefix = prefix
        self._parse_id = parse_id

    def parse(self, value: object) -> str:
        """Return the ID. Raises ValueError if it is malformed."""
        text = _text(value)
        if self._parse_id(text) is None:
            raise ValueError(f"must be {self._prefix}_ followed by 16 hex digits")
        return text

    def convert(self, value: str) -> int | None:
        """Return the key."""
        return self._parse_id(value)


class FingerprintType(_IdType):
    """The public ID of a failure group."""

    def __init__(self) -> None:
        super().__init__("fp1", parse_fingerprint_id)


class CaseType(_IdType):
    """The public ID of a case."""

    def __init__(self) -> None:
        super().__init__("case", parse_case_id)


class CommitType(FilterType):
    """The first digits of a commit."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "pattern": f"^{_COMMIT.pattern}$", "examples": ["c0ffee1"]})

    def parse(self, value: object) -> str:
        """Return the digits in lower case, as Git writes them. Raises ValueError."""
        text = _text(value)
        if not _COMMIT.fullmatch(text):
            raise ValueError("must be the first 7 to 64 hex digits of a commit")
        return text.lower()


class PairType(FilterType):
    """A pair key:value that a JSON object must contain. `check` raises ValueError for an invalid pair."""

    def __init__(self, check: Callable[[str], str], **schema: Any) -> None:
        super().__init__({"type": "string", **schema})
        self._check = check

    def parse(self, value: object) -> str:
        """Return the pair. Raises ValueError."""
        return self._check(_text(value))

    def convert(self, value: str) -> str:
        """Return a JSON object that contains only this pair."""
        return json.dumps(dict([value.split(":", 1)]), ensure_ascii=False, separators=(",", ":"))


class WordsType(FilterType):
    """A few words, separated by spaces."""

    def __init__(self) -> None:
        super().__init__({"type": "string", "maxLength": _MAX_WORDS_TEXT, "pattern": f"^{_WORDS.pattern}$"})

    def parse(self, value: object) -> str:
        """Return the text. Raises ValueError if it contains no word, or too many words."""
        text = _text(value)
        if len(text) > _MAX_WORDS_TEXT:
            raise ValueError(f"must have at most {_MAX_WORDS_TEXT} characters")
        if not _WORDS.fullmatch(text):
            raise ValueError("must have 1 to 5 words")
        return text

    def convert(self, value: str) -> tuple[str, ...]:
        """Return the words, sorted, because their order doesn't matter."""
        return tuple(sorted(set(value.split())))


class IntegerType(FilterType):
    """An integer within limits."""

    def __init__(self, minimum: int, maximum: int) -> None:
        super().__init__({"type": "integer", "minimum": minimum, "maximum": maximum})
        self._minimum = minimum
        self._maximum = maximum

    def parse(self, value: object) -> int:
        """Return the integer. Raises ValueError if it is outside the limits."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("must be an integer")  # noqa: TRY004  every invalid value is a ValueError
        if not self._minimum <= value <= self._maximum:
            raise ValueError(f"must be {self._minimum} to {self._maximum}")
        return value

    def parse_text(self, text: str) -> int:
        """Return the integer that the digits represent. Raises ValueError."""
        if not _DIGITS.fullmatch(_text(text)):
            raise ValueError("must be an integer")
        return self.parse(int(text))


class BooleanType(FilterType):
    """True or false."""

    def __init__(self) -> None:
        super().__init__({"type": "boolean"})

    def parse(self, value: object) -> bool:
        """Return the boolean. Raises ValueError for any other value."""
        if not isinstance(value, bool):
            raise ValueError(_BOOLEAN)  # noqa: TRY004  every invalid value is a ValueError
        return value

    def parse_text(self, text: str) -> bool:
        """Return the boolean of `true` or `false`. Raises ValueError."""
        if text not in ("true", "false"):
            raise ValueError(_BOOLEAN)
        return text == "true"


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  every invalid value is a ValueError
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("must be UTF-8 text")
    return value
