"""Missing items in the texts of the gate, of comments, and for agents."""

from pathlib import Path
from typing import Any

import pytest

from service.client.comment_texts import write_comments
from service.client.gate_outcomes import BLOCKED, PASSED
from service.client.markdown import code_span
from service.client.selections import AbsentJobs
from service.comparison.model import describe_missing_items
from tests.client.changed_runs import run_changes
from tests.client.gates import decide
from tests.client.test_comment_texts import LINKS, text_of
from tests.mcp.calls import call
from tests.served import Api
from tests.splits.stored_splits import store_split

LOST = ("tests/a.py", "tests/`b`.py")
PART = "no upload, part 2 of split"


async def test_gate_names_the_rule_and_the_items(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    await store_split(api, LOST)
    assert await decide(api, "run_4") == BLOCKED
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "blocked: run run_4 (passed)"
    assert "items that no job executed: 2, at most 0 allowed (max_missing_items)" in lines
    assert f"2 items of splits not executed: tests/`b`.py ({PART} unit <i>); tests/a.py ({PART} unit <i>)" in lines
    summary = (tmp_path / "summary.md").read_text()
    listed = f"{code_span(LOST[1])} ({PART} `unit <i>`); `tests/a.py` ({PART} `unit <i>`)"
    assert f"2 items of splits not executed: {listed}" in summary
    assert await decide(api, "run_4", max_missing_items=2) == PASSED


def lacking(**fields: Any) -> Any:
    item = {"key": "unit", "item": "a.py", "index": None, "reason": "no_results"}
    return {"missing_items": 1, "missing_items_sample": [item], **fields}


def test_first_items_are_named() -> None:
    assert describe_missing_items({}) is None  # of an earlier version
    assert describe_missing_items({"missing_items": 0, "missing_items_sample": []}) is None
    assert describe_missing_items(lacking()) == "1 item of splits not executed: a.py (no results, split unit)"
    items = lacking()["missing_items_sample"] * 20
    text = describe_missing_items({"missing_items": 55, "missing_items_sample": items}) or ""
    assert (text.count("a.py"), text.endswith("; and 45 more")) == (10, True)


def test_comment_names_the_items_and_is_needed() -> None:
    changes = run_changes()
    changes.comparison.update(lacking())
    assert "### `shop`: 1 item not executed, no failures" in text_of(changes)
    assert "**1 item of splits not executed: `a.py` (no results, split `unit`)**" in text_of(changes)
    assert write_comments([changes], [], LINKS, AbsentJobs())[0].is_needed


async def test_agents_get_the_items_as_untrusted_text(api: Api) -> None:
    await store_split(api, LOST)
    missing = (await call(api, "explain_run", run_id="run_4"))["missing"]
    assert missing["statements"] == ["2 items of splits not executed"]
    assert missing["untrusted"]["items"].startswith("tests/`b`.py (")
