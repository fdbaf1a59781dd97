"""The guides for operators, executed literally with only the wheel: from the installation to a restore.

All servers are private, because the commands create logins, exchanges, and dead letters.
"""

import asyncio
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from service.dev.ports import choose_port
from service.dev.postgres import FAST, Postgres, temporary_postgres
from service.dev.rabbitmq import RabbitMQ, server_program
from tests.builds import build_wheel, write_constraints
from tests.databases import with_database
from tests.docs.blocks import ROOT, Command, blocks, commands
from tests.docs.pages import PAGES_OF_OPERATORS
from tests.docs.shell import differences, execute
from tests.receivers import Receiver, receiving
from tests.servers import postgres_program, postgres_programs
from tests.tracing.collector import Collector, collecting

pytestmark = pytest.mark.slow

PASSWORD = "password1"
API_PORT, METRICS_PORT, RECEIVER_PORT, COLLECTOR_PORT = PORTS_OF_PAGES = ("8080", "9100", "9000", "4318")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"  # of docs/operations/monitoring.md
AUTHORIZED = 'curl -fsS -H "Authorization: Bearer $RESULTS_API_KEY"'
RECEIVER = next(block.code for block in blocks((ROOT / "docs/guides/webhooks.md").read_text()) if block.kind == "file")


def creation_of_webhook(url: str, file: str) -> Command:
    return Command(f"""{AUTHORIZED} -H 'Content-Type: application/json' "$RESULTS_URL/v1/webhooks" \\
        -d '{{"url": "{url}", "events": ["run.completed"]}}' > {file}""")


# A Prometheus that reads the files of the page, while each metric of the dashboard changes.
MONITORING = [
    Command("""(echo 'global: {scrape_interval: 1s, evaluation_interval: 1s}'; cat prometheus.yml) > fast.yml"""),
    Command("""prometheus --config.file=fast.yml --storage.tsdb.path=prometheus \\
        --web.listen-address="$PROMETHEUS" 2> prometheus.log & MONITORING=$!"""),
    Command('PYTHONPATH="$CHECKOUT" "$PYTHON" -m tests.docs.dashboard wait "http://$PROMETHEUS"'),
    Command("""for round in 1 2; do
        sed "s/evt_01/evt_traffic_$round/; s/nightly-1/traffic-$round/" event.json > good.json
        sed 's/evt_traffic/evt_unknown/; s/"acme"/"unknown"/' good.json > bad.json
        python3 - <<'END' > large.json
import json
event = json.load(open("good.json"))
event["id"] += "-large"
event["data"]["run"]["run_id"] += "-large"
event["data"]["results"] = [{"name": f"{number:0200}", "status": "passed"} for number in range(2000)]
print(json.dumps(event))
END
        for event in good bad large; do python3 publish.py $event.json || exit 1; done
        zof-results report junit.xml --project shop --run-id "report-$round" --wait || exit 1
        zof-results export --project shop -o "export-$round.parquet" || exit 1
        curl -fsS -H "Authorization: Bearer $RESULTS_API_KEY" "$RESULTS_URL/v1/results" > results.json || exit 1
        sleep 2
    done"""),
    Command('PYTHONPATH="$CHECKOUT" "$PYTHON" -m tests.docs.dashboard check "http://$PROMETHEUS" ResultsDeadLetters'),
    Command("kill $MONITORING; wait $MONITORING"),
    Command("zof-results dead-letters discard --all --yes"),
]  # fmt: skip
# The only available version is installed once, because that takes a quarter of the time of the test.
BEFORE_UPGRADE = [Command("ln -s venv venv-new")]
# What a restored service must still have, in addition to the commands of the pages.
BEFORE_BACKUP = [
    creation_of_webhook(f"http://127.0.0.1:{RECEIVER_PORT}/", "webhook.json"),
    Command(f"""{AUTHORIZED} "$RESULTS_URL/v1/results?run_id=first" > results.json"""),
    Command("""RESULT=$(python3 -c 'import json; print(json.load(open("results.json"))["data"][0]["id"])')"""),
    Command(
        f"""{AUTHORIZED} -X PUT --data 'log line' "$RESULTS_URL/v1/results/$RESULT/artifacts/a.log" > artifact.json"""
    ),
    Command("ls venv/lib/python*/site-packages/service/cli.py"),  # the processes run the wheel, not the checkout
]
AFTER_RESTORE = [
    Command("""read -r WEBHOOK WEBHOOK_SECRET ARTIFACT < <(python3 -c 'import json
hook, artifact = (json.load(open(name)) for name in ("webhook.json", "artifact.json"))
print(hook["id"], hook["secret"], artifact["id"])')"""),
    Command(f"""{AUTHORIZED} "$RESULTS_URL/v1/results/$RESULT\"""", '{…"run_id":"first"…}'),
    Command(f"""{AUTHORIZED} "$RESULTS_URL/v1/artifacts/$ARTIFACT\"""", "log line"),
    Command(f"cat > receiver.py <<'END OF FILE'\n{RECEIVER}END OF FILE"),
    Command("WEBHOOK_SECRET=$WEBHOOK_SECRET python3 -u receiver.py > received.txt 2> receiver.log & RECEIVER=$!"),
    Command(f"""sleep 2; {AUTHORIZED} -X POST "$RESULTS_URL/v1/webhooks/$WEBHOOK/test\"""", "{…}"),
    Command("sleep 3; cat received.txt", "…webhook.test None None…"),  # the receiver has verified the signature
    Command("kill $API $CONSUMERS $RECEIVER; wait $API $CONSUMERS"),
]


