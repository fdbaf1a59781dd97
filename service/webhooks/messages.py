"""Messages about events: a title, facts, lines, and links. message_formats.py writes them for a receiver."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast
from urllib.parse import quote, urlsplit

from service.events.model import EVENTS, SUMMARY, EventType

_MAX_TEXT: Final = 140  # characters
_MAX_LINES: Final = 10
_MAX_URL: Final = 600
_URL_CHARACTERS: Final = "!#$%&'()*+,/:;=?@[]~"  # in addition to letters, digits, and "-._"

_TITLES: Final[Mapping[str, str]] = {
    "run.completed": "Run {status}: {project}", "run.updated": "Run changed: {project}",
    "run.failed": "Run failed: {project}", "export.completed": "The export is ready",
    "export.failed": "The export failed", "webhook.disabled": "Webhook disabled: {description}",
    "quarantine.created": "Quarantine created: {project}", "quarantine.expired": "Quarantine expired: {project}",
    "gate.decided": "Gate {gate}: {decision}", "release.gate_blocked": "Gate {gate} blocked the run {run_id}",
    "case.flaky": "Test is flaky: {name}", "case.broken": "Test is broken: {name}",
    "case.recovered": "Test recovered: {name}", "failure_group.opened": "New failure: {project}",
    "failure_group.recurred": "Failure occurred again: {project}",
    "failure_group.resolved": "Failure resolved: {project}", "project.digest": "Week {week}: {project}",
    SUMMARY: "{total} more notices",
}  # fmt: skip
# The paths of the members that are facts, by subject. `_label` derives the label from the path.
_FACTS: Final[Mapping[str, str]] = {
    "run": "branch pull_request commit_sha run_id environment workflow author counts.failed counts.error counts.flaky"
    " counts.passed",
    "export": "content format rows error expires_at",
    "webhook": "webhook_id reason failing_since",
    "quarantine": "named_case.suite named_case.name suite name reason owner expires_at created_by_name",
    "decision": "run_id baseline_run_id failures.new failures.known failures.flaky missing_cases waiver.reason",
    "case": "suite file owners previous_state state.since_run_id state.first_commit state.last_good_commit state.runs"
    " state.failed state.flaky",
    "failure_group": "branch owners opened_at opened_run_id commit_sha last_good_commit last_run_id resolved_run_id",
    "digest": "owner current.runs current.failed_runs previous.runs previous.failed_runs current.duration_ms"
    " previous.duration_ms current.retry_duration_ms current.opened current.resolved broken flaky quarantined",
    SUMMARY: "since until",
}
_UNNAMED: Final = re.compile(r"^(counts|current|named_case|state)\.|_(name|sha|id|at|count|ms)$")  # no part of a label
# The links of each subject: paths of members with a URL, or templates for a path of the console.
_LINKS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {"Run": "links.console", "CI job": "links.ci"},
    "export": {"Exports": "/console/exports"},
    "quarantine": {"Quarantine": "/console/quarantines/{id}", "Ticket": "ticket_url"},
    "decision": {"Run": "/console/runs/{run_id}"},
    "case": {"Test": "/console/cases/{id}"},
    "failure_group": {
        "Failure": "links.console", "Result": "links.console_result", "CI job": "links.ci", "Ticket": "ticket_url",
    },
    "digest": {"Project": "console"},
    SUMMARY: {"Console": "/console/"},
}  # fmt: skip


class Line(NamedTuple):
    """A test, failure, or rule of a message. `detail` can be empty."""

    text: str
    detail: str = ""
    url: str | None = None


class Message(NamedTuple):
    """A message. Texts are short single lines without control characters, and URLs are valid.

    `omitted` is the number of lines that are missing.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    lines: Sequence[Line]
    omitted: int
    links: Mapping[str, str]

    @property
    def headline(self) -> str:
        """The title and the first line, such as the text of the failure."""
        return " – ".join([self.title, *(line.text for line in self.lines[:1])])


