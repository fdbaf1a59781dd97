"""The part of the items that this job executes: from the plan of the server or, without the server, by name.

A file in the checkout keeps the assignment, so that `report` and `run` state it with the results of the job.
"""

import contextlib
import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import click

from service.client.checkout import find_checkout, path_below
from service.client.ci import CiJob, current_job, untrusted_run_id
from service.client.deadlines import finish_in_time
from service.client.http import ClientError, JsonObject, ServerError, read_json
from service.client.report_files import SentReport
from service.client.report_options import ReportFields
from service.client.servers import ServerKey, open_server
from service.client.terminal import print_message, printable_line, to_json
from service.splits.model import (
    ASSIGNMENT_FORMAT,
    MAX_ITEM,
    MAX_ITEMS,
    MAX_SPLIT_BYTES,
    SplitUnit,
    name_in_results,
    select_by_name,
)

_FOLDER: Final = ".zof-results/splits"
_FORMAT: Final = 1
_DEFAULT_KEY: Final = "tests"
_MATRIX: Final = (
    "With `strategy: matrix: index: [1, 2, 3, 4]` of GitHub Actions: --total ${{ strategy.job-total }}"
    " --index ${{ matrix.index }}"
)
_TIMEOUT_S: Final = 4.0  # so that the command ends within 5 s
_RETRY_S: Final = 2
_OTHER_ITEMS: Final = 409
_OTHER_ITEMS_CODE: Final = 3
_REJECTED: Final = frozenset({400, _OTHER_ITEMS, 413, 422})  # after each other error, the items are split by name
_MAX_BYTES: Final = MAX_SPLIT_BYTES * 0.9  # of an assignment of a split by name: about one part, and all items


class SplitRequest(NamedTuple):
    """The items of all jobs, and the part of this job: `number` of `total`, from 1."""

    key: str
    project: str
    pipeline: str | None
    run_id: str | None
    unit: SplitUnit
    total: int
    number: int
    variant: Mapping[str, str]
    items: Sequence[str]


def select_split(
    job: CiJob, *, project_id: str | None, split_key: str | None, total: int | None, index: int | None, unit: SplitUnit,
    variant: Sequence[str], run_id: str | None,
) -> SplitRequest:  # fmt: skip
    """Return the split that the options, the CI job, and stdin describe. Raises click.UsageError."""
    if not project_id:
        raise click.UsageError("--project: must be set, or set RESULTS_PROJECT")
    if not (run_id or job.pipeline):
        raise click.UsageError("--run-id: must be set outside of a known CI system")
    total = total or int(job.shards or 0)
    index = index or int(job.shard or total == 1)
    if not (total and index):
        raise click.UsageError(f"--total, --index: must be set, because the CI system doesn't state them. {_MATRIX}")
    if index > total:
        raise click.UsageError(f"--index: must be at most --total, but {index} is more than {total}")
    return SplitRequest(
        split_key or _default_key(job), project_id, None if run_id else job.pipeline, run_id, unit, total, index,
        dict(pair.split(":", 1) for pair in variant), read_items(sys.stdin.buffer.read(), unit),
    )  # fmt: skip


def _default_key(job: CiJob) -> str:
    """Return the name of the job, without the number that CI systems add to the names of parallel jobs."""
    number = rf"[\s_:(\[-]*{job.shard}\s*(/|of)\s*{job.shards}[)\]]*$"
    return re.sub(number, "", job.part or "") or _DEFAULT_KEY


def read_items(data: bytes, unit: SplitUnit) -> list[str]:
    """Return the distinct items, one per line. Raises click.UsageError."""
    lines: dict[str, int] = {}
    repeated = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            item = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise click.UsageError(f"stdin, line {number}: must be UTF-8") from None
        if item in lines:
            repeated.append(number)
        elif item and not item.isspace():
            _check_item(item, unit, number)
            lines[item] = number
        if len(lines) > MAX_ITEMS:
            raise click.UsageError(f"stdin, line {number}: is item {MAX_ITEMS + 1:,}. The limit is {MAX_ITEMS:,}")
    if not lines:
        raise click.UsageError("stdin: must contain at least one item, one per line")
    if repeated:
        print_message(f"warning: repeated items are removed: {len(repeated)}, the first one in line {repeated[0]}")
    return list(lines)


