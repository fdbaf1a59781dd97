"""Functions that write or read a small file in storage in one call."""

from service.storage import Storage


async def write(storage: Storage, path: str, data: bytes) -> None:
    async with storage.open_writer(path) as file:
        await file.write(data)


async def read(storage: Storage, path: str, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in await storage.read(path, start, end)])
