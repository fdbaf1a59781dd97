"""Tests of settings: misspelled names, URLs that list several hosts, and files that contain secrets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.settings import InvalidSettings, Settings, names_in_use, read_settings, unknown_variables

MISSPELLED = "RESULTS_RETENTION_DAY"
WARNING = "RESULTS_RETENTION_DAY: unknown setting, ignored; did you mean RESULTS_RETENTION_DAYS?"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (MISSPELLED, WARNING),
        ("results_amqp_ur", "RESULTS_AMQP_UR: unknown setting, ignored; did you mean RESULTS_AMQP_URL?"),
        ("RESULTS_ZZZ", "RESULTS_ZZZ: unknown setting, ignored"),
    ],
)
def test_unknown_variable_is_reported_with_the_nearest_name(name: str, message: str) -> None:
    assert unknown_variables([name, "PATH"]) == [message]


def test_settings_and_variables_of_the_client_and_the_tests_are_known() -> None:
    settings = [f"RESULTS_{name.upper()}" for name in Settings.model_fields]
    others = ["RESULTS_URL", "RESULTS_API_KEY", "RESULTS_TEST_AMQP_URL", "results_database_url", "MY_RESULTS_DAYS"]
    assert unknown_variables([*settings, *others]) == []


@pytest.mark.slow
@pytest.mark.parametrize("command", [("api",), ("consume",), ("organizations", "list"), ("dead-letters", "list")])
def test_every_command_warns_about_an_unknown_variable(command: tuple[str, ...]) -> None:
    """The database doesn't exist, so that the servers exit after the warning."""
    environment = {
        **os.environ,
        "RESULTS_DATABASE_URL": "postgresql://127.0.0.1:1/absent",
        "RESULTS_HTTP_PORT": "0",
        MISSPELLED: "36",
    }
    arguments = [sys.executable, "-m", "service", *command]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stderr is not None
        warning = next(line for line in process.stderr if "RETENTION" in line)
        process.kill()
    assert WARNING in warning


HOSTS = "postgresql://user@host1:5432,host2/name"


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("DATABASE_URL", HOSTS, "lists several hosts; add ?target_session_attrs=read-write"),
        ("DATABASE_URL", f"{HOSTS}?target_session_attrs=any", "lists several hosts; add"),
        ("DATABASE_URL", "postgresql://user@host1,host2:p/name?target_session_attrs=primary", "has an invalid port"),
        ("DATABASE_URL", f"{HOSTS}?target_session_attrs=read-write", None),
        ("DATABASE_READ_URL", f"{HOSTS}?target_session_attrs=prefer-standby", None),
        ("AMQP_URL", "amqp://user@host1:5672,host2/", None),
        ("AMQP_URL", "amqp://user@host1:5672,host2:p/", "has an invalid port"),
    ],
)
def test_url_can_list_several_hosts(monkeypatch: pytest.MonkeyPatch, name: str, url: str, message: str | None) -> None:
    monkeypatch.setenv(f"RESULTS_{name}", url)
    if message is None:
        read_settings()
        return
    with pytest.raises(InvalidSettings, match=f"^RESULTS_{name}: {re.escape(message)}"):
        read_settings()


