"""The API, served in the test process with a real database, and a client for tests."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from service.api.server.connections import OPTIONS
from service.app import make_app
from service.domain.ids import OrgId
from service.http.process import RESOURCES, Resources
from service.identity.keys import operations as keys_operations
from service.identity.keys.model import KeyRole
from service.organizations import store as organizations_store
from service.settings import Settings
from tests.stored import Store, open_store

Params = Mapping[str, str] | Sequence[tuple[str, str]]


@dataclass
class Api:
    """A client with an admin key of the organization acme."""

    store: Store
    http: TestClient[Any, Any]
    key: str = ""
    org_id: OrgId = field(default=OrgId(1))

    @property
    def resources(self) -> Resources:
        """The resources of the served application."""
        app = self.http.app
        assert app is not None
        resources: Resources = app[RESOURCES]
        return resources

    async def get(
        self, path: str, params: Params = (), key: str | None = None, status: int = 200, **headers: str
    ) -> Any:
        """Return the JSON of the response, which must have this status."""
        response = await self.send("GET", path, params, key, **headers)
        text = await response.text()
        assert response.status == status, text
        return await response.json()

    async def send(
        self, method: str, path: str, params: Params = (), key: str | None = None, json: Any = None, **headers: str
    ) -> ClientResponse:
        sent = {"Authorization": f"Bearer {self.key if key is None else key}"} if key != "" else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(method, path, params=list_of(params), headers=sent, json=json)

    async def error(self, path: str, status: int, params: Params = (), key: str | None = None) -> Any:
        """Return the error of the response, which must have this status."""
        return (await self.get(path, params, key, status))["error"]

    async def attach(self, result_id: str, name: str, content: bytes, content_type: str = "text/plain") -> Any:
        """Upload an artifact of a result, and return it."""
        path = URL(f"/v1/results/{result_id}/artifacts/{quote(name, safe='')}", encoded=True)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        response = await self.http.put(path, data=content, headers=headers)
        assert response.status == 201, await response.text()
        return await response.json()

    async def list_all(self, path: str, params: Params = ()) -> list[Any]:
        """Return all items of a list, read page by page."""
        items: list[Any] = []
        cursor: tuple[tuple[str, str], ...] = ()
        while True:
            page = await self.get(path, [*list_of(params), *cursor])
            items += page["data"]
            if not page["has_more"]:
                return items
            cursor = (("starting_after", page["next_cursor"]),)

    async def make_key(
        self, role: KeyRole = "viewer", org_id: OrgId | None = None, project_id: str | None = None,
        expires_at: datetime | None = None, name: str = "test",
    ) -> keys_operations.NewKey:  # fmt: skip
        async with self.store.pool.acquire() as connection:
            return await keys_operations.create_key(
                connection, org_id or self.org_id, name, role, project_id, expires_at
            )

    async def become(self, role: KeyRole) -> None:
        """Use a key of this role for the following requests."""
        self.key = (await self.make_key(role)).key

    async def make_organization(self, slug: str) -> tuple[OrgId, str]:
        """Create another organization with an admin key."""
        async with self.store.pool.acquire() as connection:
            org_id = await organizations_store.create(connection, slug, slug)
        return org_id, (await self.make_key("admin", org_id)).key


def list_of(params: Params) -> list[tuple[str, str]]:
    return list(params.items()) if isinstance(params, Mapping) else list(params)


@asynccontextmanager
async def serve(database_url: str, **settings: Any) -> AsyncIterator[Api]:
    async with open_store(database_url) as store, listening(database_url, **settings) as http:
        api = Api(store, http)
        api.key = (await api.make_key("admin")).key
        yield api


@asynccontextmanager
async def listening(database_url: str, **settings: Any) -> AsyncIterator[TestClient[Any, Any]]:
    """Serve only the API, with an existing database. It listens at the port of a public URL on loopback."""
    chosen = Settings(database_url=database_url, database_pool_size=4, **settings)
    public = URL(chosen.public_url or "")
    server = TestServer(make_app(chosen), port=public.port if public.host == "127.0.0.1" else None)
    await server.start_server(**OPTIONS)
    async with TestClient(server) as http:
        yield http
