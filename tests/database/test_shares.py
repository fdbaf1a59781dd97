"""The share of a pool that an organization, and all organizations of a worker, can use."""

from contextlib import AsyncExitStack
from typing import Final

import pytest

from service.database.shares import PoolShares, Worker
from service.domain.errors import Unavailable
from service.domain.ids import OrgId

POOL_SIZE: Final = 10
OF_ORGANIZATION: Final = 6  # three quarters without the connection that listens
OF_WORKER: Final = 7  # leaves a quarter of them
WAIT_S: Final = 0.01


async def find_worker(org_id: OrgId) -> Worker:
    """Organizations with an odd ID have the first worker."""
    return Worker("worker", org_id % 2)


@pytest.fixture
def shares() -> PoolShares:
    return PoolShares(POOL_SIZE, find_worker)


async def occupy(held: AsyncExitStack, shares: PoolShares, org_id: int, count: int) -> None:
    for _ in range(count):
        await held.enter_async_context(shares.slot(OrgId(org_id), WAIT_S))


async def test_organizations_of_a_worker_leave_connections_to_those_of_others(shares: PoolShares) -> None:
    async with AsyncExitStack() as held:
        for org_id in range(1, 2 * OF_WORKER, 2):
            await occupy(held, shares, org_id, 1)
        with pytest.raises(Unavailable, match="the database server of the organization has too many"):
            await occupy(held, shares, 99, 1)
        await occupy(held, shares, 2, POOL_SIZE - 1 - OF_WORKER)
    async with AsyncExitStack() as held:
        await occupy(held, shares, 99, 1)


async def test_an_organization_leaves_connections_to_others_of_its_worker(shares: PoolShares) -> None:
    async with AsyncExitStack() as held:
        await occupy(held, shares, 1, OF_ORGANIZATION)
        with pytest.raises(Unavailable, match="the organization has too many"):
            await occupy(held, shares, 1, 1)
        await occupy(held, shares, 3, 1)


@pytest.mark.parametrize("connections", range(1, 8))
async def test_every_pool_has_a_connection_for_an_organization(connections: int) -> None:
    async with AsyncExitStack() as held:
        await occupy(held, PoolShares(connections, find_worker), 1, 1)


async def test_one_server_limits_only_organizations() -> None:
    shares = PoolShares(POOL_SIZE, None)
    async with AsyncExitStack() as held:
        for org_id in range(POOL_SIZE):
            await occupy(held, shares, org_id, OF_ORGANIZATION)