def _check_item(item: str, unit: SplitUnit, number: int) -> None:
    if len(item) > MAX_ITEM:
        raise click.UsageError(f"stdin, line {number}: must have at most {MAX_ITEM:,} characters")
    if "\0" in item or name_in_results(item, unit, "") == ".":
        raise click.UsageError(f"stdin, line {number}: must be a {unit}, but is {item!r}")


def print_part(url: str | None, key: ServerKey | None, request: SplitRequest) -> int:
    """Write the assignment of this job to its file, print the items, and return the exit code.

    The same job gets the same items again without a request, so that all workers of a test tool agree. Raises
    click.UsageError, ClientError, and OSError.
    """
    if len(to_json(request.items).encode()) * (1 + 1 / request.total) > _MAX_BYTES:
        raise click.UsageError("stdin: the items are too long together. Split files instead of cases, or use two keys")
    try:
        items = _find_part(url, key, request)
    except ServerError as error:
        if error.status != _OTHER_ITEMS:
            raise
        print_message(f"Error: {error}")
        return _OTHER_ITEMS_CODE
    print_message(
        f"split {printable_line(request.key)}: part {request.number} of {request.total} has {len(items):,} of"
        f" {len(request.items):,} items"
    )
    sys.stdout.buffer.write("".join(f"{item}\n" for item in items).encode())
    return 0


def _find_part(url: str | None, key: ServerKey | None, request: SplitRequest) -> list[str]:
    """Return the items of this job, which its file states afterwards. Raises ClientError and OSError."""
    described = _describe(request)
    job = describe_job(current_job(os.environ))
    all_items = {**described, "items": sorted(request.items)}
    digest = hashlib.sha256(to_json([job, all_items]).encode()).hexdigest()
    folder = _find_folder()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n", encoding="ascii")
    path = folder / f"{hashlib.sha256(to_json([request.project, request.key]).encode()).hexdigest()[:16]}.json"
    with _locked(path.with_suffix(".lock")):
        stored = _read(path) if path.exists() else {}
        assignment = stored.get("assignment", {})
        if stored.get("digest") != digest:
            assignment = {**described, **_assign(url, key, request)}
            document = {"format": _FORMAT, "job": job, "digest": digest, "assignment": assignment}
            temporary = path.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_text(to_json(document), encoding="utf-8")
            temporary.replace(path)
    items: list[str] = assignment["items"]
    return items


