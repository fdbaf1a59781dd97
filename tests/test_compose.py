"""Tests that the commands, settings, and files in compose.yaml and the Dockerfile exist."""

import fnmatch
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from click.testing import CliRunner

from service.cli import cli
from service.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
APP_SERVICES = ["schema", "api", "consumers"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_stack_has_all_services() -> None:
    assert list(SERVICES) == ["postgres", "rabbitmq", *APP_SERVICES]


def test_every_long_running_service_has_a_healthcheck_and_restarts() -> None:
    for name in SERVICES.keys() - {"schema"}:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_dependencies_match_the_kind_of_service() -> None:
    for name in APP_SERVICES:
        for dependency, options in SERVICES[name]["depends_on"].items():
            is_long_running = "healthcheck" in SERVICES[dependency]
            expected = "service_healthy" if is_long_running else "service_completed_successfully"
            assert options["condition"] == expected


@pytest.mark.parametrize("name", APP_SERVICES)
def test_commands_exist(name: str) -> None:
    result = CliRunner().invoke(cli, [*SERVICES[name]["command"], "--help"], prog_name="zof-results")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Usage: zof-results {SERVICES[name]['command'][0]} ")
    assert "Commands:" not in result.stdout


def test_settings_exist() -> None:
    used = {variable for name in APP_SERVICES for variable in SERVICES[name]["environment"]}
    used |= set(re.findall(r"\b(RESULTS_[A-Z_]+)=", DOCKERFILE))
    assert used >= {"RESULTS_DATABASE_URL", "RESULTS_AMQP_URL", "RESULTS_HTTP_HOST"}
    assert used <= {f"RESULTS_{field.upper()}" for field in Settings.model_fields}


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_passwords_are_read_from_the_environment() -> None:
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if "PASS" in name or "@" in value:
                assert re.search(r"\$\{(POSTGRES|SERVICE|RABBITMQ)_PASSWORD:\?\}", value), name


def test_only_the_schema_service_uses_the_superuser() -> None:
    superuser = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    urls = {name: SERVICES[name]["environment"]["RESULTS_DATABASE_URL"] for name in APP_SERVICES}
    logins = {name: url.removeprefix("postgresql://").partition(":")[0] for name, url in urls.items()}
    assert logins == {"schema": superuser, "api": "results_service", "consumers": "results_service"}
    assert SERVICES["schema"]["command"][-2:] == ["--grant-to", "results_service"]


async def test_login_of_the_service_can_only_act_as_the_database_roles(database_url: str) -> None:
    """Execute the statement that PostgreSQL executes when it creates the database, in a transaction."""
    [config] = SERVICES["postgres"]["configs"]
    assert config["target"].startswith("/docker-entrypoint-initdb.d/")
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(COMPOSE["configs"][config["source"]]["content"].replace("${SERVICE_PASSWORD:?}", "pw"))
    role = await connection.fetchrow(
        "SELECT rolcanlogin, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles"
        " WHERE rolname = 'results_service'"
    )
    await transaction.rollback()
    await connection.close()
    assert role
    assert tuple(role) == (True, False, False, False, False, False)


def test_volumes_are_declared() -> None:
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


def test_image_copies_existing_files_that_are_not_ignored() -> None:
    copied = [path for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.M) for path in line.split()[:-1]]
    included = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(copied) == sorted(included)
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_image_contains_no_secrets_or_state_of_the_checkout() -> None:
    included = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert not any(fnmatch.fnmatch(name, pattern) for name in (".env", ".git", ".dev", ".venv") for pattern in included)
