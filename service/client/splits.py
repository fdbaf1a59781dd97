"""The items that this job executes, and the file that keeps them, so that `report` and `run` state them."""

import contextlib
import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import click

from service.client.checkout import find_checkout, path_below
from service.client.ci import CiJob, current_job
from service.client.http import ClientError, JsonObject, ServerError, finish_in_time
from service.client.report_files import SentReport
from service.client.report_options import ReportFields
from service.client.servers import ServerKey, open_server
from service.client.terminal import print_message, printable_line, to_json
from service.runs.model import UNTRUSTED_PREFIX
from service.splits import model as splits_model

_FOLDER: Final = ".zof-results/splits"
_FORMAT: Final = 1
_TIMEOUT_S: Final = 4.0  # so that the command ends within 5 s
_RETRY_S: Final = 2
_MAX_BYTES: Final = 4 * 2**20  # of all items, which an assignment contains about twice without the server
_CONFLICT: Final = 409
_OF_ASSIGNMENT: Final = ("format", "key", "index", "expects_results")  # not of a request for a plan
_REJECTED: Final = frozenset({400, _CONFLICT, 413, 422})  # after each other error, the items are split by name


class _OtherItems(click.ClickException):
    exit_code = 3


def describe_split(
    job: CiJob, *, project_id: str | None, split_key: str | None, total: int | None, index: int | None,
    unit: splits_model.SplitUnit, variant: Sequence[str], run_id: str | None, expects_results: bool,
) -> JsonObject:  # fmt: skip
    """Return the assignment of this job without its items. Raises click.UsageError."""
    if not project_id:
        raise click.UsageError("--project: must be set, or set RESULTS_PROJECT")
    if not (run_id or job.pipeline):
        raise click.UsageError("--run-id: must be set outside of a known CI system")
    total = total or int(job.shards or 0)
    index = index or int(job.shard or total == 1)
    if not 1 <= index <= total:
        raise click.UsageError(
            f"--index, --total: must be such as 2 and 8, but are {index or 'unset'} and {total or 'unset'}. In a matrix"
            " of GitHub Actions: --index ${{ matrix.index }} --total ${{ strategy.job-total }}"
        )
    suffix = rf"[\s_:(\[-]*{job.shard}\s*(/|of)\s*{job.shards}[)\]]*$"  # of the names of parallel jobs
    default_key = " ".join((re.sub(suffix, "", job.part or "") or "tests", *sorted(variant)))
    return {
        "format": splits_model.ASSIGNMENT_FORMAT, "project_id": project_id,
        "pipeline": None if run_id else job.pipeline, "run_id": run_id,
        "key": split_key or default_key, "unit": unit, "total": total, "index": index,
        "variant": dict(pair.split(":", 1) for pair in variant),
        "path_prefix": path_below(find_checkout(), Path.cwd()) if unit == "file" else "",
        "expects_results": expects_results,
    }  # fmt: skip


def read_items(data: bytes, unit: splits_model.SplitUnit) -> list[str]:
    """Return the distinct items, one per line. Raises click.UsageError."""
    items: dict[str, int] = {}
    repeated = []
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            item = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise click.UsageError(f"stdin, line {number}: must be UTF-8") from None
        if item in items:
            repeated.append(number)
        elif item and not item.isspace():
            items[item] = number
            is_path = "\0" not in item and splits_model.name_in_results(item, unit, "") != "."
            if not is_path or len(item) > splits_model.MAX_ITEM or len(items) > splits_model.MAX_ITEMS:
                raise click.UsageError(
                    f"stdin, line {number}: must be one of at most {splits_model.MAX_ITEMS:,} items of 1 to"
                    f" {splits_model.MAX_ITEM:,} characters, but is {item[:100]!r}"
                )
    if not items or len(data) > _MAX_BYTES:
        raise click.UsageError(f"stdin: must contain at least one item, and at most {_MAX_BYTES:,} bytes")
    if repeated:
        print_message(f"warning: repeated items are removed: {len(repeated)}, the first one in line {repeated[0]}")
    return list(items)


def print_part(url: str | None, key: ServerKey | None, stated: JsonObject, items: Sequence[str]) -> None:
    """Print the items of this job after its file contains them. Raises click.ClickException, ClientError, and OSError.

    The same job gets the same items again without a request, so that all workers of a test tool agree.
    """
    job = describe_job(current_job(os.environ))
    digest = _digest([job, stated, sorted(items)])
    path = find_checkout() / _FOLDER / f"{_digest([stated['project_id'], stated['key']])[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n", encoding="ascii")
    with _locked(path):
        file = _read(path) if path.exists() else {}
        if file.get("digest") != digest:
            assignment = {**stated, **_assign(url, key, stated, items)}
            file = {"format": _FORMAT, "job": job, "digest": digest, "assignment": assignment}
            temporary = path.with_suffix(f".{os.getpid()}")
            temporary.write_text(to_json(file), encoding="utf-8")
            temporary.replace(path)
    part = file["assignment"]["items"]
    print_message(
        f"split {printable_line(stated['key'])}: part {stated['index']} of {stated['total']} has {len(part):,} of"
        f" {len(items):,} items"
    )
    sys.stdout.buffer.write("".join(f"{item}\n" for item in part).encode())


