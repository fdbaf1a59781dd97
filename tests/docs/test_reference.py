"""Tests that the reference pages list exactly what exists in the code."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from service.domain.errors import Reason
from service.events.contract import EventEnvelope, RunObject
from service.http.errors import ERROR_TYPES
from service.identity.keys.model import KEY_ROLES, PERMISSIONS, roles_with
from service.ingest.contract import RUN_COMPLETED_EVENT

DOCS = Path(__file__).parents[2] / "docs"
ERRORS = (DOCS / "reference" / "errors.md").read_text()
EVENTS = (DOCS / "reference" / "events.md").read_text()
LOGS = (DOCS / "reference" / "logs.md").read_text()
CONCEPTS = (DOCS / "concepts.md").read_text()
GLOSSARY = (DOCS / "glossary.md").read_text()
NAMED_ROLE = re.compile(r"`?(\w+:\w+)`?\s+\(role `?(\w+)`?\)")  # permission results:read (role viewer)
LOG_METHODS = ("debug", "info", "warning", "error", "exception", "critical")


def section(page: str, title: str) -> str:
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def log_events(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the event and the level of each log call in a module. Raises ValueError if an event isn't a literal."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Call(func=ast.Attribute(attr=method), args=[event, *_]) if method in LOG_METHODS:
                yield ast.literal_eval(event), "error" if method == "exception" else method


def test_page_lists_every_error_code_with_its_status() -> None:
    listed = re.findall(r"^\| (\d+) \| `(\w+)` \|", section(ERRORS, "Error codes"), re.MULTILINE)
    assert listed == [(str(error.status), error.code) for error in ERROR_TYPES]


def test_page_lists_every_reason() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", section(ERRORS, "Reasons of rejected events and reports"), re.MULTILINE)
    assert listed == list(get_args(Reason))


def test_page_lists_the_permissions_of_each_role() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|", section(ERRORS, "Roles"), re.MULTILINE)
    assert [role for role, _ in rows] == list(KEY_ROLES)
    granted: set[str] = set()
    for role, permissions in rows:
        granted = set() if role == "public" else granted
        granted |= set(re.findall(r"`(\w+:\w+)`", permissions))
        assert granted == PERMISSIONS[role], role


def test_texts_name_the_least_role_with_a_permission() -> None:
    sources = [*(DOCS.parent / "service" / "client").rglob("*.py"), *DOCS.rglob("*.md")]
    named = {found for path in sources for found in NAMED_ROLE.findall(path.read_text())}
    assert len(named) > 5
    assert {(permission, roles_with(permission)[0]) for permission, _ in named} == named


def test_page_lists_every_log_event_with_its_level() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \|", section(LOGS, "Events"), re.MULTILINE)
    modules = [path for package in ("service", "consumers") for path in (DOCS.parent / package).rglob("*.py")]
    assert listed == sorted({event for path in modules for event in log_events(path)})


def test_example_of_an_event_has_exactly_the_fields_of_an_event() -> None:
    example: dict[str, Any] = json.loads(EVENTS.partition("```json\n")[2].partition("```")[0])
    TypeAdapter(EventEnvelope[RunObject]).validate_python(example)
    run = example["data"]["object"]
    assert run.keys() == RunObject.__annotations__.keys()
    assert run["links"].keys() == RunObject.__annotations__["links"].__annotations__.keys()


def test_event_of_the_readme_is_valid() -> None:
    page = (DOCS.parent / "README.md").read_text()
    RUN_COMPLETED_EVENT.validate_json(page.partition("```json\n")[2].partition("```")[0])


@pytest.mark.parametrize("page", [GLOSSARY, section(ERRORS, "Error codes")], ids=["glossary", "errors"])
def test_no_entry_is_listed_twice(page: str) -> None:
    entries = re.findall(r"^\| (?:\d+ \| )?(\*\*.+?\*\*|`\w+`) \|", page, re.MULTILINE)
    assert len(entries) > 10
    assert len(entries) == len(set(entries))


def test_glossary_is_sorted() -> None:
    terms = re.findall(r"^\| \*\*(.+?)\*\*", GLOSSARY, re.MULTILINE)
    assert terms == sorted(terms, key=str.casefold)
