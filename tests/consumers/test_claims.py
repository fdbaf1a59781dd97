"""The order and the concurrency of the claims of due deliveries."""

import pytest

from consumers.webhooks import ALL, ClaimRequests, ClaimScope
from service.domain.ids import OrgId

ONE, TWO = OrgId(1), OrgId(2)


def requests(*scopes: ClaimScope, max_requests: int = 10) -> ClaimRequests:
    claims = ClaimRequests(max_requests)
    for scope in scopes:
        claims.add(scope)
    return claims


def drain(claims: ClaimRequests) -> list[ClaimScope | None]:
    """Return the scopes of claims that run one after another, until no claim can start."""
    scopes: list[ClaimScope | None] = []
    while not scopes or scopes[-1] is not None:
        with claims.next() as scope:
            scopes.append(scope)
    return scopes


def test_each_requested_scope_is_claimed_once_in_the_order_of_the_requests() -> None:
    assert drain(requests(TWO, ALL, ONE, TWO)) == [TWO, ALL, ONE, None]


def test_claims_of_different_organizations_run_concurrently() -> None:
    claims = requests(ONE, TWO)
    with claims.next() as first, claims.next() as second:
        assert (first, second) == (ONE, TWO)


def test_a_request_during_a_claim_of_the_same_organization_follows_the_claim() -> None:
    claims = requests(ONE)
    with claims.next():
        claims.add(ONE)
        with claims.next() as concurrent:
            assert concurrent is None
    assert drain(claims) == [ONE, None]


def test_a_failed_claim_is_no_longer_in_progress() -> None:
    claims = requests(ONE)
    with pytest.raises(ConnectionError), claims.next():
        raise ConnectionError
    claims.add(ONE)
    assert drain(claims) == [ONE, None]


def test_one_claim_of_all_organizations_replaces_many_requests() -> None:
    assert drain(requests(*map(OrgId, range(4)), max_requests=3)) == [ALL, None]


def test_a_notification_requests_its_organizations_or_else_all() -> None:
    claims = ClaimRequests(10)
    claims.add_notified({ONE, TWO})
    assert set(drain(claims)) == {ONE, TWO, None}
    claims.add_notified(set())
    assert drain(claims) == [ALL, None]


def test_a_request_sets_the_event_until_a_claim_takes_it() -> None:
    claims = requests(ONE)
    assert claims.added.is_set()
    drain(claims)
    assert not claims.added.is_set()
