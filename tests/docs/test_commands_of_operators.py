"""The commands of the guides for operators, executed literally: set up, back up, restore into a new server, and start.

Both PostgreSQL servers are private, because the commands create logins.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest

from service.dev.ports import choose_port
from service.dev.postgres import FAST, Postgres, temporary_postgres
from tests.databases import with_database
from tests.docs.blocks import ROOT, Command, blocks, commands
from tests.docs.pages import PAGES_OF_OPERATORS
from tests.docs.shell import differences, execute
from tests.servers import postgres_program, postgres_programs

pytestmark = pytest.mark.slow

PASSWORD = "password1"
DEFAULT_PORT = "8080"
RECEIVER_PORT = "9000"
AUTHORIZED = 'curl -fsS -H "Authorization: Bearer $RESULTS_API_KEY"'
RECEIVER = next(block.code for block in blocks((ROOT / "docs/guides/webhooks.md").read_text()) if block.kind == "file")
# What a restored service must still have, in addition to the commands of the pages.
BEFORE_BACKUP = [
    Command(f"""{AUTHORIZED} -H 'Content-Type: application/json' "$RESULTS_URL/v1/webhooks" \\
        -d '{{"url": "http://127.0.0.1:{RECEIVER_PORT}/", "events": ["run.completed"]}}' > webhook.json"""),
    Command(f"""{AUTHORIZED} "$RESULTS_URL/v1/results?run_id=first" > results.json"""),
    Command("""RESULT=$(python3 -c 'import json; print(json.load(open("results.json"))["data"][0]["id"])')"""),
    Command(
        f"""{AUTHORIZED} -X PUT --data 'log line' "$RESULTS_URL/v1/results/$RESULT/artifacts/a.log" > artifact.json"""
    ),
]
AFTER_RESTORE = [
    Command("""read -r WEBHOOK WEBHOOK_SECRET ARTIFACT < <(python3 -c 'import json
hook, artifact = (json.load(open(name)) for name in ("webhook.json", "artifact.json"))
print(hook["id"], hook["secret"], artifact["id"])')"""),
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


def test_restored_service_continues_with_its_keys_files_and_secrets(
    tmp_path: Path, amqp_url: str, queue_prefix: str
) -> None:
    folder, port, receiver_port = tmp_path / "shell", str(choose_port()), str(choose_port())
    folder.mkdir()
    production, backup = (list(commands((ROOT / name).read_text())) for name in PAGES_OF_OPERATORS)
    executed = [
        command._replace(text=command.text.replace(DEFAULT_PORT, port).replace(RECEIVER_PORT, receiver_port))
        for command in (*production, *BEFORE_BACKUP, *backup, *AFTER_RESTORE)
    ]
    variables = {
        "PATH": f"{Path(postgres_program('psql')).parent}:{os.environ['PATH']}",
        "SERVICE_PASSWORD": PASSWORD,
        "BROKER_URL": amqp_url,
        "RESULTS_QUEUE_PREFIX": queue_prefix,
        "RESULTS_HTTP_PORT": port,
        "RESULTS_WEBHOOK_ALLOW_LOOPBACK": "true",
    }
    with server(tmp_path / "old") as old, server(tmp_path / "new") as new:
        done = execute(executed, folder, {**variables, **addresses("", old), **addresses("NEW_", new)})
    problems = differences(done)
    assert not problems, "\n\n".join(problems)
