"""The labels of statuses, changes, and decisions: the text, icon, and tone of each value. Colors are in console.css.

Also the labels of the fields of forms, and messages of the API with them instead of the names of the API.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from markupsafe import Markup

from service.domain.errors import name_fields

Tone = Literal["passed", "failed", "error", "flaky", "neutral", "quarantined", "info"]


class ValueLabel(NamedTuple):
    """How a value is displayed. The icon differs in shape from the icons of all other values of the same property."""

    text: str
    icon: str
    tone: Tone


RESULT_LABELS: Final[Mapping[str, ValueLabel]] = {
    "passed": ValueLabel("Passed", "check", "passed"),
    "failed": ValueLabel("Failed", "cross", "failed"),
    "error": ValueLabel("Error", "alert", "error"),
    "skipped": ValueLabel("Skipped", "skip", "neutral"),
    "canceled": ValueLabel("Canceled", "stop", "neutral"),
    "flaky": ValueLabel("Flaky", "wave", "flaky"),
}
CHANGE_LABELS: Final[Mapping[str, ValueLabel]] = {
    "new_failure": ValueLabel("New failure", "burst", "failed"),
    "flaky_failure": ValueLabel("Flaky failure", "wave", "flaky"),
    "known_failure": ValueLabel("Known failure", "cross-ring", "failed"),
    "quarantined": ValueLabel("Quarantined", "shield", "quarantined"),
    "fixed": ValueLabel("Fixed", "check-ring", "passed"),
    "added": ValueLabel("Added", "plus", "info"),
    "removed": ValueLabel("Removed", "minus", "neutral"),
    "unchanged": ValueLabel("Unchanged", "dot", "neutral"),
}
CHANGE_TITLES: Final[Mapping[str, str]] = {  # of several results
    "new_failure": "New failures",
    "flaky_failure": "Flaky failures",
    "known_failure": "Known failures",
    "quarantined": "Quarantined",
    "fixed": "Fixed",
    "added": "Added",
    "removed": "Removed",
    "unchanged": "Unchanged",
}
NOT_COMPARED: Final = ValueLabel("Failures", "cross", "failed")  # of a run without a baseline: none of them is new
NOT_YET_RECEIVED: Final = ValueLabel("Not yet received", "half", "info")  # results that an incomplete run can still get
DECISION_LABELS: Final[Mapping[str, ValueLabel]] = {
    "passed": ValueLabel("Gate passed", "check", "passed"),
    "blocked": ValueLabel("Gate blocked", "block", "failed"),
    "waived": ValueLabel("Gate waived", "flag", "flaky"),
}
CASE_LABELS: Final[Mapping[str, ValueLabel]] = {  # of the states of cases
    "healthy": ValueLabel("Healthy", "check-ring", "passed"),
    "flaky": ValueLabel("Flaky", "wave", "flaky"),
    "broken": ValueLabel("Broken", "cross-ring", "failed"),
}
STATE_LABELS: Final[Mapping[str, ValueLabel]] = {
    "queued": ValueLabel("Queued", "ring", "neutral"),
    "running": ValueLabel("Running", "half", "info"),
    "processing": ValueLabel("Running", "half", "info"),
    "completed": ValueLabel("Completed", "check", "passed"),
    "succeeded": ValueLabel("Succeeded", "check", "passed"),
    "failed": ValueLabel("Failed", "cross", "failed"),
    "canceled": ValueLabel("Canceled", "stop", "neutral"),
    "expired": ValueLabel("Expired", "clock", "neutral"),
    "active": ValueLabel("Active", "shield", "quarantined"),
    "ended": ValueLabel("Ended", "minus", "neutral"),
    "accepted": ValueLabel("Accepted", "check", "passed"),
    "refused": ValueLabel("Refused", "block", "failed"),
    "disabled": ValueLabel("Disabled", "stop", "neutral"),
    "incomplete": ValueLabel("Incomplete", "half", "info"),
    "results_missing": ValueLabel("Results missing", "alert", "error"),
    "reports_processing": ValueLabel("Processing reports", "flag", "info"),
    "untrusted": ValueLabel("Untrusted", "person", "error"),
}
_FIELD_LABELS: Final[Mapping[str, str]] = {  # of the fields whose label isn't their name
    "active": "State",
    "case_id": "Case ID",
    "commit_sha": "Commit",
    "expires_at": "Expires",
    "fingerprint": "Failure group",
    "flaky": "Flaky results",
    "from": "From (UTC)",
    "min_duration_ms": "At least ms",
    "project_id": "Project",
    "q": "Search",
    "run_id": "Run",
    "sort": "Order",
    "ticket_url": "Ticket",
    "to": "Before (UTC)",
    "trusted": "Runs of forks",
}
_FIELD_NAME: Final = re.compile(r"[a-z_]+")
_ICON: Final = Markup('<svg class="icon" aria-hidden="true"><use href="#i-%s"/></svg>')
_TITLED_ICON: Final = Markup('<svg class="icon" role="img" aria-label="%s"><use href="#i-%s"/></svg>')
_KINDS: Final = {
    "result": RESULT_LABELS,
    "run": RESULT_LABELS,
    "change": CHANGE_LABELS,
    "decision": DECISION_LABELS,
    "state": STATE_LABELS,
    "case": CASE_LABELS,
    "flaky": {"true": RESULT_LABELS["flaky"]},
    "trusted": {"false": STATE_LABELS["untrusted"]},
}


def find_label(value: str, kind: str = "result") -> ValueLabel:
    """Return the label of a value of a property: result, run, change, decision, case, or state (of other objects)."""
    return _KINDS[kind].get(value) or ValueLabel(value.replace("_", " ").capitalize(), "dot", "neutral")


def field_label(name: str) -> str:
    """Return the label of a field of a form or of a filter, by its name in the API."""
    return _FIELD_LABELS.get(name) or name.replace("_", " ").capitalize()


def label_message(message: str) -> str:
    """Return a message of the API such as `commit_sha: must be …` with the labels of fields instead of their names."""
    return name_fields(message, lambda name: field_label(name) if _FIELD_NAME.fullmatch(name) else None)


def message_at_field(message: str) -> str:
    """Return a message of the API that is shown at its field, without the name of the field."""
    _, _, text = label_message(message).partition(": ")
    return text[:1].upper() + text[1:]


def draw_icon(name: str, title: str | None = None) -> Markup:
    """Return an icon of macros/sprite.html as HTML. An icon without a title repeats the text next to it."""
    return _TITLED_ICON % (title, name) if title else _ICON % name
