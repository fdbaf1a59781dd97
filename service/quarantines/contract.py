"""Quarantine request bodies and queries."""

from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints
from typing_extensions import TypedDict

from service.contracts.queries import Name, PageQuery, Patch, Query, Timestamp
from service.contracts.responses import ActorId, ActorName, Time, closed
from service.contracts.validation import NO_NUL
from service.domain.errors import InvalidRequest
from service.domain.filter_types import CaseType
from service.domain.globs import MAX_GLOB_ASTERISKS, MAX_GLOB_CHARACTERS, check_glob
from service.domain.ids import parse_case_id
from service.ingest.contract import Identifier, Variant
from service.quarantines.model import DEFAULT_DURATION, MAX_DURATION, CaseMatcher

_MAX_URL_CHARS: Final = 1_000
_GLOB_SCHEMA: Final = {
    "pattern": rf"^[^*\x00]*(\*[^*\x00]*){{0,{MAX_GLOB_ASTERISKS}}}$",
    "maxLength": MAX_GLOB_CHARACTERS,
    "examples": ["checkout.*"],
}


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isprintable() or " " in url:
        raise ValueError("must be a URL that starts with http:// or https://")
    return url


CaseId = Annotated[str, BeforeValidator(CaseType().parse), Field(json_schema_extra=dict(CaseType().schema))]
Glob = Annotated[
    str, StringConstraints(pattern=NO_NUL), AfterValidator(check_glob), Field(json_schema_extra=_GLOB_SCHEMA)
]
QuarantineReason = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000, pattern=NO_NUL)
]
TicketUrl = Annotated[
    str, StringConstraints(max_length=_MAX_URL_CHARS), AfterValidator(_check_url),
    Field(json_schema_extra={"format": "uri"}),
]  # fmt: skip
Expiry = Annotated[Timestamp, Field(description=f"At most {MAX_DURATION.days} days from now")]


class QuarantineIn(Query):
    """A quarantine to create. It matches one case, or the cases whose suite and name match the globs.

    In a glob, `*` matches any characters and `?` one character. Everything else is literal.
    """

    project_id: Annotated[
        Identifier | None, Field(description="Required unless the key is bound to a project, or `case` is set")
    ] = None
    case: Annotated[CaseId | None, Field(description="Excludes suite, name, and variant")] = None
    suite: Annotated[Glob | None, Field(description="Glob that must match the complete suite")] = None
    name: Annotated[Glob | None, Field(description="Glob that must match the complete name")] = None
    variant: Annotated[Variant | None, Field(description="Pairs that the variant of the case must contain")] = None
    reason: QuarantineReason
    owner: Name | None = None
    ticket_url: TicketUrl | None = None
    expires_at: Annotated[
        Expiry | None,
        Field(description=f"Default: {DEFAULT_DURATION.days} days from now; at most {MAX_DURATION.days} days"),
    ] = None

    def matcher(self) -> CaseMatcher:
        """Return the cases to match. Raises InvalidRequest for a combination that isn't supported."""
        fields = {"suite": self.suite, "name": self.name, "variant": self.variant or None}
        others = [name for name, value in fields.items() if value is not None]
        if self.case is not None:
            if others:
                raise InvalidRequest(f"case: must not be combined with {', '.join(others)}", "case")
            return CaseMatcher(parse_case_id(self.case))
        if self.suite is None and self.name is None:
            raise InvalidRequest("case: case, suite, or name is required", "case")
        return CaseMatcher(None, self.suite, self.name, self.variant or {})


class QuarantinePatch(Patch):
    """The fields of a quarantine to change. Absent fields keep their values."""

    reason: QuarantineReason = Field(default_factory=str)
    owner: Name | None = None
    ticket_url: TicketUrl | None = None
    expires_at: Expiry = Field(default_factory=lambda: datetime.now(UTC))


class QuarantineQuery(PageQuery):
    """A page of the list of quarantines."""

    project_id: Name | None = None
    active: Annotated[bool | None, Field(description="Whether the quarantine has neither ended nor expired")] = None
    case: Annotated[CaseId | None, Field(description="Case of the quarantine, by its ID case_…")] = None


@closed
class CaseOfQuarantine(TypedDict):
    """The texts of a case."""

    suite: str
    name: str
    variant: dict[str, str]


@closed
class Quarantine(TypedDict):
    """A time-limited rule that excuses failures of matching cases in gates. Ended and expired ones stay readable."""

    id: Annotated[str, StringConstraints(pattern=r"^qua_[0-9a-f]{32}$")]
    project_id: str
    case: Annotated[str | None, Field(description="The only case that matches, or null")]
    named_case: Annotated[CaseOfQuarantine | None, Field(description="The texts of `case`")]
    suite: Annotated[str | None, Field(description="Glob of the suite, or null if any suite matches")]
    name: Annotated[str | None, Field(description="Glob of the name, or null if any name matches")]
    variant: Annotated[dict[str, str], Field(description="Pairs that the variant of a matching case contains")]
    reason: str
    owner: str | None
    ticket_url: str | None
    expires_at: Time
    active: Annotated[bool, Field(description="Neither ended nor expired at the time of the request")]
    created_by: ActorId
    created_by_name: ActorName
    created_at: Time
    ended_at: Annotated[Time | None, Field(description="Time of the request that ended the quarantine")]
