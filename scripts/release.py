"""Build the files of a release in dist/release, and its text in dist/release-notes.md.

    .venv/bin/python scripts/release.py [--check] [TAG]

Two builds of a commit have the same bytes. TAG must be that of the version in pyproject.toml. --check builds
nothing: it only checks that the commit can be released.
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PROGRAMS: Final = Path(sys.executable).parent
CLIENT: Final = "zof-results-client.pyz"
ARCHIVES: Final = {  # what a user needs from the repository besides the wheel and the client
    "integrations": ("integrations", "LICENSE"),
    "deploy": ("compose.yaml", "deploy", "LICENSE"),
}


class ReleaseError(Exception):
    """The commit can't be released; the message states what to change."""


@dataclass(frozen=True)
class Release:
    """The version, and the commit with the time of its creation."""

    version: str
    commit: str
    time: str
    notes: str

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the variables that determine the version and the timestamps in the built files."""
        return {**os.environ, "SOURCE_DATE_EPOCH": self.time, "ZOF_RESULTS_COMMIT": self.commit}


def check(tag: str | None) -> Release:
    """Return the release of the current commit. Raise ReleaseError if the commit can't be released."""
    version = str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    if tag and tag != f"v{version}":
        raise ReleaseError(f"tag: is {tag}, but pyproject.toml has the version {version}. Create the tag v{version}.")
    if changed := git("status", "--porcelain"):
        raise ReleaseError(f"worktree: must contain no changes. Commit or remove these files:\n{changed}")
    notes = find_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    return Release(version, git("rev-parse", "HEAD"), git("log", "-1", "--format=%ct"), notes)


