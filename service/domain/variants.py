"""Variants: the key-value pairs, such as os and browser, that distinguish executions of the same test in a matrix."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

MAX_PAIRS: Final = 8
MAX_TEXT: Final = 64  # characters of a key or a value


def canonical_variant(variant: Mapping[str, str] | None) -> str:
    """Return the variant as text, sorted by key; an empty text for no variant. It is part of the hash of a case."""
    return json.dumps(dict(variant), ensure_ascii=False, sort_keys=True, separators=(",", ":")) if variant else ""


def parse_pair(text: str) -> tuple[str, str]:
    """Split `key:value` at the first colon. Raises ValueError."""
    key, colon, value = text.partition(":")
    if not (colon and _is_valid(key) and _is_valid(value)):
        raise ValueError(f"must be key:value with 1 to {MAX_TEXT} printable characters each, for example os:linux")
    return key, value


def check_pair(text: str) -> str:
    """Return a valid `key:value`. Raises ValueError."""
    parse_pair(text)
    return text


def parse_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Return the variant of several `key:value`. Raises ValueError if a key is repeated."""
    variant: dict[str, str] = {}
    for key, value in map(parse_pair, texts):
        if key in variant:
            raise ValueError(f"must contain the key {key!r} only once")
        variant[key] = value
    return variant


def _is_valid(text: str) -> bool:
    return 0 < len(text) <= MAX_TEXT and not any(unicodedata.category(character)[0] == "C" for character in text)
