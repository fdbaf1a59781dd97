"""Tests that the metrics in docs/reference/metrics.md and the settings in docs/operations exist."""

import re
from pathlib import Path

from consumers import metrics as metrics_of_consumers
from service.settings import Settings
from tests.scraped import families
from tests.served import serve

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "operations").glob("*.md"))
METRICS = (ROOT / "docs" / "reference" / "metrics.md").read_text()


async def test_page_lists_exactly_the_existing_metrics(database_url: str) -> None:
    assert metrics_of_consumers  # the import registers their metrics in this process
    async with serve(database_url) as api:
        text = await (await api.send("GET", "/metrics", key="")).text()
    existing = {name for name in families(text) if name.startswith("results_")}
    assert len(existing) > 20
    assert set(re.findall(r"^\| `(results_\w+)", METRICS, re.MULTILINE)) == existing


def test_page_names_only_existing_settings() -> None:
    of_users = {"RESULTS_URL", "RESULTS_API_KEY"}  # of the commands that are sent to a server
    known = {f"RESULTS_{name.upper()}" for name in Settings.model_fields} | of_users
    text = "".join(page.read_text() for page in PAGES) + METRICS
    assert set(re.findall(r"\bRESULTS_[A-Z_]+\b", text)) <= known
