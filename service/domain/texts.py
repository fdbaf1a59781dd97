"""Limits of text from producers, the replacement of characters that PostgreSQL can't store, and the text of rates."""

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any, Final

Quote = Callable[[str], str]  # marks the text of producers and users in a sentence, such as code in Markdown

MAX_TEXT: Final = 1_000
MAX_MESSAGE: Final = 10_000
MAX_DETAILS: Final = 100_000
MAX_BRANCH: Final = 400  # part of index entries, which are limited to 2,700 bytes
MAX_CONTEXT: Final = 200  # title, author, and workflow of a run

MAX_LABELS: Final = 100  # per run
MAX_LABEL_NAME: Final = 200
MAX_LABEL_VALUE: Final = 1_000
MAX_LABELS_TEXT: Final = 16_000  # names and values of one run together, because a page contains up to 1,000 runs

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
DIRECTIONS: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # they reorder the text that follows
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_REDACTED: Final = "[redacted]"

# The group before each secret stays, so that a reader can see which credential it was.
_SECRETS: Final = tuple(
    re.compile(pattern)
    for pattern in (
        r"(\bzof_[0-9a-f]{20}_)\w+",  # an API key: its ID stays
        r"(\bwhsec_)[A-Za-z0-9+/=_-]+",  # a signing secret
        r"(://[^\s/:@\"']*:)[^\s/\"']+(?=@)",  # the password of a URL
        r"(\b(?i:password|x-amz-signature|x-amz-security-token)=)[^\s&\"']+",
        # a key of the storage or of the encryption
        r"(\b(?i:\w*(?:secret_access_key|session_token|secret_keys))(?:=[\"']?|[\"']\s*:\s*[\"']))[^\s\"'&]+",
        r"((?i:\b(?:bearer|basic))\s+)[A-Za-z0-9._~+/=-]{16,}",  # an Authorization header
    )
)


def replace_unstorable(text: str) -> str:
    """Return the text with NUL and lone surrogates replaced."""
    return _UNSTORABLE.sub(REPLACEMENT, text)


def clean_json(value: Any) -> tuple[Any, bool]:
    """Replace NUL and lone surrogates in each string and key of a JSON value, in place.

    Return the value and whether anything was replaced. Nothing recurses, because the nesting can be of any depth.
    """
    root = [value]
    pending: list[Any] = [root]
    replaced = False
    while pending:
        container = pending.pop()
        if isinstance(container, dict):
            replaced |= _clean_keys(container)
        for key, item in list(container.items() if isinstance(container, dict) else enumerate(container)):
            if isinstance(item, str):
                if not is_storable(item):
                    container[key] = replace_unstorable(item)
                    replaced = True
            elif isinstance(item, dict | list):
                pending.append(item)
    return root[0], replaced


def _clean_keys(container: dict[str, Any]) -> bool:
    """Replace the keys of a dictionary, in their order. Return whether any was replaced."""
    if all(map(is_storable, container)):
        return False
    items = [(replace_unstorable(key), item) for key, item in container.items()]
    container.clear()
    container.update(items)
    return True


def is_storable(text: str) -> bool:
    """Return whether PostgreSQL can store the text unchanged."""
    return _UNSTORABLE.search(text) is None


def format_rate(rate: float, *limits: float) -> str:
    """Return a share as a percentage with one decimal, and with more if it would be on the wrong side of a limit.

    0 and 1 are limits, too. For example, 99,999 of 100,000 is 99.999%, because 100% would be wrong. A rate that is
    equal to a limit has all of its decimals.
    """
    percentage = Decimal(str(rate)) * 100
    edges = [Decimal(str(limit)) * 100 for limit in (0, 1, *limits)]
    roundings = (percentage.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP) for digits in count(1))
    shown = next(each for each in roundings if all(each.compare(e) == percentage.compare(e) for e in edges))
    return f"{shown.normalize():f}%"


def redact_secrets(text: str) -> str:
    """Return the text without API keys, webhook secrets, keys of storage and encryption, passwords, and headers."""
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<1>{_REDACTED}", text)
    return text