def write_message(event_type: str, subject: Mapping[str, Any], project_id: str | None, link_base: str) -> Message:
    """Return the message about an event and its `data.object`. Members that other versions don't write are omitted."""
    definition = EVENTS.get(cast("EventType", event_type))
    kind = definition.subject if definition else event_type
    shown = defaultdict(str, {name: _text(value) for name, value in subject.items()}, project=project_id or "")
    quoted = defaultdict(str, {name: quote(str(value), safe="") for name, value in subject.items()})
    facts = [
        ("Project", project_id),
        *((_label(path), _shorten(path, _find(subject, path))) for path in _FACTS.get(kind, "").split()),
    ]
    if kind == SUMMARY:
        facts += [
            (row["type"], f"{row['count']} in {row['project_id'] or 'all projects'}") for row in subject["counts"]
        ]
        facts.append(("Other", subject["other_count"] or None))
    lines, total = _lines(kind, subject, link_base)
    links = {
        label: _url(link_base + path.format_map(quoted) if path[0] == "/" else _find(subject, path))
        for label, path in _LINKS.get(kind, {}).items()
    }
    return Message(
        _text(_TITLES.get(event_type, "Test message").format_map(shown)),
        [(label, text) for label, value in facts if (text := _text(value))],
        lines[:_MAX_LINES],
        max(total, len(lines)) - len(lines[:_MAX_LINES]),
        {label: url for label, url in links.items() if url},
    )


def _lines(kind: str, subject: Mapping[str, Any], link_base: str) -> tuple[list[Line], int]:
    """Return the first lines, and the number of all lines."""
    results, cases = f"{link_base}/console/results/", f"{link_base}/console/cases/"
    match kind:
        case "run":
            failing = [
                _line(_name(case), case["failure_summary"], results + case["id"]) for case in subject["failing_cases"]
            ]
            return failing, subject["counts"]["failed"] + subject["counts"]["error"]
        case "failure_group":
            failing = [_line(_name(case), case["file"], cases + case["case"]) for case in subject["cases"]]
            return [_line(subject["message"], subject["type"]), *failing], 1 + subject["case_count"]
        case "digest":
            groups = [
                _line(one["message"], f"{one['case_count']} tests", one["console"]) for one in subject["open_groups"]
            ]
            longest = [
                _line(_name(case), f"{case['duration_ms'] / 60_000:.1f} min", case["console"])
                for case in subject["longest"]
            ]
            return groups[:5] + longest, subject["open_group_count"] + len(longest)
        case "decision":
            failed = [rule for rule in subject["rules"] if not rule["passed"]]
            return [_line(rule["rule"], f"{rule['value']}, limit: {rule['limit']}") for rule in failed], 0
        case "webhook.summary":
            return [_line(one["title"], None, one["url"]) for one in subject["subjects"]], subject["total"]
        case "webhook.test":
            return [_line(subject["message"])], 0
    return [], 0


def _line(text: object, detail: object = None, url: str | None = None) -> Line:
    return Line(_text(text) or "(no text)", _text(detail), _url(url))


def _name(case: Mapping[str, Any]) -> str:
    return " › ".join(filter(None, (case["suite"], case["name"])))


def _label(path: str) -> str:
    return _UNNAMED.sub("", path).replace(".", " ").replace("_", " ").capitalize()


def _find(subject: Any, path: str) -> Any:
    for name in path.split("."):
        subject = subject.get(name) if isinstance(subject, Mapping) else None
    return subject


def _shorten(path: str, value: Any) -> Any:
    """Return a commit as 12 digits, a time in minutes, and a duration in hours."""
    if isinstance(value, int) and path.endswith("_ms"):
        return f"{value / 3_600_000:.1f} h"
    if isinstance(value, str) and path.endswith(("_sha", "_commit")):
        return value[:12]
    return f"{value[:10]} {value[11:16]} UTC" if value and path.endswith(("_at", "since", "until")) else value


def _text(value: object) -> str:
    """Return a value as one short line without control characters. Null and an empty list are an empty text."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in text[: 10 * _MAX_TEXT]).split())
    return line if len(line) <= _MAX_TEXT else line[: _MAX_TEXT - 1] + "…"


def _url(url: str | None) -> str | None:
    """Return a URL without characters that end a link in a format, or None if it's invalid or long."""
    quoted = quote(url or "", safe=_URL_CHARACTERS)
    try:
        parts = urlsplit(quoted)
    except ValueError:
        return None
    return quoted if parts.scheme in ("http", "https") and parts.hostname and len(quoted) <= _MAX_URL else None