@contextmanager
def server(folder: Path) -> Iterator[Postgres]:
    with temporary_postgres(folder, settings=FAST, programs=postgres_programs()) as running:
        yield running


def of_service(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"results_service:{PASSWORD}@{parts.netloc.rpartition('@')[2]}"))


def addresses(prefix: str, running: Postgres) -> dict[str, str]:
    admin = with_database(running.url, "results")
    return {
        f"{prefix}SERVER_URL": running.url,
        f"{prefix}ROLES_URL": with_database(running.url, "roles"),
        f"{prefix}ADMIN_URL": admin,
        f"{prefix}SERVICE_URL": of_service(admin),
    }


def installation(folder: Path, broker: RabbitMQ) -> dict[str, str]:
    """Build the wheel, and return the variables with which pip installs it with the locked versions."""
    programs = folder / "bin"
    programs.mkdir()
    write_rabbitmqctl(programs / "rabbitmqctl", broker)
    (programs / "python3").symlink_to(Path(sys.executable).resolve())
    return {
        "PATH": f"{programs}:{Path(postgres_program('psql')).parent}:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(write_constraints(folder / "versions.txt")),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_COMPILE": "1",
        "WHEEL": str(build_wheel(folder)),
    }


def write_rabbitmqctl(path: Path, broker: RabbitMQ) -> None:
    """Write the command of RabbitMQ for a private node, whose environment other commands don't get."""
    variables = broker._environment().items() - os.environ.items()
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables)
    program = Path(server_program()).with_name("rabbitmqctl")
    path.write_text(f'#!/bin/sh\n{exports}exec {program} "$@"\n')
    path.chmod(0o755)


def commands_of_pages(trace_receiver: Receiver) -> list[Command]:
    """Return the commands of the pages, with the checks between them."""
    production, sign_in, broker, *operations, upgrade, backup = (
        list(commands((ROOT / name).read_text())) for name in PAGES_OF_OPERATORS
    )
    return [
        *production, *sign_in, creation_of_webhook(trace_receiver.url, "trace.json"), *broker,
        *chain.from_iterable(operations), *MONITORING, *BEFORE_UPGRADE, *upgrade, *BEFORE_BACKUP, *backup,
        *AFTER_RESTORE,
    ]  # fmt: skip


def with_ports(command: Command, ports: Mapping[str, str]) -> Command:
    """Replace the ports of the pages by those of this test."""
    pattern = rf"(?<=[:= ])({'|'.join(ports)})\b"
    return command._replace(text=re.sub(pattern, lambda found: ports[found[0]], command.text))


def trace_problems(receiver: Receiver, collector: Collector) -> list[str]:
    """Return what is missing in the trace from the published message of the page to the request of the webhook."""
    parents = [request.headers.get("traceparent", "").split("-") for request in receiver.received]
    paths = [collector.path_to(parent[2]) for parent in parents if parent[1:2] == [TRACE]]
    traced = {span.name for span in collector.received if span.trace_id == TRACE}
    problems = [f"trace: {name} is missing" for name in {"BEGIN;", "COPY results", "COMMIT;"} - traced]
    if paths != [["POST", "attempt delivery", "process results.runs"]]:
        problems.append(f"paths from the requests of webhooks in the trace: {paths}")
    return problems


@pytest.mark.skipif(not shutil.which("promtool"), reason="Prometheus is not installed (Debian package: prometheus)")
async def test_service_from_the_wheel_is_monitored_traced_upgraded_and_restored(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with (
        server(tmp_path / "old") as old,
        server(tmp_path / "new") as new,
        RabbitMQ(tmp_path / "rabbitmq") as broker,
        collecting() as collector,
    ):
        ports = {port: str(choose_port()) for port in PORTS_OF_PAGES}
        ports[COLLECTOR_PORT] = collector.url.rpartition(":")[2]
        variables = {
            **installation(tmp_path, broker), **addresses("", old), **addresses("NEW_", new),
            "SERVICE_PASSWORD": PASSWORD, "BROKER_PASSWORD": PASSWORD, "PRODUCER_PASSWORD": PASSWORD,
            "BROKER_URL": f"amqp://zof_results:{PASSWORD}@127.0.0.1:{broker.port}/results",
            "PRODUCER_URL": f"amqp://producer:{PASSWORD}@127.0.0.1:{broker.port}/results",
            "PROMETHEUS": f"127.0.0.1:{choose_port()}",
            "PYTHON": sys.executable, "CHECKOUT": str(ROOT),
            "RESULTS_HTTP_PORT": ports[API_PORT], "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
        }  # fmt: skip
        async with receiving() as receiver:
            executed = [with_ports(command, ports) for command in commands_of_pages(receiver)]
            done = await asyncio.to_thread(execute, executed, folder, variables)
    problems = [*differences(done), *trace_problems(receiver, collector)]
    assert not problems, "\n\n".join(problems)
