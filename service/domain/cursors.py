"""Cursors: a place in a list, opaque to clients, that works with the list it came from and no other."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final

_DIGEST_BYTES: Final = 8
_LIMIT: Final = 400


def write_cursor(place: bytes, *of_list: object) -> str:
    """The cursor of a place in the list that these describe: its noun, organization and filters."""
    return urlsafe_b64encode(place + _digest(place, of_list)).decode().rstrip("=")


def read_cursor(cursor: str, *of_list: object) -> bytes | None:
    """The place, or None where the cursor is not one of this list: another filter's, tampered with, cut."""
    if len(cursor) > _LIMIT or not cursor.isascii():
        return None
    try:
        both = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        return None
    place = both[:-_DIGEST_BYTES]
    return place if write_cursor(place, *of_list) == cursor else None


def _digest(place: bytes, of_list: tuple[object, ...]) -> bytes:
    """Frozen dataclasses, texts and numbers have one repr in every process, which is all that this relies on."""
    return blake2b(repr((place, of_list)).encode(), digest_size=_DIGEST_BYTES).digest()