def find_notes(changelog: str, version: str) -> str:
    """Return the text below the heading with the version and a date. Raise ReleaseError if there is none."""
    heading = re.search(rf"^## {re.escape(version)}, \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE)
    if not heading:
        raise ReleaseError(f"CHANGELOG.md: needs a heading with a date, such as `## {version}, 2026-01-31`.")
    notes = re.split(r"^## ", changelog[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0].strip()
    if not notes:
        raise ReleaseError(f"CHANGELOG.md: the section {version} must not be empty.")
    return unwrap(notes) + "\n"


def unwrap(text: str) -> str:
    """Join the lines of each paragraph and list item, because the page of a release shows each line break."""
    return re.sub(r"(?<=\S)\n *(?!#|[-*|] |```|\d+\. )(?=\S)", " ", text)


def build(release: Release, folder: Path) -> None:
    """Write all files of the release into the folder."""
    log(f"building {release.version} from commit {release.commit[:10]}")
    run(PROGRAMS / "python", "-m", "service.client.archive", "--quiet", env=release.environment)
    for project in (ROOT, *(path.parent for path in sorted((ROOT / "integrations").glob("*/pyproject.toml")))):
        command = (PROGRAMS / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
        run(*command, env=release.environment, cwd=project)
    for manifest in sorted((ROOT / "integrations").glob("*/package.json")):
        write_npm_package(manifest.parent, folder, release.time)
    for name in (CLIENT, f"{CLIENT}.sha256"):
        shutil.copy2(ROOT / "dist" / name, folder)
    for name, paths in ARCHIVES.items():
        write_archive(release, folder, name, paths)
    packages = locked_packages(ROOT / "requirements-image.lock")
    write_sbom(release, folder / "zof-results-image.cdx.json", packages.values())
    names = vendored_names(folder / CLIENT)
    packages = locked_packages(ROOT / "requirements.lock")
    write_sbom(release, folder / "zof-results-client.cdx.json", (packages[name] for name in names))
    write_checksums(folder)


def write_archive(release: Release, folder: Path, name: str, paths: Iterable[str]) -> None:
    """Write the paths of the commit as a compressed tar file without the time of its creation."""
    prefix = f"zof-results-{name}-{release.version}"
    tar = run("git", "archive", f"--prefix={prefix}/", release.commit, "--", *paths)
    (folder / f"{prefix}.tar.gz").write_bytes(gzip.compress(tar, mtime=int(release.time)))


def write_npm_package(source: Path, folder: Path, time: str) -> Path:
    """Write the tarball of an npm package, as `npm pack` does, and return its path."""
    manifest = json.loads((source / "package.json").read_text(encoding="utf-8"))
    paths = [source / name for name in ("package.json", "README.md", *manifest["files"])]
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in (*paths, ROOT / "LICENSE"):
            data = path.read_bytes()
            member = tarfile.TarInfo(f"package/{path.name}")
            member.size, member.mtime = len(data), int(time)
            archive.addfile(member, io.BytesIO(data))
    name = manifest["name"].removeprefix("@").replace("/", "-")
    target = folder / f"{name}-{manifest['version']}.tgz"
    target.write_bytes(gzip.compress(content.getvalue(), mtime=int(time)))
    return target


def locked_packages(lock: Path) -> Mapping[str, str]:
    """Return the requirement of each package in a lock file, with its hashes, by its name."""
    found = re.findall(r"^(([\w.-]+)==.*(?:\n {4}--hash=.*)*)", lock.read_text(encoding="utf-8"), re.MULTILINE)
    return {name: requirement for requirement, name in found}


def vendored_names(client: Path) -> list[str]:
    """Return the names of the packages that the client archive contains, without that of the project."""
    with zipfile.ZipFile(client) as archive:
        metadata = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    names = (re.search(r"^Name: (.+)$", text, re.MULTILINE) for text in metadata)
    return sorted(name[1].lower() for name in names if name and name[1] != "zof-results")


def write_sbom(release: Release, target: Path, requirements: Iterable[str]) -> None:
    """Write the CycloneDX document of locked requirements, with their hashes."""
    command: list[str | Path] = [
        PROGRAMS / "cyclonedx-py", "requirements", "--pyproject", ROOT / "pyproject.toml",
        "--index-url", "https://pypi.org/simple", "--output-reproducible", "-",
    ]  # fmt: skip
    document = json.loads(run(*command, env=release.environment, text="\n".join(requirements)))
    for component in document["components"]:
        component.pop("description", None)  # repeats the line of the requirement with all hashes
    target.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_checksums(folder: Path) -> None:
    """Write SHA256SUMS, which `sha256sum --check` reads."""
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="ascii")
    for line in lines:
        log(line.rstrip())


def git(*arguments: str) -> str:
    """Return the output of git in the repository."""
    return run("git", *arguments).decode().strip()


def run(*command: str | Path, env: Mapping[str, str] | None = None, text: str = "", cwd: Path = ROOT) -> bytes:
    """Return the output of a program that reads this text. Raise ReleaseError with all output if it fails."""
    done = subprocess.run(command, cwd=cwd, env=env, input=text.encode(), capture_output=True, check=False)
    if done.returncode:
        printed = (done.stdout + done.stderr).decode(errors="replace")
        raise ReleaseError(f"{' '.join(map(str, command))}: failed with exit code {done.returncode}\n{printed}")
    return done.stdout


def log(message: str) -> None:
    """Write a line about the progress."""
    sys.stderr.write(f"release: {message}\n")


def main() -> None:
    """Check the commit, and replace dist/release by the files of the release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("tag", metavar="TAG", nargs="?")
    arguments = parser.parse_args()
    release = check(arguments.tag)
    if arguments.check:
        log(f"commit {release.commit[:10]} can be released as v{release.version}")
        return
    target = ROOT / "dist" / "release"
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        build(release, Path(folder))
        shutil.rmtree(target, ignore_errors=True)
        Path(folder).chmod(0o755)
        shutil.copytree(folder, target)
    target.with_name("release-notes.md").write_text(release.notes, encoding="utf-8")
    log(f"written to {target.relative_to(ROOT)}; the text is in dist/release-notes.md")


if __name__ == "__main__":
    try:
        main()
    except ReleaseError as error:
        sys.exit(f"release: {error}")
