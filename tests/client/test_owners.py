"""`report` and `run` find CODEOWNERS of the checkout, and send its rules with the map of `--owners`."""

import asyncio
import gzip
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from service.client.__main__ import client
from service.client.ci import SYSTEMS
from service.client.owners import pack_owners
from tests.report_api import Reports, serving_reports_with_ingester

JUNIT = """<testsuite name="shop" tests="2" failures="0">
    <testcase classname="shop" name="pays" file="tests/pay.py"/><testcase classname="shop" name="ships" file="ship.py"/>
</testsuite>"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (*SYSTEMS, "RESULTS_URL", "RESULTS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "checkout"
    (root / ".git").mkdir(parents=True)
    for name in ("tests/pay.py", "ship.py"):
        write(root, name, "")
    write(root, "junit.xml", JUNIT)
    monkeypatch.chdir(root)
    return root


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def packed(map_path: Path | None = None) -> Any:
    content = pack_owners(map_path)
    return None if content is None else json.loads(gzip.decompress(content))


def first_owners() -> Any:
    document = packed()
    return document and (document["host"], document["sections"][0][0][1])


@pytest.mark.parametrize(
    ("variable", "files", "found"),
    [
        ("GITHUB_ACTIONS", [".github/CODEOWNERS", "CODEOWNERS", "docs/CODEOWNERS"], ".github/CODEOWNERS"),
        ("GITHUB_ACTIONS", ["CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"], "CODEOWNERS"),
        ("GITHUB_ACTIONS", ["docs/CODEOWNERS"], "docs/CODEOWNERS"),
        ("GITHUB_ACTIONS", [".gitlab/CODEOWNERS"], None),
        ("GITLAB_CI", ["CODEOWNERS", "docs/CODEOWNERS", ".gitlab/CODEOWNERS"], "CODEOWNERS"),
        ("GITLAB_CI", ["docs/CODEOWNERS", ".gitlab/CODEOWNERS"], "docs/CODEOWNERS"),
        ("GITLAB_CI", [".gitlab/CODEOWNERS", ".github/CODEOWNERS"], ".gitlab/CODEOWNERS"),
        ("GITLAB_CI", [".github/CODEOWNERS"], None),
        (None, [".github/CODEOWNERS", "CODEOWNERS"], ".github/CODEOWNERS"),
        (None, [".gitlab/CODEOWNERS"], ".gitlab/CODEOWNERS"),
        (None, [], None),
    ],
)
def test_first_file_of_the_host_is_used(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None, files: list[str], found: str | None
) -> None:
    """The order is that of the documentation of GitHub and of GitLab, as of December 2, 2026."""
    for file in files:
        write(checkout, file, f"* @{file.replace('/', '-')}")
    if variable:
        monkeypatch.setenv(variable, "true")
    host = {"GITHUB_ACTIONS": "github", "GITLAB_CI": "gitlab"}.get(variable or "")
    expected = found and (host or ("gitlab" if "gitlab" in found else "github"), [f"@{found.replace('/', '-')}"])
    assert first_owners() == expected


@pytest.mark.parametrize(("text", "host"), [("* @a\n[Section]\n*.py @b", "gitlab"), ("* @a", "github")])
def test_sections_reveal_the_host(checkout: Path, text: str, host: str) -> None:
    write(checkout, "CODEOWNERS", text)
    assert packed()["host"] == host


def test_checkout_above_the_working_directory_has_the_file(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(checkout, ".github/CODEOWNERS", "* @a")
    monkeypatch.chdir(checkout / "tests")
    assert first_owners() == ("github", ["@a"])


def test_ignored_lines_are_printed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(checkout, "CODEOWNERS", "* @a\n" + "!no @b\n" * 7)
    assert packed()["sections"] == [[["*", ["@a"]]]]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"warning: {path}: line 2: GitHub skips it: !no"
    assert lines[5:] == [f"warning: {path}: and 2 more such lines"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"* @a\xff", "it can't be read as UTF-8"),
        (b"#" * 3_000_001, "it has more than 3,000,000 bytes"),
        (b"* @a\n" * 20, "its rules have more than 200 bytes"),
    ],
)
def test_unusable_file_is_a_message(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes,
    reason: str,
) -> None:
    monkeypatch.setattr("service.domain.codeowners.MAX_OWNERS_BYTES", 200)
    (checkout / "CODEOWNERS").write_bytes(content)
    assert packed() is None
    assert reason in capsys.readouterr().err
    assert packed(write(checkout, "map.json", '{"*": "@a"}'))["map"] == [["*", ["@a"]]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[1]", 'must be JSON such as {"tests/*": "@acme/qa"}'),
        ("{", 'must be JSON such as {"tests/*": "@acme/qa"}'),
        (json.dumps({"*" * 6: "@a"}), "must contain at most 5 *"),
        (json.dumps({"a": 1}), "'a' must have names of at most 100 characters"),
        (json.dumps({"a": ["@a", ""]}), "'a' must have names of at most 100 characters"),
        (json.dumps({"a": "x" * 101}), "'a' must have names of at most 100 characters"),
        (json.dumps({"a": [str(number) for number in range(11)]}), "at most 1,000 globs with 10 owners each"),
        (json.dumps({str(number): "@a" for number in range(1001)}), "at most 1,000 globs with 10 owners each"),
    ],
)
def test_errors_of_the_map_name_the_file(checkout: Path, content: str, reason: str) -> None:
    path = write(checkout, "map.json", content)
    with pytest.raises(click.UsageError) as raised:
        packed(path)
    assert f"--owners: {path}" in raised.value.message
    assert reason in raised.value.message


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        await opened.api.become("uploader")
        yield opened


def variables(reports: Reports) -> dict[str, str]:
    url = str(reports.api.http.make_url("/"))
    return {"RESULTS_URL": url, "RESULTS_API_KEY": reports.api.key, "RESULTS_PROJECT": "shop"}


async def report(reports: Reports, *arguments: str) -> Result:
    command = ["report", "junit.xml", "--wait", "--no-attachments", *arguments]
    result = await asyncio.to_thread(CliRunner().invoke, client, command, env=variables(reports))
    assert result.exit_code == 0, result.output
    return result


async def owners(reports: Reports) -> dict[str, list[str]]:
    rows = await reports.api.store.pool.fetch("SELECT name, owners FROM cases")
    return {row["name"]: list(row["owners"]) for row in rows}


async def test_report_sends_the_owners(reports: Reports, checkout: Path) -> None:
    write(checkout, "CODEOWNERS", "/tests/ @payments @acme/shop\n")
    await report(reports, "--run-id", "run_1", "--branch", "main")
    assert await owners(reports) == {"pays": ["@payments", "@acme/shop"], "ships": []}
    map_file = write(checkout, "owners.json", json.dumps({"*": "@qa", "ship*": ["@logistics"], "tests/*": "@x"}))
    await report(reports, "--run-id", "run_2", "--owners", str(map_file), "--branch", "main")
    assert await owners(reports) == {"pays": ["@payments", "@acme/shop"], "ships": ["@logistics"]}
    (checkout / "CODEOWNERS").unlink()
    await report(reports, "--run-id", "run_3", "--branch", "main")
    assert await owners(reports) == {"pays": ["@payments", "@acme/shop"], "ships": ["@logistics"]}
    await report(reports, "--run-id", "run_4", "--owners", str(map_file), "--branch", "fixes")
    assert (await owners(reports))["pays"] == ["@payments", "@acme/shop"]


async def test_run_sends_the_owners_and_keeps_them_for_later(reports: Reports, checkout: Path) -> None:
    write(checkout, ".github/CODEOWNERS", "/tests/ @payments\n")
    write(checkout, "source.xml", JUNIT)

    async def run(run_id: str, **more: str) -> "subprocess.CompletedProcess[str]":
        options = ["--report", "written.xml", "--run-id", run_id, "--no-attachments", "--timeout", "30"]
        command = [sys.executable, "-m", "service.client", "run", *options, "--", "cp", "source.xml", "written.xml"]
        environment = {**os.environ, **variables(reports), "PYTHONPATH": str(Path(__file__).parents[2]), **more}
        return await asyncio.to_thread(
            subprocess.run, command, env=environment, cwd=checkout, capture_output=True, text=True, check=False
        )

    done = await run("run_1")
    assert done.returncode == 0, done.stderr
    assert await owners(reports) == {"pays": ["@payments"], "ships": []}
    write(checkout, ".github/CODEOWNERS", "* @later\n")
    done = await run("run_2", RESULTS_URL="http://127.0.0.1:9")
    assert "Send them later: zof-results report" in done.stderr
    (checkout / ".github/CODEOWNERS").unlink()
    spool = ["report", ".zof-results/spool", "--wait"]
    sent = await asyncio.to_thread(CliRunner().invoke, client, spool, env=variables(reports))
    assert sent.exit_code == 0, sent.output
    assert await owners(reports) == {"pays": ["@later"], "ships": ["@later"]}


def test_untrusted_upload_states_no_owners(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from service.client.report_options import select_upload

    write(checkout, "CODEOWNERS", "* @a")
    options = dict.fromkeys(("project_id", "part", "attempt", "shard")) | {"labels": (), "variant": ()}
    options |= {"project_id": "shop"}
    for untrusted in (True, False):
        upload = select_upload(
            "http://x", "key", run_id="run_1", pipeline=False, untrusted=untrusted, allow_empty=False, not_final=False,
            owners_map=None, **options,
        )  # fmt: skip
        assert (upload.owners is None) is untrusted
