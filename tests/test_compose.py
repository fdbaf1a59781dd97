"""compose.yaml and Dockerfile, read by parsers: names that they use must exist on our side."""

import fnmatch
import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from service.cli import cli
from service.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ["schema", "api", "consumers"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_stack_is_whole() -> None:
    assert list(SERVICES) == ["postgres", "rabbitmq", *OURS]


def test_every_lasting_service_has_a_healthcheck_and_comes_back() -> None:
    for name in SERVICES.keys() - {"schema"}:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_nothing_is_waited_for_that_is_not_there() -> None:
    for name in OURS:
        for needed, how in SERVICES[name]["depends_on"].items():
            lasting = "healthcheck" in SERVICES[needed]
            assert how["condition"] == ("service_healthy" if lasting else "service_completed_successfully")


@pytest.mark.parametrize("name", OURS)
def test_commands_exist(name: str) -> None:
    command: click.Command = cli
    for word in SERVICES[name]["command"]:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert not isinstance(command, click.Group)


def test_settings_exist() -> None:
    given = {variable for name in OURS for variable in SERVICES[name]["environment"]}
    given |= set(re.findall(r"\b(RESULTS_[A-Z_]+)=", DOCKERFILE))
    assert given >= {"RESULTS_DATABASE_URL", "RESULTS_AMQP_URL", "RESULTS_HTTP_HOST"}
    assert given <= {f"RESULTS_{field.upper()}" for field in Settings.model_fields}


def test_ports_are_open_to_this_machine_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_passwords_come_from_the_environment() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASS" in name or "://results:" in value:
                assert re.search(r"\$\{(POSTGRES|RABBITMQ)_PASSWORD:\?\}", value), name


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = [path for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for path in line.split()[:-1]]
    admitted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(admitted)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_no_secret_or_state_of_this_checkout_gets_into_the_image() -> None:
    admitted = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not any(fnmatch.fnmatch(name, pattern) for name in (".env", ".git", ".dev", ".venv") for pattern in admitted)
