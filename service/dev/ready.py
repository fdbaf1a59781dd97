"""ready.json: the addresses of the local stack for other programs; the file exists only while the stack runs."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Processes:
    """Process IDs by component; None if the component is external or waits for its restart."""

    api: list[int]
    consumers: list[int]
    postgres: int | None
    rabbitmq: int | None


@dataclass(frozen=True)
class Ready:
    """The content of ready.json. Addresses stay the same while the stack runs; process IDs change at a restart.

    `amqp_url` is None if the stack uses the embedded queue.
    """

    pid: int
    api_url: str
    api_key: str
    amqp_url: str | None
    database_url: str
    artifacts_url: str
    processes: Processes


def write(file: Path, ready: Ready) -> None:
    """Replace the file atomically. Only its owner can read it, because it contains a key and passwords."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(ready), stream, indent=2)
    unfinished.replace(file)


def remove(file: Path) -> None:
    file.unlink(missing_ok=True)
