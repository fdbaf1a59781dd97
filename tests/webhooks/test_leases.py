"""The order and the concurrency of the leases of due deliveries."""

import pytest

from consumers.webhooks import ALL, LeaseRequests, LeaseScope
from service.domain.ids import OrgId

ONE, TWO = OrgId(1), OrgId(2)


def requests(*scopes: LeaseScope, max_requests: int = 10) -> LeaseRequests:
    leases = LeaseRequests(max_requests)
    for scope in scopes:
        leases.add(scope)
    return leases


def drain(leases: LeaseRequests) -> list[LeaseScope | None]:
    """Return the scopes of leases that run one after another, until no lease can start."""
    scopes: list[LeaseScope | None] = []
    while not scopes or scopes[-1] is not None:
        with leases.next() as scope:
            scopes.append(scope)
    return scopes


def test_each_requested_scope_is_leased_once_in_the_order_of_the_requests() -> None:
    assert drain(requests(TWO, ALL, ONE, TWO)) == [TWO, ALL, ONE, None]


def test_leases_of_different_organizations_run_concurrently() -> None:
    leases = requests(ONE, TWO)
    with leases.next() as first, leases.next() as second:
        assert (first, second) == (ONE, TWO)


def test_a_request_during_a_lease_of_the_same_organization_follows_the_lease() -> None:
    leases = requests(ONE)
    with leases.next():
        leases.add(ONE)
        with leases.next() as concurrent:
            assert concurrent is None
    assert drain(leases) == [ONE, None]


def test_a_failed_lease_is_no_longer_in_progress() -> None:
    leases = requests(ONE)
    with pytest.raises(ConnectionError), leases.next():
        raise ConnectionError
    leases.add(ONE)
    assert drain(leases) == [ONE, None]


def test_one_lease_of_all_organizations_replaces_many_requests() -> None:
    assert drain(requests(*map(OrgId, range(4)), max_requests=3)) == [ALL, None]


def test_a_notification_requests_its_organizations_or_else_all() -> None:
    leases = LeaseRequests(10)
    leases.add_notified({ONE, TWO})
    assert set(drain(leases)) == {ONE, TWO, None}
    leases.add_notified(set())
    assert drain(leases) == [ALL, None]


def test_a_request_sets_the_event_until_a_lease_takes_it() -> None:
    leases = requests(ONE)
    assert leases.added.is_set()
    drain(leases)
    assert not leases.added.is_set()
