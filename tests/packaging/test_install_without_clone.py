"""The walk of a reader who has Python, but no clone and no RabbitMQ: install, start, send requests, stop, delete."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.request import urlopen

import pytest

from service.dev.accounts import erase
from service.dev.ports import choose_port
from service.dev.processes import wait_until
from tests.builds import ROOT, build_wheel, write_constraints
from tests.docs.blocks import Command, blocks, commands
from tests.docs.shell import differences, execute

# Everything that the reader has in PATH, in addition to Python and uv.
PROGRAMS: Final = (
    "bash", "cat", "curl", "dirname", "env", "head", "realpath", "rm", "setpriv", "sh", "true", "uname", "unshare",
)  # fmt: skip
TIMEOUT_S: Final = 300
STOP_TIMEOUT_S: Final = 60
LAST_LINE: Final = re.compile(r"^  (rm -r .+)$", re.MULTILINE)


def install_commands(page: str) -> dict[str, str]:
    """Return the commands that a page shows for each installer, the last of which starts the stack."""
    shown = [block.code for block in blocks(page) if "'zof-results[stack]'" in block.code]
    with_uvx, with_pip = "\n".join(shown).strip().split("\n\n")
    return {"uvx": with_uvx, "pip": with_pip}


@dataclass
class Reader:
    """An empty folder, a PATH with only a few programs, and installers that use only the wheels of one folder."""

    folder: Path
    variables: Mapping[str, str]
    output: str = ""
    addresses: dict[str, str] = field(default_factory=dict)

    @contextmanager
    def running(self, command: str) -> Iterator[None]:
        """Start the stack as in a terminal, and stop it with Ctrl-C."""
        file = self.folder.with_suffix(".output")
        with file.open("wb") as output:
            shell = subprocess.Popen(
                ["sh", "-c", command], cwd=self.folder, env=dict(self.variables), stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            wait_until(lambda: shell.poll() is not None or LAST_LINE.search(file.read_text()) is not None, TIMEOUT_S)
            self.output = file.read_text()
            assert LAST_LINE.search(self.output), self.output
            self.addresses = dict(re.findall(r"(RESULTS_URL|RESULTS_API_KEY)=(\S+)", self.output))
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGINT)
            shell.wait(STOP_TIMEOUT_S)

    def printed_lines(self) -> list[Command]:
        """Return the lines that the stack prints for another terminal."""
        lines = re.findall(r"^  ((?:export RESULTS_URL|alias) ?.*)$", self.output, re.MULTILINE)
        assert len(lines) == 2, self.output
        return list(map(Command, ("shopt -s expand_aliases", *lines)))

    def page(self, path: str) -> bytes:
        with urlopen(self.addresses["RESULTS_URL"] + path, timeout=30) as response:
            return bytes(response.read())

    def processes(self) -> list[str]:
        """Return the command lines of all processes that the reader has started."""
        mark, found = f"HOME={self.variables['HOME']}\0".encode(), []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["3.11", "3.13"])
def python(request: pytest.FixtureRequest) -> Path:
    found = subprocess.run(
        [ROOT / "scripts" / "find-python", request.param], capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip(f"Python {request.param} is not installed")
    return Path(found.stdout.strip())


@pytest.fixture(scope="module")
def wheelhouse(python: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the wheels of its locked dependencies for this Python."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    shutil.copy(wheel, folder)
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    constraints = write_constraints(folder / "versions.txt")
    download: list[str | Path] = [
        folder / "venv" / "bin" / "pip", "download", "--quiet", "--only-binary", ":all:", "--constraint", constraints,
        "--dest", folder,
    ]  # fmt: skip
    if subprocess.run([*download, "--no-deps", "click"], check=False, capture_output=True).returncode:
        pytest.skip("the package index is not available")
    subprocess.run([*download, f"{wheel}[stack]"], check=True)
    return folder


@pytest.fixture
def reader(python: Path, wheelhouse: Path, tmp_path: Path) -> Iterator[Reader]:
    programs, folder, home = tmp_path / "programs", tmp_path / "an empty folder", tmp_path / "home"
    for new in (programs, folder, home):
        new.mkdir()
    (programs / "python3").symlink_to(python)
    for name in PROGRAMS:
        if found := shutil.which(name):
            (programs / name).symlink_to(found)
    uv = Path(shutil.which("uv") or ROOT / ".tools" / "bin" / "uv")
    (programs / "uvx").symlink_to(uv.with_name("uvx"))
    variables = {
        "PATH": str(programs), "HOME": str(home), "RESULTS_HTTP_PORT": str(choose_port()),
        "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheelhouse),
        "UV_NO_CONFIG": "1", "UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheelhouse), "UV_OFFLINE": "1",
        "UV_PYTHON": str(python), "UV_PYTHON_DOWNLOADS": "never",
    }  # fmt: skip
    yield Reader(folder, variables)
    if (database := folder / ".dev" / "postgres").exists():
        erase(database)


def test_pages_show_the_same_commands() -> None:
    pages = [(ROOT / name).read_text() for name in ("README.md", "docs/tutorial.md")]
    assert install_commands(pages[0]) == install_commands(pages[1])


@pytest.mark.nightly
@pytest.mark.parametrize("installer", ["uvx", "pip"])
def test_reader_without_a_clone_installs_starts_and_deletes_the_stack(
    reader: Reader, wheel: Path, installer: str
) -> None:
    readme = (ROOT / "README.md").read_text()
    start = install_commands(readme)[installer]
    first_requests = [
        *commands(readme.partition("## First requests")[2]),
        Command("zof-results export --run-id ci-43 -o results.parquet", "…install the extra parquet…"),
        Command("echo $?", "1"),
    ]
    version = wheel.name.split("-")[1]
    terminal = {"PATH": reader.variables["PATH"]}

    with reader.running(start):
        assert "embedded queue" in reader.output
        done = execute(
            [*reader.printed_lines(), Command("zof-results --version", f"…{version}…"), *first_requests],
            reader.folder,
            terminal,
        )
        assert not (problems := differences(done)), "\n\n".join(problems)
        assert b"Sign in" in reader.page("/console/sign-in")
        assert b"swagger-ui" in reader.page("/docs")
        assert len(reader.page(f"/client/{version}.pyz")) > 1_000_000
        assert len(reader.processes()) >= 4
    assert wait_until(lambda: not reader.processes(), STOP_TIMEOUT_S), reader.processes()

    with reader.running(start):
        assert "sample runs" not in reader.output
        again = execute(
            [*reader.printed_lines(), Command("zof-results runs show ci-43")], reader.folder, reader.variables
        )
        assert not (problems := differences(again)), "\n\n".join(problems)
    deletion = LAST_LINE.search(reader.output)
    assert deletion is not None
    subprocess.run(["sh", "-c", deletion[1]], cwd=reader.folder, check=True)
    assert not (reader.folder / ".dev").exists()
    assert not reader.processes()