def _describe(request: SplitRequest) -> JsonObject:
    """Return an assignment without items."""
    root = find_checkout()
    return {
        "format": ASSIGNMENT_FORMAT, "key": request.key, "project_id": request.project, "pipeline": request.pipeline,
        "run_id": request.run_id, "unit": request.unit, "total": request.total, "index": request.number,
        "variant": request.variant, "path_prefix": path_below(root, Path.cwd()) if request.unit == "file" else "",
    }  # fmt: skip


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let no other process create the same assignment at the same time, unless the system has no locks."""
    with path.open("w") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # not on Windows

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _assign(url: str | None, key: ServerKey | None, request: SplitRequest) -> JsonObject:
    """Return the items of this job and, if it splits them by name, those of all jobs. Raises ClientError."""
    try:
        plan = finish_in_time(lambda _: _request_plan(url, key, request), _TIMEOUT_S, _TIMEOUT_S)
        part, times = plan["parts"][request.number - 1], [part["predicted_ms"] for part in plan["parts"]]
        items, unknown, slowest = list(part["items"]), plan["unknown_items"], max(filter(None, times), default=None)
    except Exception as error:  # also of a response with other content
        if isinstance(error, ServerError) and error.code and error.status in _REJECTED:
            raise
        reason = str(error) if isinstance(error, ClientError) else f"the response can't be read: {error!r}"
        print_message(f"split by name, because {printable_line(reason)}")
        items = select_by_name(request.items, request.total, request.number)
        return {"items": items, "all_items": sorted(request.items)}
    if slowest is not None:
        print_message(
            f"predicted: {(part['predicted_ms'] or 0) / 1000:,.1f} s, slowest part: {slowest / 1000:,.1f} s,"
            f" items without a duration: {unknown:,}"
        )
    return {"items": items, "all_items": None}


def _request_plan(url: str | None, key: ServerKey | None, request: SplitRequest) -> Any:
    if not (url and key):
        raise ClientError("RESULTS_URL or RESULTS_API_KEY isn't set")
    stated = {name: value for name, value in _describe(request).items() if name not in ("format", "key", "index")}
    path, body = f"/splits/{quote(request.key, safe='')}", {**stated, "items": request.items}
    with (
        open_server(url, key, _RETRY_S, request.project, timeout=_TIMEOUT_S) as server,
        server.open("PUT", path, json=body) as response,
    ):
        return read_json(response)


def describe_job(job: CiJob) -> JsonObject:
    """Return what identifies one execution of a CI job."""
    return {"part": job.part, "job_url": job.job_url, "attempt": job.attempt}


def find_assignments(run_id: str, fields: ReportFields, job: JsonObject) -> list[JsonObject]:
    """Return the assignments of an upload of this job."""
    files = [_read(path) for path in sorted(_find_folder().glob("*.json"))]
    return [file["assignment"] for file in files if file.get("job") == job and _belongs_to(file, run_id, fields)]


def read_assignments(paths: Sequence[Path], run_id: str, fields: ReportFields) -> list[JsonObject]:
    """Return the assignments in these files of other jobs. Raises ClientError."""
    files = {path: _read(path) for path in paths}
    for path, file in files.items():
        if not _belongs_to(file, run_id, fields):
            raise ClientError(f"--split: {path} contains no assignment of this project and of this pipeline or run")
    return [file["assignment"] for file in files.values()]


def _find_folder() -> Path:
    return find_checkout() / _FOLDER


def _read(path: Path) -> JsonObject:
    """Return the content of a file, or an empty object if it can't be used."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] == _FORMAT and len(document["assignment"]["items"]) >= 0:
            return dict(document)
        problem = "it has an unknown format"
    except (OSError, ValueError, LookupError, TypeError) as error:
        problem = repr(error)
    print_message(f"warning: the assignment in {path} isn't used: {problem}")
    return {}


def _belongs_to(file: JsonObject, run_id: str, fields: ReportFields) -> bool:
    """Return whether an upload has the project and the pipeline of an assignment or, without a pipeline, its run."""
    stated, assignment = dict(fields), file.get("assignment", {})
    if assignment.get("project_id") != stated["project_id"]:
        return False
    if assignment["pipeline"]:
        return bool(assignment["pipeline"] == stated.get("pipeline"))
    return run_id in (assignment["run_id"], untrusted_run_id(assignment["run_id"]))


def state_empty(fields: ReportFields, assignments: Sequence[JsonObject]) -> ReportFields:
    """Return the fields of an upload, which permit that it contains no results if all of its assignments are empty."""
    is_empty = bool(assignments) and not any(assignment["items"] for assignment in assignments)
    return [*fields, ("allow_empty", "true")] if is_empty and "allow_empty" not in dict(fields) else fields


def pack_assignments(assignments: Sequence[JsonObject], folder: Path) -> list[SentReport]:
    """Return the files of a form with these assignments, which the folder gets, compressed."""
    files = []
    for number, assignment in enumerate(assignments):
        path = folder / f"split-{number}.json.gz"
        path.write_bytes(gzip.compress(to_json(assignment).encode(), mtime=0))
        files.append(SentReport(path.name, path, "application/json", field="split"))
    return files
