"""The folder and the package that give pytest the plugin."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

from service.client import archive
from service.client.runner.evidence import install_probe
from service.splits.model import select_by_name
from service.version import find_version
from tests.builds import ROOT
from tests.runner.pytest_sessions import SUITES, run_session
from tests.runner.splitting_clients import SplittingClient, part_of

PACKAGE = ROOT / "integrations" / "pytest"
PLUGIN = ROOT / "service" / "client" / "runner" / "pytest_zof_results.py"
TESTS = "def test_pays(): assert 0\ndef test_ships(): pass\n"
SITES = {
    "oldest": ("python3.11", "pytest==7.0.*", "pytest-xdist==3.3.*", "pytest-cov==4.1.*", "pytest-rerunfailures==12.*")
}
SITES["newest"] = (sys.executable, "pytest", "pytest-xdist", "pytest-cov", "pytest-rerunfailures")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the files of the installed package."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=PACKAGE, check=True, capture_output=True)
    [wheel] = tmp_path.glob("dist/*.whl")
    folder = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as files:
        files.extractall(folder)
    return folder


def test_package_has_the_version_and_the_entry_point_of_the_probe(installed: Path, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.mkdir()
    install_probe(probe)

    found = [*distributions(path=[str(installed)]), *distributions(path=[str(probe)])]
    assert {each.metadata["Name"] for each in found} == {"pytest-zof-results"}
    assert [each.version for each in found] == [find_version()] * 2
    assert len(set(found[0].entry_points) | set(found[1].entry_points)) == 1
    for folder in (installed, probe):
        assert (folder / PLUGIN.name).read_bytes() == PLUGIN.read_bytes()
    assert tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["dependencies"] == ["pytest>=7.0"]


@pytest.mark.slow
@pytest.mark.parametrize("probe", [True, False])
def test_installed_package_and_probe_are_one_plugin(installed: Path, tmp_path: Path, probe: bool) -> None:
    paths = f"{tmp_path / 'probe'}{os.pathsep}{installed}"
    session = run_session(tmp_path, TESTS, "-x", quarantined=["test_pays"], probe=probe, PYTHONPATH=paths)

    assert session.files == ["evidence", "quarantines.json", "results", "upload.json"]
    assert session.statuses == {"test_pays": "failed", "test_ships": "passed"}
    assert (session.code, session.evidence["problems"], session.evidence["failed_tests"]) == (1, [], 1)


@pytest.mark.slow
def test_client_archive_installs_the_probe(tmp_path: Path) -> None:
    client, probe = tmp_path / "client.pyz", tmp_path / "made"
    archive.build(client)
    probe.mkdir()
    program = "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
    program += "from service.client.runner.evidence import install_probe; install_probe(Path(sys.argv[2]))"
    subprocess.run([sys.executable, "-I", "-S", "-c", program, client, probe], check=True)

    session = run_session(tmp_path, TESTS, probe=False, PYTHONPATH=str(probe))
    assert session.evidence["failed_tests"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("disabled", [("-p", "no:zof_results"), ("-p", "no:terminal"), ("-p", "no:junitxml")])
def test_other_plugins_can_be_disabled(tmp_path: Path, disabled: tuple[str, ...]) -> None:
    session = run_session(tmp_path, TESTS, *disabled, quarantined=["test_pays"])
    assert (session.code, session.evidence is None) == (1, "no:zof_results" in disabled)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("pytest",), ("coverage", "run", "-m", "pytest")])
def test_programs_that_only_start_pytest(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = str(Path(sys.executable).with_name(command[0]))
    session = run_session(tmp_path, TESTS, command=(program, *command[1:]))
    assert (session.code, session.evidence["problems"]) == (1, [])


@pytest.fixture(scope="module", params=SITES)
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with these versions of pytest and its plugins."""
    base, *packages = SITES[request.param]
    found = shutil.which(base)
    if found is None:
        pytest.skip(f"{base} isn't installed")
    folder = tmp_path_factory.mktemp("site")
    subprocess.run([found, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], check=True)
    return str(folder / "bin" / "python")


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_versions_of_pytest(python: str, tmp_path: Path, workers: tuple[str, ...]) -> None:
    quarantined = ["test_never_passes", "test_passes_at_last"]
    tests = (SUITES / "reruns.txt").read_text()
    session = run_session(tmp_path, tests, "-x", *workers, quarantined=quarantined, command=(python, "-m", "pytest"))

    expected = {"test_passes_at_last": "passed", "test_never_passes": "failed", "test_with_broken_setup": "error"}
    attempts = {name: len(result["attempts"]) for name, result in session.results.items()}
    assert (session.statuses, attempts) == (expected, dict(zip(expected, (3, 2, 2), strict=True)))
    assert session.results["test_passes_at_last"]["attempts"][1]["failure"]["message"].startswith(
        "AssertionError: attempt 2"
    )
    assert session.evidence["failed_tests"] == 2
    assert session.code == (2 if workers else 1)


@pytest.mark.nightly
def test_statuses_in_versions_of_pytest(python: str, tmp_path: Path) -> None:
    tests = (SUITES / "all.txt").read_text()
    session = run_session(tmp_path, {"test_all.py": tests}, "--doctest-modules", command=(python, "-m", "pytest"))

    other = run_session(tmp_path / "new", {"test_all.py": tests}, "--doctest-modules")
    assert session.statuses == other.statuses
    assert session.evidence["problems"] == other.evidence["problems"]


@pytest.mark.nightly
def test_coverage_threshold_in_versions_of_pytest(python: str, tmp_path: Path) -> None:
    files = {"test_shop.py": TESTS, "shop.py": "if 0:\n    pay()\n"}
    arguments = ("--cov=.", "--cov-fail-under=100")
    session = run_session(tmp_path, files, *arguments, quarantined=["test_pays"], command=(python, "-m", "pytest"))
    assert session.evidence["problems"] != []


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [(), ("-n2",)])
@pytest.mark.parametrize(("message", "code"), [("", 0), ("the plan lacks 'test_c.py'", 3)])
def test_splits_in_versions_of_pytest(
    python: str, tmp_path: Path, workers: tuple[str, ...], message: str, code: int
) -> None:
    files = [f"test_{letter}.py" for letter in "abc"]
    tests = {file: f"def test_of_{file[5]}(): pass\n" for file in files}
    client = SplittingClient(tmp_path / "client", message, code)
    session = run_session(
        tmp_path, tests, "--zof-split=1/2", *workers, command=(python, "-m", "pytest"), **client.variables()
    )

    assert session.statuses == {f"test_of_{file[5]}": "passed" for file in part_of(files, 1) if not code}
    assert (session.code == 0, message in session.output) == (code == 0, True), session.output


@pytest.mark.nightly
@pytest.mark.parametrize("workers", [(), ("-n2",)])
def test_empty_part_in_versions_of_pytest(python: str, tmp_path: Path, workers: tuple[str, ...]) -> None:
    tests = {"test_a.py": TESTS}
    [empty] = (number for number in (1, 2) if not select_by_name(tests, 2, number))
    client = SplittingClient(tmp_path / "client")
    arguments = (f"--zof-split={empty}/2", *workers)
    session = run_session(tmp_path, tests, *arguments, command=(python, "-m", "pytest"), **client.variables())
    assert (session.code, session.evidence["problems"], session.results) == (0, [], {}), session.output
