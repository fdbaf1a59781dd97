"""The commit of a checkout, which is read without Git, and of a build."""

import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from service import version
from service.cli import cli
from service.client.built_commit import VARIABLE, find_built_commit
from service.version import read_head

SHA = "1f0c9ab2d4e5f60718293a4b5c6d7e8f90123456"
_IDENTITY = {f"GIT_{role}_{part}": "t" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **_IDENTITY}
    return subprocess.check_output(["git", *arguments], cwd=folder, env=environment, text=True).strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with two commits on the branch release/1."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=release/1")
    for text in ("one", "two"):
        (folder / "file").write_text(text)
        git(folder, "add", "file")
        git(folder, "commit", "--quiet", "--message", text)
    return folder


def test_commit_of_a_branch_is_that_of_head(checkout: Path) -> None:
    head = git(checkout, "rev-parse", "HEAD")
    assert read_head(checkout) == head
    git(checkout, "pack-refs", "--all")
    assert not (checkout / ".git" / "refs" / "heads" / "release" / "1").exists()
    assert read_head(checkout) == head


def test_commit_of_a_detached_head_is_that_of_head(checkout: Path) -> None:
    git(checkout, "checkout", "--quiet", "HEAD~1")
    assert read_head(checkout) == git(checkout, "rev-parse", "HEAD") != git(checkout, "rev-parse", "release/1")


@pytest.mark.parametrize("packed", [False, True])
def test_commit_of_a_worktree_is_that_of_its_branch(checkout: Path, packed: bool) -> None:
    other = checkout.parent / "other"
    git(checkout, "worktree", "add", "--quiet", "-b", "fix", str(other), "HEAD~1")
    if packed:
        git(checkout, "pack-refs", "--all")
    assert read_head(other) == git(other, "rev-parse", "HEAD") != read_head(checkout)


def test_folder_without_a_commit_has_none(tmp_path: Path) -> None:
    assert read_head(tmp_path) is None
    git(tmp_path, "init", "--quiet")
    assert read_head(tmp_path) is None
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    assert read_head(tmp_path) is None


def test_build_contains_the_commit_of_an_unmodified_checkout(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    (checkout / "untracked").touch()
    assert find_built_commit(checkout) == git(checkout, "rev-parse", "HEAD")
    (checkout / "file").write_text("three")
    assert find_built_commit(checkout) == ""


def test_build_without_a_repository_contains_the_commit_of_the_variable(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked = checkout / "unpacked"  # an archive of the source, in the folder of another repository
    unpacked.mkdir()
    monkeypatch.setenv(VARIABLE, "")
    assert find_built_commit(unpacked) == ""
    monkeypatch.setenv(VARIABLE, SHA)
    assert find_built_commit(unpacked) == find_built_commit(checkout) == SHA
    monkeypatch.setenv(VARIABLE, SHA[:10])
    with pytest.raises(ValueError, match=f"{VARIABLE}: must be the full SHA"):
        find_built_commit(unpacked)


def test_build_without_git_contains_no_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(checkout))
    assert find_built_commit(checkout) == ""


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(version, "find_commit", version.find_commit.__wrapped__)
    monkeypatch.setattr(version, "find_version", lambda: "0.10.0")
    return monkeypatch


def test_commit_of_a_build_is_shown(uncached: pytest.MonkeyPatch) -> None:
    uncached.setattr(version, "get_data", lambda *_: SHA.encode())
    assert version.find_build() == {"version": "0.10.0", "commit": SHA}
    assert version.user_agent() == f"zof-results/{version.describe_build()}" == "zof-results/0.10.0 (commit 1f0c9ab2d4)"


@pytest.mark.parametrize("built", [b"", b"not a commit"])
def test_unknown_commit_is_left_out(uncached: pytest.MonkeyPatch, built: bytes) -> None:
    """Also in an installation whose folder is a checkout of another project."""
    uncached.setattr(version, "get_data", lambda *_: built)
    assert version.find_build() == {"version": "0.10.0"}
    assert version.user_agent() == "zof-results/0.10.0"


def test_command_names_the_version_and_the_commit_of_the_checkout() -> None:
    printed = CliRunner().invoke(cli, ["--version"]).stdout
    assert printed == f"zof-results {version.describe_build()}\n"
    assert version.find_commit() == read_head(Path(version.__file__).parents[1])
