"""Responses to mutations, as stored for repeated requests with the same Idempotency-Key."""

from typing import NamedTuple

from service.domain.ids import OrgId


class StoredResponse(NamedTuple):
    """A response to a mutation. `stored_body` is the body without one-time secrets, or None if they don't differ."""

    status: int
    body: bytes
    location: str | None = None
    stored_body: bytes | None = None


class Mutation(NamedTuple):
    """A request that changes data: organization, API key ID (actor), Idempotency-Key (key), and content digest.

    `unchanged` is the status of a response that states that nothing was changed, or None if every success is a change.
    `job` is the CI job, if the actor is a publisher. `key_holder` has the idempotency keys; None: the actor.
    """

    org_id: OrgId
    actor: str
    method: str
    path: str
    request_id: str
    key: str | None
    fingerprint: bytes
    unchanged: int | None = None
    job: str | None = None
    key_holder: str | None = None
