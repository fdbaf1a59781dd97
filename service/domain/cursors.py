"""Cursors: a place in a list, opaque to clients, that works with the list it came from and no other."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeVar

from service.domain.errors import InvalidRequest
from service.domain.ids import is_id

Place = TypeVar("Place")

_DIGEST_BYTES: Final = 8
_BIGINT_BYTES: Final = 8
_LIMIT: Final = 400


class CursorCodec(NamedTuple, Generic[Place]):
    """How places of one kind are packed into bytes, and unpacked: ValueError for bytes that are none."""

    pack: Callable[[Place], bytes]
    unpack: Callable[[bytes], Place]


class Cursors(Generic[Place]):
    """The cursors of one list, which its noun, organization and filters tell from every other."""

    def __init__(self, places: CursorCodec[Place], *of_list: object) -> None:
        self._places = places
        self._of_list = of_list

    def write(self, place: Place | None) -> str | None:
        """The cursor of a place; none at the end of the list."""
        return None if place is None else self._sealed(self._places.pack(place))

    def read(self, cursor: str | None) -> Place | None:
        """The place; none at the beginning. Raises InvalidRequest for what is no cursor of this list."""
        if cursor is None:
            return None
        try:
            return self._places.unpack(self._opened(cursor))
        except ValueError:
            message = "starting_after: not a cursor of this list with these filters"
            raise InvalidRequest(message, "starting_after") from None

    def _sealed(self, place: bytes) -> str:
        """Frozen dataclasses, texts and numbers have one repr in every process, which is all that this relies on."""
        digest = blake2b(repr((place, self._of_list)).encode(), digest_size=_DIGEST_BYTES).digest()
        return urlsafe_b64encode(place + digest).decode().rstrip("=")

    def _opened(self, cursor: str) -> bytes:
        if len(cursor) > _LIMIT or not cursor.isascii():
            raise ValueError(cursor)
        place = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-_DIGEST_BYTES]
        if self._sealed(place) != cursor:
            raise ValueError(cursor)
        return place


def ids(prefix: str) -> CursorCodec[str]:
    """CursorCodec that are ids."""

    def unpack(data: bytes) -> str:
        text = data.decode()
        if not is_id(prefix, text):
            raise ValueError(text)
        return text

    return CursorCodec(str.encode, unpack)


def pack_bigint(number: int) -> bytes:
    """A PostgreSQL bigint as bytes."""
    return number.to_bytes(_BIGINT_BYTES, signed=True)


def unpack_bigint(data: bytes) -> int:
    """The bigint again. Raises ValueError."""
    if len(data) != _BIGINT_BYTES:
        raise ValueError(data)
    return int.from_bytes(data, signed=True)
