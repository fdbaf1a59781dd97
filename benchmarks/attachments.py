"""The upload of the files that a report names by `zof-results report`, compared with a bare loop of PUT requests.

    python -m benchmarks.attachments [--files 500] [--bytes 100000]

Budget: 0.5 of the bare loop, in files per second. The loop sends the same files to the same server over one connection,
without knowing which ones are missing. Both are measured alternately, each time in a new run.
"""

import argparse
import asyncio
import os
import statistics
import time
from pathlib import Path
from typing import Final

import httpx

from benchmarks.query_load import server_process
from benchmarks.servers import BenchmarkServers, consumer_process, servers
from service.client.attachments import AttachmentOptions, upload_attachments
from service.client.report import STORED, report
from service.client.servers import open_server
from service.domain.ids import OrgId
from service.identity.keys.operations import create_key
from tests.stored import open_store

ROUNDS: Final = 3
PORT: Final = 18087
BUDGET: Final = 0.5
_URL: Final = f"http://127.0.0.1:{PORT}"


def write_report(folder: Path, files: int, size: int) -> Path:
    """Write a report whose results name one file each, and the files."""
    cases = [f"<testcase name='c{n}'><system-out>[[ATTACHMENT|{n}.png]]</system-out></testcase>" for n in range(files)]
    for number in range(files):
        (folder / f"{number}.png").write_bytes(os.urandom(size))
    path = folder / "junit.xml"
    path.write_text(f"<testsuite name='s'>{''.join(cases)}</testsuite>")
    return path


def send_report(key: str, path: Path, run_id: str) -> list[dict[str, object]]:
    """Store the report without its files, and return its receipts."""
    if report(_URL, key, run_id, [str(path)], [("project_id", "shop")], wait_s=120) != STORED:
        raise SystemExit("the report isn't stored")
    response = httpx.get(f"{_URL}/v1/receipts", params={"run_id": run_id}, headers={"Authorization": f"Bearer {key}"})
    receipts: list[dict[str, object]] = response.raise_for_status().json()["data"]
    return receipts


def client_s(key: str, path: Path, run_id: str) -> float:
    """Return the time of the client."""
    (receipt,) = send_report(key, path, run_id)
    started = time.perf_counter()
    with open_server(_URL, key) as server:
        upload_attachments(server, run_id, receipt, [path], AttachmentOptions())
    return time.perf_counter() - started


def bare_s(key: str, path: Path, run_id: str) -> float:
    """Return the time of the loop."""
    send_report(key, path, run_id)
    files = sorted(path.parent.glob("*.png"))
    started = time.perf_counter()
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for file in files:
            client.put(f"{_URL}/v1/runs/{run_id}/artifacts/{file.name}", content=file.read_bytes()).raise_for_status()
    return time.perf_counter() - started


async def create_organization(url: str) -> str:
    """Create the organization, and return a key of it."""
    async with open_store(url) as store, store.pool.acquire() as connection:
        return (await create_key(connection, OrgId(1), "benchmark", "admin")).key


def measure(stack: BenchmarkServers, files: int, size: int) -> float:
    """Print the times of both, and return the ratio of their medians."""
    key, folder = asyncio.run(create_organization(stack.database_url)), stack.folder / "checkout"
    folder.mkdir()
    path = write_report(folder, files, size)
    url = (stack.folder / "files").as_uri()
    with (
        consumer_process(stack, "reports", RESULTS_ARTIFACTS_URL=url, RESULTS_AMQP_URL=""),
        server_process(stack.database_url, PORT, RESULTS_ARTIFACTS_URL=url, RESULTS_AMQP_URL=""),
    ):
        times = [(client_s(key, path, f"client-{n}"), bare_s(key, path, f"bare-{n}")) for n in range(ROUNDS)]
    client, bare = statistics.median(pair[0] for pair in times), statistics.median(pair[1] for pair in times)
    print(f"client: {files / client:,.0f} files/s, bare loop: {files / bare:,.0f} files/s")
    return bare / client


def main() -> None:
    """Print the ratio and the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--bytes", type=int, default=100_000)
    arguments = parser.parse_args()
    with servers(with_broker=False) as stack:
        ratio = measure(stack, arguments.files, arguments.bytes)
    print(f"client: {ratio:.2f} of the bare loop; budget {BUDGET}")


if __name__ == "__main__":
    main()
