"""Fast tests of what `make test-compose` needs."""

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.compose.substitutes import SUBSTITUTES

ROOT = Path(__file__).parents[2]


def test_missing_programs_are_named_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.compose"],
        cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("test-compose: not run, because these Debian packages are missing: docker-cli")
    assert done.stderr.count("\n") == 1


def test_every_image_has_a_substitute_except_for_the_profile_s3() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"].values()
    used = {each["image"] for each in services if "s3" not in each.get("profiles", [])} - {
        "${IMAGE_NAME:-zof-results}:${IMAGE_TAG:-local}"
    }
    used |= set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    assert {substitute.image.name for substitute in SUBSTITUTES} == {f"docker.io/library/{name}" for name in used}