def _digest(document: Any) -> str:
    return hashlib.sha256(to_json(document).encode()).hexdigest()


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let no other process write a file at the same time, unless the system has no locks."""
    with path.with_suffix(".lock").open("w") as lock:
        with contextlib.suppress(ImportError, OSError):
            import fcntl  # not on Windows

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _assign(url: str | None, key: ServerKey | None, stated: JsonObject, items: Sequence[str]) -> JsonObject:
    """Return the items of this job and, if they are split by name, those of all jobs. Raises as `print_part`."""
    total, number = stated["total"], stated["index"]
    try:
        plan = finish_in_time(lambda _: _request_plan(url, key, stated, items), _TIMEOUT_S, _TIMEOUT_S)
        times_s = [(part["predicted_ms"] or 0) / 1000 for part in plan["parts"]]
        print_message(
            f"predicted: {times_s[number - 1]:,.1f} s, slowest part: {max(times_s):,.1f} s, items without a duration:"
            f" {plan['unknown_items']:,}"
        )
        return {"items": [*plan["parts"][number - 1]["items"]], "all_items": None}
    except Exception as error:  # also of a response with other content
        if isinstance(error, ServerError) and error.code and error.status in _REJECTED:
            raise (_OtherItems(str(error)) if error.status == _CONFLICT else error) from None
        reason = str(error) if isinstance(error, ClientError) else repr(error)
        print_message(f"split by name, because {printable_line(reason)}")
        return {"items": splits_model.select_by_name(items, total, number), "all_items": sorted(items)}


def _request_plan(url: str | None, key: ServerKey | None, stated: JsonObject, items: Sequence[str]) -> Any:
    if not (url and key):
        raise ClientError("RESULTS_URL or RESULTS_API_KEY isn't set")
    request = {name: value for name, value in stated.items() if name not in _OF_ASSIGNMENT}
    with open_server(url, key, _RETRY_S, stated["project_id"], timeout=_TIMEOUT_S) as server:
        return server.post(f"/splits/{quote(stated['key'], safe='')}", {**request, "items": items}, method="PUT")


def describe_job(job: CiJob) -> JsonObject:
    """Return what identifies one execution of a CI job."""
    return {"part": job.part, "job_url": job.job_url, "attempt": job.attempt}


def pack_assignments(
    run_id: str, fields: ReportFields, job: JsonObject, folder: Path, paths: Sequence[Path] = (), *,
    expects_results: bool = False,
) -> tuple[list[SentReport], ReportFields]:  # fmt: skip
    """Write the assignments of a job to files of an upload. Return them, and the fields of the upload.

    An upload whose assignments have no items can have no results. `paths` are files of other jobs, instead of those of
    this job. With `expects_results`, as for unfinished reports, only items with results count as executed. Raises
    ClientError if one of the paths doesn't belong to the upload.
    """
    assignments, sent = _find_assignments(run_id, dict(fields), job, paths, expects_results=expects_results), []
    for number, assignment in enumerate(assignments):
        path = folder / f"split-{number}.json.gz"
        path.write_bytes(gzip.compress(to_json(assignment).encode(), mtime=0))
        sent.append(SentReport(path.name, path, "application/json", field="split"))
    is_empty = bool(sent) and not any(assignment["items"] for assignment in assignments)
    others = [field for field in fields if field[0] != "allow_empty"]
    return sent, [*others, ("allow_empty", "true")] if is_empty else fields


def _find_assignments(
    run_id: str, fields: Mapping[str, str], job: JsonObject, paths: Sequence[Path], *, expects_results: bool
) -> Collection[JsonObject]:
    """Return the assignments with the project and the pipeline or run of an upload: those of one key as one.

    Without `paths`, all but the newest one expect results, because another upload of the job can belong to them.
    """
    found = list[JsonObject]()
    owners = {fields.get("pipeline"), run_id, run_id.removeprefix(UNTRUSTED_PREFIX)}
    own = sorted((find_checkout() / _FOLDER).glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
    for path in paths or own:
        file = _read(path)
        assignment: JsonObject = file.get("assignment", {})
        owner, is_own = assignment.get("pipeline") or assignment.get("run_id"), paths or file.get("job") == job
        if owner in owners and is_own and assignment["project_id"] == fields["project_id"]:
            found.append(assignment)
        elif paths:
            raise ClientError(f"--split: {path} contains no assignment of this project and of this pipeline or run")
    merged = dict[str, JsonObject]()
    for assignment in found:
        is_older = not paths and assignment is not found[-1]
        other = merged.get(assignment["key"], assignment)
        items = {name: {*(assignment[name] or ()), *(other[name] or ())} for name in ("items", "all_items")}
        expects = expects_results or is_older or assignment["expects_results"] or other["expects_results"]
        merged[assignment["key"]] = {
            **assignment, "items": sorted(items["items"]), "all_items": sorted(items["all_items"]) or None,
            "expects_results": expects,
        }  # fmt: skip
    return merged.values()


def _read(path: Path) -> JsonObject:
    """Return the content of a file, or an empty object if it can't be used."""
    try:
        file: JsonObject = json.loads(path.read_bytes())
        if file["format"] == _FORMAT:
            return file
        problem = f"unknown format {file['format']!r}"
    except (OSError, ValueError, LookupError, TypeError) as error:
        problem = repr(error)
    print_message(f"warning: {path} isn't used: {problem}")
    return {}
