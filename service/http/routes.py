"""The types of the route table: one Route per method and path, with the Operation that OpenAPI describes."""

import re
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from service.contracts.responses import Page
from service.domain.errors import ErrorCode
from service.http.authentication import ApiHandler
from service.identity.keys.model import Permission

BINARY = "application/octet-stream"
_VARIABLE: Final = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Operation:
    """The contract of a route.

    `operation_id` is verb_noun and never changes, because generated clients use it as the name of a function.
    `responses` maps a status to a model, to a media type for other content, or to None for no content. An operation
    with a 304 response has an ETag and accepts If-None-Match; one with a 206 response accepts Range. `body` is the
    model of a JSON body, and `form` the model of a form without files. `media_types` are the types of an uploaded file,
    and `form_files` are the fields of a form with uploaded files and their descriptions. `errors` are the error codes
    that not every operation has. `has_location` means that the 202 response has a Location header. `repeatable` means
    that a change accepts an Idempotency-Key.
    """

    operation_id: str
    summary: str
    responses: dict[int, Any]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    media_types: tuple[str, ...] = ()
    form_files: dict[str, str] = field(default_factory=dict)
    errors: tuple[ErrorCode, ...] = ()
    has_location: bool = False
    repeatable: bool = True
    description: str = ""


@dataclass(frozen=True)
class Route:
    """One method and path. A GET route also serves HEAD. `permission` None means that no API key is required.

    Callers with the permission `or_permission` instead can use the operation for some of the objects: with
    `reports:create_untrusted`, for runs whose IDs begin with `untrusted:`.
    """

    method: str
    path: str
    handler: ApiHandler
    permission: Permission | None
    operation: Operation
    or_permission: Permission | None = None

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """The permissions of which a caller needs one."""
        return tuple(name for name in (self.permission, self.or_permission) if name is not None)


def page_of(item: Any) -> dict[int, Any]:
    """Return the responses of a list."""
    return {200: Page[item]}


def with_etag(item: Any) -> dict[int, Any]:
    """Return the responses of an operation that supports conditional requests."""
    return {200: item, 304: None}


def file_download() -> dict[int, Any]:
    """Return the responses of an operation that sends a file or redirects to it."""
    return {200: BINARY, 206: BINARY, 304: None, 307: None}


def router_path(path: str) -> str:
    """Return the path with variables that also match braces, which variables of aiohttp don't match by default."""
    return _VARIABLE.sub(r"{\1:[^/]+}", path)
