"""What was answered to a mutation, as far as it is kept to be answered again."""

from typing import NamedTuple

from service.domain.ids import OrgId


class StoredResponse(NamedTuple):
    """An answer; `stored_body` is the body without what is shown only once, where that differs."""

    status: int
    body: bytes
    location: str | None = None
    stored_body: bytes | None = None


class Mutation(NamedTuple):
    """A request to change something: whose, by whom, under which key, and a digest of what it asks for."""

    org_id: OrgId
    actor: str
    method: str
    path: str
    request_id: str
    key: str | None
    fingerprint: bytes
