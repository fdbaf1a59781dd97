"""Kinds of objects with a public ID: the check of an ID, and the error for an object that the caller can't see."""

from typing import NamedTuple, TypeVar

from service.domain.errors import NotFound
from service.domain.ids import is_id

Found = TypeVar("Found")


class ObjectKind(NamedTuple):
    """The noun of an object in messages, and the prefix of its ID."""

    noun: str
    prefix: str

    def check_id(self, public_id: str) -> str:
        """Return the ID. Raises NotFound if it is malformed."""
        if not is_id(self.prefix, public_id):
            raise self.not_found(public_id)
        return public_id

    def require(self, found: Found | None, public_id: str) -> Found:
        """Return the object that was found. Raises NotFound for None."""
        if found is None:
            raise self.not_found(public_id)
        return found

    def not_found(self, public_id: str) -> NotFound:
        """Return the same error for an ID that is malformed, unknown, or not visible to the caller."""
        return NotFound(f"{self.noun} {public_id[:100]!r} not found")