def test_unknown_producer_identity_names_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_PRODUCER_IDENTITY", "on")
    with pytest.raises(InvalidSettings, match="RESULTS_PRODUCER_IDENTITY: must be 'optional' or 'required'"):
        read_settings()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "RESULTS_ARTIFACT_RETENTION_DAYS",
            "RESULTS_ARTIFACT_RETENTION_DAYS: must be at most RESULTS_RETENTION_DAYS (30)",
        ),
        ("RESULTS_RUN_RETENTION_DAYS", "RESULTS_RUN_RETENTION_DAYS: must be at least RESULTS_RETENTION_DAYS (30)"),
    ],
)
def test_artifacts_expire_no_later_than_results_and_results_no_later_than_runs(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.setenv("RESULTS_RETENTION_DAYS", "30")
    monkeypatch.setenv(name, "31" if "ARTIFACT" in name else "29")
    with pytest.raises(InvalidSettings) as raised:
        read_settings()
    assert str(raised.value) == message
    monkeypatch.setenv(name, "30")
    assert read_settings().retention_policy.results.days == 30


def test_artifacts_expire_with_the_results_and_runs_never_by_default() -> None:
    policy = Settings(retention_days=30).retention_policy
    assert (policy.artifacts, policy.runs) == (policy.results, None)


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files are settings."""
    monkeypatch.setenv("RESULTS_SECRETS_DIR", str(tmp_path))
    for name in ("RESULTS_AMQP_URL", "RESULTS_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_files_are_settings_without_their_trailing_newline(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "results_database_url").write_text("postgresql://file/results\n")
    (secrets / "results_amqp_url").write_text("amqp://file/")
    (secrets / "other_password").write_text("pw")
    monkeypatch.setenv("RESULTS_AMQP_URL", "amqp://variable/")
    settings = read_settings()
    assert (settings.database_url, settings.amqp_url) == ("postgresql://file/results", "amqp://variable/")


def test_invalid_file_is_named_like_its_variable_without_its_content(secrets: Path) -> None:
    (secrets / "results_database_url").write_text("secret")
    with pytest.raises(InvalidSettings, match=r"^RESULTS_DATABASE_URL: must start with postgresql://") as raised:
        read_settings()
    assert "secret" not in str(raised.value)


def test_misspelled_file_is_reported(secrets: Path) -> None:
    (secrets / "results_amqp_ur").write_text("amqp://file/")
    (secrets / "other_password").write_text("pw")
    assert unknown_variables(names_in_use()) == [
        "RESULTS_AMQP_UR: unknown setting, ignored; did you mean RESULTS_AMQP_URL?"
    ]


def test_folder_of_secrets_must_exist(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESULTS_SECRETS_DIR", f"{secrets}/absent")
    assert names_in_use() == [*os.environ]
    with pytest.raises(InvalidSettings, match=r"^RESULTS_SECRETS_DIR: .*/absent isn't a folder$"):
        read_settings()


def test_unreadable_secret_is_an_error_of_the_folder(secrets: Path) -> None:
    (secrets / "results_database_url").write_bytes(b"\xff")
    with pytest.raises(InvalidSettings, match=r"^RESULTS_SECRETS_DIR: can't read the files of "):
        read_settings()


@pytest.mark.parametrize("name", ["RESULTS_ARTIFACTS_ACCESS_KEY_ID", "RESULTS_ARTIFACTS_SECRET_ACCESS_KEY"])
def test_access_key_of_the_bucket_needs_id_and_secret(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(InvalidSettings, match=r"must be set together with RESULTS_ARTIFACTS_ACCESS_KEY_ID"):
        read_settings()


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({"OIDC_ISSUER": "https://a.example"}, "RESULTS_OIDC_CLIENT_ID and RESULTS_OIDC_CLIENT_SECRET"),
        ({"OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"}, "RESULTS_OIDC_ISSUER"),
        (
            {"OIDC_ISSUER": "https://a.example", "OIDC_CLIENT_ID": "a", "OIDC_CLIENT_SECRET": "b"},
            "RESULTS_PUBLIC_URL",
        ),
    ],
)
def test_sign_in_names_the_missing_settings(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], missing: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"RESULTS_{name}", value)
    message = f"RESULTS_OIDC_CLIENT_SECRET: sign-in with OpenID Connect also needs {missing}$"
    with pytest.raises(InvalidSettings, match=message):
        read_settings()


def test_sign_in_needs_the_scope_openid(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (secrets / "results_oidc_client_secret").write_text("s3cret\n")
    for name, value in (("ISSUER", "https://a.example/realm"), ("CLIENT_ID", "results"), ("SCOPES", "openid groups")):
        monkeypatch.setenv(f"RESULTS_OIDC_{name}", value)
    monkeypatch.setenv("RESULTS_PUBLIC_URL", "https://results.example/")
    client = read_settings().oidc_client
    assert client is not None
    assert (client.client_secret, client.scopes) == ("s3cret", "openid groups")
    assert client.redirect_uri == "https://results.example/console/sign-in/callback"
    assert "s3cret" not in repr(client)
    (secrets / "results_oidc_client_secret").write_text("\n")
    with pytest.raises(InvalidSettings, match="also needs RESULTS_OIDC_CLIENT_SECRET"):
        read_settings()
    (secrets / "results_oidc_client_secret").write_text("s3cret\n")
    monkeypatch.setenv("RESULTS_OIDC_SCOPES", "email  profile")
    with pytest.raises(InvalidSettings, match="RESULTS_OIDC_SCOPES: must be scopes"):
        read_settings()
