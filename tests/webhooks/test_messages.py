"""Messages are readable without the console, follow the rules of Slack and Teams, and contain no markup of tests."""

import copy
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from service.events.contract import ENVELOPES
from service.events.model import EVENTS, SUMMARY, TEST
from service.webhooks.message_formats import write_slack, write_teams
from service.webhooks.messages import Message, write_message
from tests.webhooks.example_events import BASE, EXAMPLES, TIME
from tests.webhooks.message_rules import check_slack, check_teams

HOSTILE = (
    "<!channel> <!here> @here <@U1> <#C1|x> <https://e.example|pay> https://e.example *b* _i_ ~s~ `c` ```d``` :smile: "
    "[x](https://e.example) <at>ada</at> </AT > # title\n> quote\x00\x1b[31m\u202e\u2028 &amp; &lt;"
)


def message_of(event_type: str, subject: Mapping[str, Any] | None = None) -> Message:
    return write_message(event_type, EXAMPLES[event_type] if subject is None else subject, "shop", BASE)


def check(message: Message) -> None:
    check_slack(write_slack(message))
    check_teams(write_teams(message))


def texts_of(message: Message) -> str:
    return "\n".join([
        message.title, *(f"{label}: {text}" for label, text in message.facts),
        *(f"{line.text} {line.detail}" for line in message.lines), *message.links,
    ])  # fmt: skip


def replaced(value: Any, text: str) -> Any:
    """Return a copy of an object in which this text replaces each text, except for types of events."""
    if isinstance(value, Mapping):
        return {
            name: one if isinstance(one, str) and one in EVENTS else replaced(one, text) for name, one in value.items()
        }
    if isinstance(value, list):
        return [replaced(one, text) for one in value]
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("event_type", EVENTS)
def test_examples_have_the_shape_of_their_contract(event_type: Any) -> None:
    subject = EXAMPLES[event_type]
    if EVENTS[event_type].subject == "decision":
        subject = subject | {"policy": {"max_failures": 0}}
    envelope = {"id": "evt_1", "type": event_type, "created": TIME, "data": {"object": subject}}
    TypeAdapter(ENVELOPES[EVENTS[event_type].subject]).validate_python(envelope)


def test_message_of_each_type_follows_the_rules() -> None:
    messages = {event_type: message_of(event_type) for event_type in EXAMPLES}
    for message in messages.values():
        check(message)
    assert {name for name, message in messages.items() if message.title == "Test message"} == {TEST}
    assert {name for name, message in messages.items() if not message.links} == {TEST, "webhook.disabled"}


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("run.failed", [
            "Run failed: shop", "Branch: main", "Commit: 8f2c0e5d5a1f\n", "Pull request: 418", "Failed: 2", "CI job",
            "tests.test_cart.TestTotals › test_rounds_total[0] AssertionError: assert Decimal('19.990')",
        ]),
        ("case.broken", [
            "Test is broken: test_pays_with_card", "Owners: @acme/payments, ada@example.org", "Previous state: healthy",
            "Since run: github-812", "First commit: 8f2c0e5d5a1f", "Last good commit: 111111111111", "Failed: 3",
        ]),
        ("failure_group.opened", [
            "New failure: shop", "no response from payments:8443 within 30 s TimeoutError", "Opened run: github-812",
            "Opened: 2026-12-01 09:30 UTC", "tests.test_payments › test_refunds_order[8] tests/test_payments.py",
            "Ticket",
        ]),
        ("release.gate_blocked", [
            "Gate release blocked the run github-812", "Baseline run: github-809", "max_new_failures 2, limit: 0",
        ]),
        ("quarantine.created", [
            "Name: test_pays", "Reason: The payment sandbox is unstable", "Created by: Ada", "Ticket",
        ]),
        ("export.failed", ["The export failed", "Error: the storage rejects the file: 403"]),
        ("webhook.disabled", ["Webhook disabled: Deployments", "Failing since: 2026-12-01 09:30 UTC"]),
        ("project.digest", [
            "Week 2026-W48: shop", "Owner: @acme/payments", "Runs: 412", "Previous runs: 380", "Broken: 3",
            "no response from payments:8443 within 30 s 31 tests", "tests.test_export › test_exports_year 90.0 min",
        ]),
        (SUMMARY, [
            "9980 more notices", "case.broken: 9960 in shop", "export.failed: 8 in all projects", "Other: 12",
            "Test is broken: test_refunds_order[9]", "Console",
        ]),
        (TEST, ["Test message", "This is a test."]),
    ],
)  # fmt: skip
def test_message_states_what_happened(event_type: str, expected: list[str]) -> None:
    text = texts_of(message_of(event_type))
    assert [part for part in expected if part not in text] == []


def test_omitted_lines_are_counted() -> None:
    assert message_of("run.failed").omitted == 1
    group = message_of("failure_group.opened")
    assert (len(group.lines), group.omitted) == (10, 22)  # the message, and 9 of 31 tests
    assert message_of("project.digest").omitted == 13
    assert message_of(SUMMARY).omitted == 9_970
    assert "and 9,970 more" in str(write_slack(message_of(SUMMARY))["blocks"])
    assert "and 9,970 more" in str(write_teams(message_of(SUMMARY))["attachments"])


@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 20, "", "\x00", "<" * 5_000, "&" * 5_000, "`" * 300, "😀" * 5_000])
def test_hostile_texts_stay_texts(text: str) -> None:
    for event_type, subject in EXAMPLES.items():
        check(write_message(event_type, replaced(subject, text), text or None, BASE))


@given(event_type=st.sampled_from(list(EXAMPLES)), text=st.text())
def test_any_text_stays_a_text(event_type: str, text: str) -> None:
    check(message_of(event_type, replaced(EXAMPLES[event_type], text)))


def test_hostile_name_is_shown_unchanged_except_for_its_delimiters() -> None:
    case = copy.deepcopy(dict(EXAMPLES["case.broken"])) | {"suite": "<!channel> *a* `b` & <at>c</at>"}
    message = message_of("case.broken", case)
    fields = {field["text"] for block in write_slack(message)["blocks"][1:] for field in block.get("fields", [])}
    assert "*Suite*\n`&lt;!channel&gt; *a* ˋbˋ &amp; &lt;at&gt;c&lt;/at&gt;`" in fields
    assert "<!channel> *a* `b` & ‹at>c‹/at>" in orjson.dumps(write_teams(message)).decode()


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "https://",
        "//e.example/a",
        "ftp://e.example",
        "https://[e",
        "https://e.example/" + "a" * 700,
    ],
)
def test_invalid_link_is_omitted(url: str) -> None:
    run = EXAMPLES["run.failed"]
    assert list(message_of("run.failed", run | {"links": run["links"] | {"ci": url}}).links) == ["Run"]


def test_link_contains_no_character_that_ends_it() -> None:
    run = EXAMPLES["run.failed"]
    url = 'https://ci.example.org/a b|<x>"`?q=%20&r=ü#l'
    links = message_of("run.failed", run | {"links": run["links"] | {"ci": url}}).links
    assert links["CI job"] == "https://ci.example.org/a%20b%7C%3Cx%3E%22%60?q=%20&r=%C3%BC#l"
    decided = message_of("gate.decided", EXAMPLES["gate.decided"] | {"run_id": "a/b?c"})
    assert decided.links == {"Run": f"{BASE}/console/runs/a%2Fb%3Fc"}
