"""Cursors: opaque tokens for a position in one list with certain filters."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final, Generic, NamedTuple, TypeVar

from service.domain.errors import InvalidRequest
from service.domain.ids import OrgId, is_id

AnyPosition = TypeVar("AnyPosition")

_VERSION: Final = b"\x01"  # of the format of a cursor, including the content of its digest
_DIGEST_BYTES: Final = 8
_BIGINT_BYTES: Final = 8
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_MAX_CHARACTERS: Final = 1_100  # of a position with 200 characters of 4 bytes


class CursorCodec(NamedTuple, Generic[AnyPosition]):
    """Functions that encode positions as bytes and decode them. `unpack` raises ValueError for invalid bytes."""

    pack: Callable[[AnyPosition], bytes]
    unpack: Callable[[bytes], AnyPosition]


class Cursors(Generic[AnyPosition]):
    """The cursors of one list. A cursor of another list, organization, or filter is invalid.

    A cursor is its version, the packed position, and a digest, which is not a signature: it only detects cursors of
    other lists. The digest covers the filters that are set, in canonical JSON. A filter that didn't exist when a cursor
    was created therefore doesn't invalidate the cursor.
    """

    def __init__(
        self, codec: CursorCodec[AnyPosition], list_name: str, org_id: OrgId, filters: Mapping[str, object]
    ) -> None:
        self._codec = codec
        set_filters = {name: value for name, value in filters.items() if value not in (None, ())}
        self._list = _CANONICAL.encode([list_name, org_id, set_filters]).encode()

    def write(self, position: AnyPosition | None) -> str | None:
        """Return the cursor of a position, or None for the end of the list."""
        return None if position is None else self._with_digest(self._codec.pack(position))

    def read(self, cursor: str | None) -> AnyPosition | None:
        """Return the position, or None for the beginning. Raises InvalidRequest for a cursor of another list."""
        if cursor is None:
            return None
        try:
            return self._codec.unpack(self._without_digest(cursor))
        except ValueError:
            message = "starting_after: not a cursor of this list with these filters"
            raise InvalidRequest(message, "starting_after") from None

    def _with_digest(self, position: bytes) -> str:
        content = _VERSION + position
        digest = blake2b(content + b"\0" + self._list, digest_size=_DIGEST_BYTES).digest()
        return urlsafe_b64encode(content + digest).decode().rstrip("=")

    def _without_digest(self, cursor: str) -> bytes:
        if len(cursor) > _MAX_CHARACTERS or not cursor.isascii():
            raise ValueError(cursor)
        content = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[:-_DIGEST_BYTES]
        position = content[len(_VERSION) :]
        if self._with_digest(position) != cursor:
            raise ValueError(cursor)
        return position


def ids(prefix: str) -> CursorCodec[str]:
    """Return a codec for positions that are IDs with this prefix."""

    def unpack(data: bytes) -> str:
        text = data.decode()
        if not is_id(prefix, text):
            raise ValueError(text)
        return text

    return CursorCodec(str.encode, unpack)


TEXT: Final = CursorCodec[str](str.encode, bytes.decode)


def pack_bigint(number: int) -> bytes:
    """Return the 8 bytes of a PostgreSQL bigint."""
    return number.to_bytes(_BIGINT_BYTES, "big", signed=True)


def unpack_bigint(data: bytes) -> int:
    """Return the bigint of 8 bytes. Raises ValueError for any other number of bytes."""
    if len(data) != _BIGINT_BYTES:
        raise ValueError(data)
    return int.from_bytes(data, "big", signed=True)
