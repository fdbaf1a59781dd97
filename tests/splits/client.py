"""The client under test, behind the functions that the simulation calls."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from service.client.ci import CiJob
from service.splits.model import select_by_name


class Conflict(Exception):
    pass


class Request(NamedTuple):
    project: str
    key: str
    run_id: str
    total: int
    number: int
    items: tuple[str, ...]


Send = Callable[[Request], Sequence[Sequence[str]]]


def _file(workspace: Path, key: str) -> Path:
    return workspace / ".zof-results" / "splits" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def _job(job: CiJob) -> dict[str, Any]:
    return {"part": job.part, "job_url": job.job_url, "attempt": job.attempt}


def split(workspace: Path, job: CiJob, request: Request, send: Send | None) -> list[str]:
    stated = {
        "project_id": request.project,
        "key": request.key,
        "total": request.total,
        "index": request.number,
        "unit": "file",
        "run": request.run_id,
    }
    file = _file(workspace, request.key)
    if file.exists():
        found = json.loads(file.read_text())
        old = found["assignment"]
        if (
            found["job"] == _job(job)
            and {k: old[k] for k in stated} == stated
            and found["digest"] == list(request.items)
        ):
            return old["items"]
    if send is None:
        items = select_by_name(request.items, request.total, request.number)
    else:
        items = list(send(request)[request.number - 1])
    document = {**stated, "items": items} | ({"all_items": list(request.items)} if send is None else {})
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"job": _job(job), "assignment": document, "digest": list(request.items)}))
    return items


def read_assignments(workspace: Path, job: CiJob, project: str, run_id: str) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((workspace / ".zof-results" / "splits").glob("*.json"))]
    return [
        one["assignment"]
        for one in found
        if one["job"] == _job(job) and one["assignment"]["run"] == run_id and one["assignment"]["project_id"] == project
    ]
