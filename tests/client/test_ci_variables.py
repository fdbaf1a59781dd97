"""The jobs of all CI systems are read from recorded environments, and the guide lists the variables of each field."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from service.client.ci import SYSTEMS, CiJob
from tests.client.recorded_jobs import RecordedJob, recorded_jobs

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "ci.md"
TITLES = {
    "GitHub Actions": "github", "GitLab": "gitlab", "Jenkins": "jenkins", "Buildkite": "buildkite",
    "CircleCI": "circleci", "Azure Pipelines": "azure", "Bitbucket": "bitbucket",
}  # fmt: skip
CODE = re.compile(r"`([^`]+)`")

Sources = dict[tuple[str, str], set[str]]  # of a system and a field


@pytest.mark.parametrize("recorded", recorded_jobs(), ids=lambda recorded: recorded.name)
def test_job_is_read_from_the_variables_of_its_system(recorded: RecordedJob, tmp_path: Path) -> None:
    assert recorded.read(tmp_path)._asdict() == recorded.job._asdict()


def test_each_system_has_recorded_jobs() -> None:
    assert {recorded.system for recorded in recorded_jobs()} == set(TITLES.values())
    assert len(SYSTEMS) == len(TITLES)


def test_guide_lists_the_variables_of_each_field(tmp_path: Path) -> None:
    documented, read = documented_sources(), sources_in_code(tmp_path)
    assert {key: sorted(names) for key, names in documented.items()} == {
        key: sorted(names) for key, names in read.items()
    }


def documented_sources() -> Sources:
    """Return the variables in the tables of the guide. The header of a table names its system."""
    sources: Sources = {}
    system = None
    for line in GUIDE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 2 or not line.startswith("|"):
            system = None
        elif cells[0] == "Field":
            system = TITLES[cells[1].removesuffix(" source")]
        elif system:
            fields = CODE.findall(cells[0])
            sources.update({(system, field): set(CODE.findall(cells[1])) for field in fields})
    return sources


def sources_in_code(folder: Path) -> Sources:
    """Return the variables whose values change a field of a recorded job."""
    sources: Sources = defaultdict(set)
    for recorded in recorded_jobs():
        for name, changed in recorded.changed():
            job = changed.read(folder)
            for field in CiJob._fields:
                if getattr(job, field) != getattr(recorded.job, field):
                    sources[recorded.system, field].add(name)
    return sources
