"""The page for operators speaks of what there is: metrics, settings, log events, files."""

import re
from pathlib import Path

import pytest

from consumers import metrics as metrics_of_consumers
from service.settings import Settings
from tests.api.served import serve
from tests.scraped import families

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "operations.md").read_text()
LOGS = PAGE.partition("\n## Logs\n")[2].partition("\n## ")[0]


async def test_every_metric_has_its_row_and_no_other(database_url: str) -> None:
    assert metrics_of_consumers  # what they count is in this process too, as they are imported
    async with serve(database_url) as api:
        text = await (await api.send("GET", "/metrics", key="")).text()
    made = {name for name in families(text) if name.startswith("results_")}
    assert len(made) > 20
    assert set(re.findall(r"^\| `(results_\w+)", PAGE, re.MULTILINE)) == made


def test_no_unknown_setting_is_named() -> None:
    known = {f"RESULTS_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bRESULTS_[A-Z_]+\b", PAGE)) <= known


def test_every_log_event_is_one_that_is_written() -> None:
    code = "".join(file.read_text() for room in ("service", "consumers") for file in (ROOT / room).rglob("*.py"))
    told = [event for row in re.findall(r"^\| (`.*?) \|", LOGS, re.MULTILINE) for event in re.findall(r"`(\w+)`", row)]
    assert len(told) > 15
    assert [event for event in told if not re.search(rf'\.(warning|error|exception|info)\("{event}"', code)] == []


@pytest.mark.parametrize("path", re.findall(r"\]\((?!http)([^)#]+)\)", PAGE))
def test_links_lead_to_files(path: str) -> None:
    assert (ROOT / "docs" / path).exists()
