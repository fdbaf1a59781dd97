"""What a machine needs for the tests of the image, and how a build reaches its package index."""

import configparser
from pathlib import Path

import pytest

from tests.containers import engine


def test_missing_programs_and_rights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("buildah", "runc"):
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert engine.missing_requirements() == "root, podman, mmdebstrap"


def test_build_uses_the_package_index_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://index.test/file\nproxy = http://proxy.test\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.test/100%25")  # a variable takes precedence over a file
    written = configparser.RawConfigParser()
    written.read_string(engine.pip_configuration())
    assert written["global"]["index-url"] == "https://index.test/100%25"
    assert written["global"]["proxy"] == "http://proxy.test"
    assert written["global"]["cert"] == "/etc/ssl/certs/ca-certificates.crt"
