"""The code of the client on simulated machines: their checkouts, their CI jobs, and their connection to a server."""

import gzip
import io
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import click

from service.client import splits
from service.client.ci import CiJob
from service.client.http import ClientError, ServerError

PROJECT = "shop"


class Conflict(Exception):
    """The exit code 3 of `split`."""


class Request(NamedTuple):
    """The options and the items of `split`. Only jobs outside of the known CI systems state a run."""

    key: str
    total: int
    number: int
    items: Sequence[str]
    run_id: str | None


Plan = Sequence[Sequence[str]]
Send = Callable[[str, int, Sequence[str]], Plan]  # of the key, the total, and the items. Raises Conflict


@dataclass
class Machine:
    """The machine on which a step of a job runs. Without `send`, it doesn't reach the server."""

    checkout: Path
    job: CiJob
    send: Send | None = None

    def use(self, checkout: Path, job: CiJob, send: Send | None = None) -> "Machine":
        """Return the machine with another state."""
        self.checkout, self.job, self.send = checkout, job, send
        return self

    def split(self, request: Request) -> list[str]:
        """Return the items that `split` prints. Raises Conflict."""
        stated = splits.describe_split(
            self.job, project_id=PROJECT, split_key=request.key, total=request.total, index=request.number, unit="file",
            variant=(), run_id=request.run_id, expects_results=False,
        )  # fmt: skip
        output = io.TextIOWrapper(io.BytesIO())
        try:
            with redirect_stdout(output):
                splits.print_part(None, None, stated, request.items)
        except click.ClickException as error:
            raise Conflict(error.exit_code) from None
        output.seek(0)
        return output.read().splitlines()

    def find_assignments(self, run_id: str, *, is_unfinished: bool = False) -> Sequence[Mapping[str, Any]]:
        """Return the assignments that an upload of the job states."""
        fields = [("project_id", PROJECT)] + ([("pipeline", self.job.pipeline)] if self.job.pipeline else [])
        sent, _ = splits.pack_assignments(
            run_id, fields, splits.describe_job(self.job), self.checkout, expects_results=is_unfinished
        )
        return [json.loads(gzip.decompress(file.path.read_bytes())) for file in sent]

    def request_plan(self, _url: object, _key: object, stated: Mapping[str, Any], items: Sequence[str]) -> Any:
        """Return the response of the server. Raises ClientError without a response, and ServerError for other items."""
        if self.send is None:
            raise ClientError("the server doesn't respond")
        try:
            plan = self.send(stated["key"], stated["total"], items)
        except Conflict as conflict:
            raise ServerError(str(conflict), 409, "conflict") from None
        return {"parts": [{"items": part, "predicted_ms": None} for part in plan], "unknown_items": 0}


@contextmanager
def simulated_machine(folder: Path) -> Generator[Machine]:
    """Let the client use the machine, whose state the caller changes, instead of the real one."""
    machine = Machine(folder, CiJob())
    with mock.patch.multiple(
        splits,
        find_checkout=lambda: machine.checkout,
        current_job=lambda _: machine.job,
        finish_in_time=lambda work, *_: work(None),
        _request_plan=machine.request_plan,
        print_message=lambda _: None,
    ):
        yield machine
