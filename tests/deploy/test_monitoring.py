"""Tests that the dashboard and the alert rules in deploy/ use only existing metrics, and that the alerts fire."""

import json
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from consumers import metrics
from consumers.messages import Rejection, report_dead_letter
from consumers.topology import Topology
from service.api.routes import all_routes
from service.tasks import store as tasks_store
from tests.deploy.promql import grouping_labels, route_patterns, selectors
from tests.docs.test_pages import anchors
from tests.served import serve

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "zof-results.rules.yml"
ALERT_TESTS = Path(__file__).parent / "alerts.test.yml"
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy" / "grafana" / "zof-results.json").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
TARGETS: list[dict[str, Any]] = [target for panel in PANELS for target in panel.get("targets", [])]
PAGE = (ROOT / "docs" / "operations" / "alerts.md").read_text()
METRICS_PAGE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
PROMETHEUS_LABELS = {"instance", "job"}  # which Prometheus adds to each series
OTHER_METRICS = {  # of Prometheus itself, and of RabbitMQ
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate"},
    "rabbitmq_detailed_queue_messages": {"vhost", "queue"},
    "rabbitmq_detailed_queue_messages_ready": {"vhost", "queue"},
}
SHOWN_LABEL = re.compile(r"\{\{ ?(?:\$labels\.)?(\w+) ?\}\}")

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian package: prometheus)"
)


def texts_with_labels() -> Iterator[tuple[str, str]]:
    """Yield each expression with the text that shows its labels."""
    for alert in ALERTS:
        yield alert["expr"], alert["annotations"]["summary"]
    for target in TARGETS:
        yield target["expr"], target["legendFormat"]


async def scraped_labels(database_url: str) -> Mapping[str, set[str]]:
    """Return the labels of each sample in /metrics of an API, in whose process consumers have counted their metrics."""
    metrics.LARGE_MESSAGES.inc()
    report_dead_letter("results.runs", Rejection("invalid", "data: is required"))
    metrics.count_batch([], time.perf_counter())
    metrics.TASK_FAILURES.labels("retention")
    async with serve(database_url) as api:
        await tasks_store.record_heartbeat(api.store.pool, "host:1:runs", "runs")
        await api.get("/v1/results")
        text = await (await api.send("GET", "/metrics", key="")).text()
    labels: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels[sample.name].update(sample.labels)
    return labels


async def test_dashboard_and_rules_use_only_existing_metrics_and_labels(database_url: str) -> None:
    existing = {**await scraped_labels(database_url), **OTHER_METRICS}
    unknown = []
    for expression, text in texts_with_labels():
        read = selectors(expression)
        assert read, expression
        available = set.union(PROMETHEUS_LABELS, *(existing.get(selector.metric, set()) for selector in read))
        unknown += [selector.metric for selector in read if selector.metric not in existing]
        unknown += [label for selector in read for label in selector.labels - available]
        unknown += grouping_labels(expression) - available
        unknown += set(SHOWN_LABEL.findall(text)) - available
    assert unknown == []


def test_route_patterns_match_existing_routes() -> None:
    paths = [route.path for route in all_routes()]
    patterns = {pattern for expression, _ in texts_with_labels() for pattern in route_patterns(expression)}
    assert len(patterns) >= 3
    assert [pattern for pattern in patterns if not any(re.fullmatch(pattern, path) for path in paths)] == []


def test_dashboard_shows_every_metric_of_the_service() -> None:
    documented = set(re.findall(r"^\| `(results_\w+)", METRICS_PAGE, re.MULTILINE))
    shown = {selector.metric for target in TARGETS for selector in selectors(target["expr"])}
    assert {name for name in documented if not any(metric.startswith(name) for metric in shown)} == set()


def test_queues_of_the_rules_are_those_of_the_service() -> None:
    topology = Topology("staging.")
    consumed = [*topology.queues, topology.large_queue(topology.runs_queue)]
    dead = [topology.dead_queue(queue) for queue in topology.queues]
    expressions = {alert["alert"]: alert["expr"] for alert in ALERTS}
    for name, queues in (("ResultsEventsWaiting", consumed[:1] + consumed[-1:]), ("ResultsDeadLettersWaiting", dead)):
        [pattern] = re.findall(r'queue=~"([^"]*)"', expressions[name])
        matching = [queue for queue in (*consumed, *dead) if re.fullmatch(pattern.replace("\\\\", "\\"), queue)]
        assert sorted(matching) == sorted(queues), name


def test_dashboard_can_be_imported() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]
    assert {target["datasource"]["uid"] for target in TARGETS} == {"${datasource}"}


def test_each_alert_has_a_severity_a_section_of_the_page_and_a_unit_test() -> None:
    tested: dict[str, set[bool]] = defaultdict(set)
    for test in yaml.safe_load(ALERT_TESTS.read_text())["tests"]:
        for case in test.get("alert_rule_test", []):
            tested[case["alertname"]].add(bool(case["exp_alerts"]))
    for alert in ALERTS:
        name = alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        page, anchor = alert["annotations"]["runbook_url"].removeprefix("https://docs.example.com/").split("/#")
        assert (page, anchor) == ("operations/alerts", name.lower())
        assert anchor in anchors(ROOT / "docs" / f"{page}.md"), name
        assert tested[name] == {True, False}, name


def test_page_names_no_unknown_alert() -> None:
    sections = re.findall(r"^### (Results\w+)$", PAGE, re.MULTILINE)
    assert sorted(sections) == sorted(alert["alert"] for alert in ALERTS)
    linked = set(re.findall(r"#(results[a-z]+)\)", PAGE + METRICS_PAGE))
    assert linked <= {section.lower() for section in sections}


@needs_promtool
def test_rules_and_expressions_of_the_dashboard_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": target["expr"].replace("$__rate_interval", "5m")}
        for number, target in enumerate(TARGETS)
    ]
    panels = tmp_path / "panels.yml"
    panels.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", "--lint-fatal", str(RULES), str(panels))


@needs_promtool
@pytest.mark.slow
def test_alerts_fire_only_when_they_should() -> None:
    promtool("test", "rules", str(ALERT_TESTS))


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
