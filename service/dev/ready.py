"""ready.json: where the running stack can be reached, for programs; there while it runs and only then."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Processes:
    """Process ids by part; None where the part isn't ours, or is about to be launched again."""

    api: list[int]
    consumers: list[int]
    postgres: int | None
    rabbitmq: int | None


@dataclass(frozen=True)
class Ready:
    """The addresses stay while the stack runs, the process ids change when a part is launched again.

    `amqp_url` is None where the embedded queue stands in for a broker.
    """

    pid: int
    api_url: str
    api_key: str
    amqp_url: str | None
    database_url: str
    artifacts_url: str
    processes: Processes


def write(file: Path, ready: Ready) -> None:
    """Replaces the file atomically. Only its owner may read it: it holds a key and passwords."""
    unfinished = file.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(asdict(ready), stream, indent=2)
    unfinished.replace(file)


def remove(file: Path) -> None:
    file.unlink(missing_ok=True)
