"""Tests that deploy/kubernetes is valid, safe, and names only existing commands, settings, and paths."""

import re
import shutil
import subprocess
import tomllib
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from consumers.roles import ROLES
from service.api.routes import all_routes
from service.cli import cli
from service.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
VERSIONS = ["1.30", "1.37"]  # the oldest version that the page names, and the newest one that has a schema
SETTINGS = {f"RESULTS_{field.upper()}" for field in Settings.model_fields}

pytestmark = pytest.mark.skipif(
    shutil.which("kustomize") is None, reason="kustomize is not installed (Debian package: kustomize)"
)


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    return build(FOLDER)


@pytest.fixture(scope="module")
def workloads(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The Job and the Deployments by the name of their component."""
    return {component(each): each for each in objects if each["kind"] in ("Job", "Deployment")}


def component(each: dict[str, Any]) -> str:
    return str(each["metadata"]["labels"]["app.kubernetes.io/component"])


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container(workload: dict[str, Any]) -> dict[str, Any]:
    [only] = pod(workload)["containers"]
    found: dict[str, Any] = only
    return found


def settings(objects: list[dict[str, Any]]) -> dict[str, str]:
    [found] = [each for each in objects if each["kind"] == "ConfigMap"]
    data: dict[str, str] = found["data"]
    return data


def build(folder: Path) -> list[dict[str, Any]]:
    program = str(shutil.which("kustomize"))
    built = subprocess.run([program, "build", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(built.stdout))


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_has_the_schema_of_kubernetes(objects: list[dict[str, Any]], version: str) -> None:
    from kubernetes_validate import validate  # slow: it compiles the grammar of IRIs

    assert len(objects) == 12
    for each in objects:
        validate(each, version, strict=True)


def test_every_file_is_used() -> None:
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    names = {*listed["resources"], *(patch["path"] for patch in listed["patches"]), "kustomization.yaml"}
    assert {file.relative_to(FOLDER).as_posix() for file in FOLDER.rglob("*") if file.is_file()} == names


def test_commands_exist_and_cover_all_roles(workloads: dict[str, dict[str, Any]]) -> None:
    arguments = {name: container(each)["args"] for name, each in workloads.items()}
    for each in arguments.values():
        assert CliRunner().invoke(cli, [*each, "--help"]).exit_code == 0, each
    consumed = chain.from_iterable(each[1:] for each in arguments.values() if each[0] == "consume")
    assert set(consumed) == set(ROLES)
    sizes = [container(workloads[f"consumer-{name}"])["env"] for name in ("events", "large-events")]
    assert [each[0]["value"] for each in sizes] == ["small", "large"]


def test_settings_exist_and_contain_no_secret(
    objects: list[dict[str, Any]], workloads: dict[str, dict[str, Any]]
) -> None:
    used = {*settings(objects)} | {e["name"] for each in workloads.values() for e in container(each).get("env", [])}
    assert {name for name in used if name.startswith("RESULTS_")} <= SETTINGS
    assert not any(re.search("PASSWORD|SECRET_|KEY|_DATABASE_URL|_AMQP_URL", name) for name in used)


def test_image_has_the_version_of_the_project(workloads: dict[str, dict[str, Any]]) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {container(each)["image"] for each in workloads.values()} == {f"zof-results:{version}"}


def test_pods_have_no_privileges(workloads: dict[str, dict[str, Any]]) -> None:
    for name, each in workloads.items():
        assert pod(each)["securityContext"]["runAsNonRoot"] is True, name
        assert pod(each)["securityContext"]["runAsUser"] == 10001, name
        assert pod(each)["automountServiceAccountToken"] is False, name
        assert pod(each)["enableServiceLinks"] is False, name
        assert container(each)["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }, name  # fmt: skip
        assert container(each)["resources"].keys() == {"requests", "limits"}, name
        mounts = {mount["name"]: mount["mountPath"] for mount in container(each)["volumeMounts"]}
        assert mounts.keys() == {volume["name"] for volume in pod(each)["volumes"]} == {"secrets", "tmp"}, name


def test_only_the_job_has_the_login_of_the_superuser(
    objects: list[dict[str, Any]], workloads: dict[str, dict[str, Any]]
) -> None:
    secrets = {
        name: [volume["secret"]["secretName"] for volume in pod(each)["volumes"] if "secret" in volume]
        for name, each in workloads.items()
    }
    assert secrets.pop("schema") == ["zof-results-superuser"]
    assert {tuple(names) for names in secrets.values()} == {("zof-results",)}
    [mounted] = {mount["mountPath"] for each in workloads.values() for mount in container(each)["volumeMounts"]} - {
        "/tmp"
    }
    assert settings(objects)["RESULTS_SECRETS_DIR"] == mounted


def test_selectors_find_exactly_their_pods(objects: list[dict[str, Any]], workloads: dict[str, dict[str, Any]]) -> None:
    labels = {name: each["spec"]["template"]["metadata"]["labels"] for name, each in workloads.items()}
    for each in objects:
        if each["kind"] in ("Service", "PodDisruptionBudget", "Deployment"):
            selector = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
            assert [name for name, found in labels.items() if selector.items() <= found.items()] == [component(each)]
    budgets = {component(each) for each in objects if each["kind"] == "PodDisruptionBudget"}
    assert budgets == {name for name, each in workloads.items() if each["spec"].get("replicas", 0) > 1}


def test_probes_use_existing_paths_and_ports(
    objects: list[dict[str, Any]], workloads: dict[str, dict[str, Any]]
) -> None:
    paths = {route.path for route in all_routes()}
    for name, each in workloads.items():
        found = container(each)
        ports = {port["name"]: port["containerPort"] for port in found.get("ports", [])}
        probes = [found[kind]["httpGet"] for kind in found if kind.endswith("Probe")]
        assert {probe["port"] for probe in probes} == ports.keys(), name
        assert {probe["path"] for probe in probes} <= paths, name
        assert ports.get("metrics", 9100) == int(settings(objects)["RESULTS_METRICS_PORT"])
        assert "livenessProbe" in found or name == "schema"


def test_api_can_wait_for_the_migration_job(
    objects: list[dict[str, Any]], workloads: dict[str, dict[str, Any]]
) -> None:
    probe = container(workloads["api"])["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > int(settings(objects)["RESULTS_SCHEMA_WAIT_S"])


def test_consumers_have_time_to_start_before_they_are_checked(workloads: dict[str, dict[str, Any]]) -> None:
    """On a busy node, the start of a process can take longer than the liveness probe tolerates."""
    for name, each in workloads.items():
        if name.startswith("consumer"):
            startup, liveness = container(each)["startupProbe"], container(each)["livenessProbe"]
            assert startup["httpGet"] == liveness["httpGet"], name
            assert startup["periodSeconds"] * startup["failureThreshold"] >= 120, name
            assert "initialDelaySeconds" not in liveness, name


def test_pods_have_time_to_stop(workloads: dict[str, dict[str, Any]]) -> None:
    """The page requires 40 s after SIGTERM, which the API receives after the pause of its hook."""
    pause = int(container(workloads["api"])["lifecycle"]["preStop"]["exec"]["command"][1])
    assert {pod(each)["terminationGracePeriodSeconds"] for each in workloads.values()} == {60}
    assert pause + 40 <= 60


def test_overlay_of_the_page_sets_namespace_image_and_settings(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()
    block = re.search(
        r"^```yaml\n(resources: \[\.\./path/to/deploy/kubernetes\]\n.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    assert block
    shutil.copytree(FOLDER, tmp_path / "path" / "to" / "deploy" / "kubernetes")
    overlay = tmp_path / "overlay" / "kustomization.yaml"
    overlay.parent.mkdir()
    overlay.write_text(block[1])
    objects = build(overlay.parent)
    assert {each["metadata"]["namespace"] for each in objects} == {"results"}
    assert settings(objects)["RESULTS_ARTIFACTS_URL"] == "s3://BUCKET/PREFIX"
    images = {container(each)["image"] for each in objects if each["kind"] in ("Job", "Deployment")}
    assert images == {"REGISTRY/zof-results:VERSION"}


def test_page_states_the_requested_cpu_time_and_memory(workloads: dict[str, dict[str, Any]]) -> None:
    requests = [
        container(each)["resources"]["requests"]
        for each in workloads.values()
        for _ in range(each["spec"].get("replicas", 1))
    ]
    cpus = sum(int(each["cpu"].removesuffix("m")) for each in requests) / 1_000
    memory = sum(int(each["memory"].removesuffix("Mi")) for each in requests) / 1_024
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()
    assert f"The pods request {cpus:.1f} CPUs and {memory:.1f} GiB of memory." in page
