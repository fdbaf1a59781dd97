"""Tests of the limit of open connections, and of the file descriptors that it leaves free."""

import resource

import pytest
from structlog.testing import capture_logs

from service.api.server.connections import HEADROOM, ConnectionLimit, max_connections
from service.processes import raise_descriptor_limit
from service.settings import Settings


class FakeConnection:
    def __init__(self, *, is_idle: bool = True) -> None:
        self.is_idle = is_idle
        self.is_closed = False

    def force_close(self) -> None:
        self.is_closed = True


def test_connection_that_never_sent_a_request_is_closed_first() -> None:
    limit = ConnectionLimit(3)
    reused, silent, busy = FakeConnection(), FakeConnection(), FakeConnection(is_idle=False)
    for connection in (reused, silent, busy):
        assert limit.add(connection)
    limit.mark_used(reused)
    assert limit.add(FakeConnection())
    assert (reused.is_closed, silent.is_closed, busy.is_closed) == (False, True, False)
    assert not limit.is_exceeded


def test_connections_over_the_headroom_are_rejected_if_all_are_busy() -> None:
    limit = ConnectionLimit(3)
    accepted = [limit.add(FakeConnection(is_idle=False)) for _ in range(3 + HEADROOM + 2)]
    assert accepted.count(False) == 2
    assert limit.is_exceeded


def test_closed_connection_no_longer_counts() -> None:
    limit = ConnectionLimit(1)
    first = FakeConnection(is_idle=False)
    limit.add(first)
    limit.remove(first)
    assert limit.add(FakeConnection(is_idle=False))
    assert not limit.is_exceeded


@pytest.mark.parametrize(("descriptors", "expected"), [(65_536, 4_000), (1_024, 716), (10, 1)])
def test_limit_leaves_file_descriptors_for_files_and_other_connections(descriptors: int, expected: int) -> None:
    with capture_logs() as logs:
        assert max_connections(Settings(), descriptors) == expected
    assert [line["event"] for line in logs] == (["connection_limit_reduced"] if expected != 4_000 else [])


def test_soft_limit_of_file_descriptors_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert raise_descriptor_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard % (2**63), 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
