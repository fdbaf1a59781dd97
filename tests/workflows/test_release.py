"""Tests of what a release checks, and of the commands that publish it, with programs that record their calls."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from scripts.release import find_notes
from tests.workflows.repositories import Repository, recording

VERSION = "1.2.3"
PROJECT = f'[project]\nname = "zof-results"\nversion = "{VERSION}"\n'
CHANGELOG = f"""\
# Changelog

## Unreleased

- Later.

## {VERSION}, 2026-01-31

### Added

- A [page](docs/page.md#part), see [elsewhere](https://example.org/).

## 1.2.2, 2025-12-31

- Earlier.
"""
NOTES = CHANGELOG.partition("2026-01-31\n\n")[2].partition("\n## ")[0]
PUBLISHING = ("publish-image", "publish-release", "propose-lock")
SCRIPTS = [f"scripts/{name}" for name in ("release.py", *PUBLISHING)]
SOURCE_URL = "https://code.example.org/acme/Results"


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"pyproject.toml": PROJECT, "CHANGELOG.md": CHANGELOG, "requirements.lock": "a==1\n"}
    folder = tmp_path_factory.mktemp("committed")
    return Repository.create(folder, SCRIPTS, changes | {".gitignore": "dist/\n"}).folder


@pytest.fixture
def repository(committed: Path, tmp_path: Path) -> Repository:
    return Repository(shutil.copytree(committed, tmp_path / "repository"))


def check(repository: Repository, *tag: str) -> tuple[int, str]:
    done = repository.attempt(sys.executable, "scripts/release.py", "--check", *tag)
    return done.returncode, done.stderr


@pytest.mark.parametrize("tag", [(), (f"v{VERSION}",)])
def test_commit_with_its_version_and_changelog_can_be_released(repository: Repository, tag: tuple[str, ...]) -> None:
    code, message = check(repository, *tag)
    assert (code, message.split()[-1]) == (0, f"v{VERSION}")


@pytest.mark.parametrize("tag", ["v1.2.4", VERSION, "v1.2.3-rc1"])
def test_tag_of_another_version_is_rejected(repository: Repository, tag: str) -> None:
    assert check(repository, tag) == (
        1, f"release: tag: is {tag}, but pyproject.toml has the version {VERSION}. Create the tag v{VERSION}.\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changelog", "message"),
    [
        (CHANGELOG.replace("1.2.3, 2026-01-31", "1.2.30, 2026-01-31"), "needs a heading with a date"),
        (CHANGELOG.replace(", 2026-01-31", ""), "needs a heading with a date"),
        (CHANGELOG.replace(NOTES, ""), f"the section {VERSION} must not be empty"),
    ],
)
def test_changelog_without_the_version_is_rejected(repository: Repository, changelog: str, message: str) -> None:
    (repository.folder / "CHANGELOG.md").write_text(changelog)
    repository.run("git", "commit", "--quiet", "--all", "--message", "changelog")
    code, error = check(repository)
    assert code == 1
    assert error.startswith(f"release: CHANGELOG.md: {message}")


@pytest.mark.parametrize("name", ["pyproject.toml", "service.py"])
def test_changes_in_the_worktree_are_rejected(repository: Repository, name: str) -> None:
    with (repository.folder / name).open("a") as file:
        file.write("# changed\n")
    code, error = check(repository)
    assert code == 1
    assert error.startswith("release: worktree: must contain no changes.")
    assert name in error


def test_text_of_the_release_has_a_line_for_each_paragraph_and_list_item() -> None:
    section = "One\ntwo.\n\n### Added\n\n- Three\n  **four**,\n  -1 five.\n  - Six\n    seven.\n- Eight.\n"
    expected = "One two.\n\n### Added\n\n- Three **four**, -1 five.\n  - Six seven.\n- Eight.\n"
    assert find_notes(f"## {VERSION}, 2026-01-31\n\n{section}", VERSION) == expected


def test_folder_without_a_repository_is_rejected(repository: Repository) -> None:
    shutil.rmtree(repository.folder / ".git")
    code, error = check(repository)
    assert code == 1
    assert error.startswith("release: git status --porcelain: failed with exit code 128\nfatal: not a git repository")


def test_text_of_the_release_has_absolute_links_and_the_image(repository: Repository, tmp_path: Path) -> None:
    release = repository.folder / "dist" / "release"
    release.mkdir(parents=True)
    (release / "SHA256SUMS").touch()
    (release.parent / "release-notes.md").write_text(NOTES)
    programs = recording(tmp_path, "gh", f"open({str(tmp_path / 'text')!r}, 'w').write(sys.stdin.read())\n")
    variables = {"TAG": f"v{VERSION}", "IMAGE": "ghcr.io/acme/results:1.2.3@sha256:0a", "SOURCE_URL": SOURCE_URL}
    repository.run("scripts/publish-release", **variables, PATH=f"{programs}:{os.environ['PATH']}")
    assert (tmp_path / "gh").read_text() == (
        f"release create v{VERSION} --verify-tag --title v{VERSION} --notes-file - dist/release/SHA256SUMS\n"
    )
    expected = NOTES.replace("(docs/page.md#part)", f"({SOURCE_URL}/blob/v{VERSION}/docs/page.md#part)")
    text = (tmp_path / "text").read_text()
    assert text.startswith(expected + f"\n### Image\n\n`{variables['IMAGE']}`\n")
    assert text.endswith(f"[Containers]({SOURCE_URL}/blob/v{VERSION}/docs/operations/containers.md).\n")


def test_image_has_labels_and_its_digest_is_an_output(repository: Repository, tmp_path: Path) -> None:
    script = """\
if "--metadata-file" in sys.argv:
    with open(sys.argv[sys.argv.index("--metadata-file") + 1], "w") as file:
        file.write('{"containerimage.digest": "sha256:0a"}')
"""
    programs = recording(tmp_path, "docker", script)
    output = repository.run(
        "scripts/publish-image",
        IMAGE="ghcr.io/acme/Results",
        SOURCE_URL=SOURCE_URL,
        PATH=f"{programs}:{os.environ['PATH']}",
    )
    assert output == f"image=ghcr.io/acme/results\ntag={VERSION}\ndigest=sha256:0a\n"
    create, build, remove = (tmp_path / "docker").read_text().splitlines()
    assert create.startswith("buildx create ")
    assert remove.startswith("buildx rm ")
    commit = repository.run("git", "rev-parse", "HEAD").strip()
    for argument in (
        "--push", "--sbom=true", "--provenance=mode=max", f"--build-arg ZOF_RESULTS_COMMIT={commit}",
        f"--label org.opencontainers.image.version={VERSION}", f"--label org.opencontainers.image.revision={commit}",
        f"--label org.opencontainers.image.source={SOURCE_URL}", f"--tag ghcr.io/acme/results:{VERSION}",
    ):  # fmt: skip
        assert f" {argument} " in build


@pytest.mark.parametrize(("open_requests", "created"), [("0", True), ("1", False)])
def test_changed_lock_files_are_proposed_once(
    repository: Repository, tmp_path: Path, open_requests: str, created: bool
) -> None:
    repository.run("git", "init", "--quiet", "--bare", tmp_path / "origin.git")
    repository.run("git", "remote", "add", "origin", tmp_path / "origin.git")
    programs = recording(tmp_path, "gh", f"if sys.argv[2] == 'list': print({open_requests})\n")
    (repository.folder / "requirements.lock").write_text("a==2\n")
    (repository.folder / "other").touch()
    repository.run("scripts/propose-lock", PATH=f"{programs}:{os.environ['PATH']}")
    changed = repository.run("git", "--git-dir", tmp_path / "origin.git", "diff", "--name-only", "lock~", "lock")
    assert changed == "requirements.lock\n"
    assert ("pr create" in (tmp_path / "gh").read_text()) == created


def test_unchanged_lock_files_are_not_proposed(repository: Repository, tmp_path: Path) -> None:
    programs = recording(tmp_path, "gh")
    repository.run("scripts/propose-lock", PATH=f"{programs}:{os.environ['PATH']}")
    assert not (tmp_path / "gh").exists()
