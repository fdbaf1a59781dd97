"""The object storages of the stack: a bucket behind a proxy, or a folder."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from obstore.store import LocalStore, S3Store

from tests.buckets import credentials, new_bucket, s3_server
from tests.proxies import UnreliableProxy


@dataclass(frozen=True)
class StoredFiles:
    """A storage. `url` and `environment` configure the service. The checker reads `store` without a proxy."""

    url: str
    store: LocalStore | S3Store
    environment: Mapping[str, str] = field(default_factory=dict)
    proxies: tuple[UnreliableProxy, ...] = ()

    async def paths(self) -> set[str]:
        """Return the paths of all complete files."""
        return {found["path"] async for batch in self.store.list() for found in batch}


@asynccontextmanager
async def proxied_bucket() -> AsyncIterator[StoredFiles]:
    with s3_server() as server_url:
        url = new_bucket(server_url)
        environment = {name: value for name, value in credentials(server_url).items() if name != "AWS_ALLOW_HTTP"}
        config: Any = {name.lower(): value for name, value in environment.items()}
        store = S3Store.from_url(url, config=config, client_options={"allow_http": True})
        async with UnreliableProxy(server_url) as proxy:
            yield StoredFiles(url, store, credentials(proxy.url), (proxy,))


def folder(path: Path) -> StoredFiles:
    return StoredFiles(path.as_uri(), LocalStore(path, mkdir=True))
