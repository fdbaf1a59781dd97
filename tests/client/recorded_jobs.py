"""Environments of CI jobs, as the jobs of each system print them. Names and IDs are replaced; unrelated variables and
secrets are left out."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from service.client.ci import SYSTEMS, CiJob, current_job

FOLDER = Path(__file__).parents[1] / "data" / "ci"
EVENT_VARIABLE = "GITHUB_EVENT_PATH"


class RecordedJob(NamedTuple):
    """The variables of a job, the event in the file that GitHub provides, and the job that the client reads."""

    name: str
    variables: Mapping[str, str]
    event: Any
    job: CiJob

    @property
    def system(self) -> str:
        """The CI system: the first word of the name."""
        return self.name.partition("-")[0]

    def with_event(self, folder: Path) -> dict[str, str]:
        """Return the variables, after the event was written to a file of the folder."""
        if self.event is None:
            return dict(self.variables)
        path = folder / "event.json"
        path.write_text(json.dumps(self.event), "utf-8")
        return {**self.variables, EVENT_VARIABLE: str(path)}

    def read(self, folder: Path) -> CiJob:
        """Return the job that the client reads."""
        return current_job(self.with_event(folder))

    def changed(self) -> Iterator[tuple[str, "RecordedJob"]]:
        """Yield each variable and each text of the event, and the job with another value of it.

        A job without the variable that identifies its system has no fields.
        """
        for name, value in self.variables.items():
            for other in (f"x{value}", f"{value}x", *([] if name in SYSTEMS else [""])):
                yield name, self._replace(variables={**self.variables, name: other})
        for path in text_paths(self.event):
            yield ".".join(path), self._replace(event=with_other_text(self.event, path))


def recorded_jobs() -> list[RecordedJob]:
    """Return all recorded jobs."""
    return [load(path) for path in sorted(FOLDER.glob("*.json"))]


def load(path: Path) -> RecordedJob:
    """Return the recorded job in a file."""
    document = json.loads(path.read_text("utf-8"))
    return RecordedJob(path.stem, document["variables"], document.get("event"), CiJob(**document["job"]))


def text_paths(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each text in a JSON object."""
    if isinstance(document, str):
        yield path
    elif isinstance(document, dict):
        for name, value in document.items():
            yield from text_paths(value, (*path, name))


def with_other_text(document: Any, path: tuple[str, ...]) -> Any:
    """Return a copy of a JSON object with another text at the path."""
    changed = deepcopy(document)
    parent = changed
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = f"x{parent[path[-1]]}"
    return changed
