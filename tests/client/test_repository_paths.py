"""Paths of files in reports become paths relative to the root of the repository."""

from pathlib import Path

import pytest

from service.client.checkout import RepositoryPaths
from service.client.gate_options import select_paths


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with the folders web and api, and web as the working directory."""
    (tmp_path / ".git").mkdir()
    for name in ("tests/both.py", "web/tests/both.py", "web/tests/shop.py", "api/tests/pay.py", "api/api/nested.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "web")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("tests/shop.py", "web/tests/shop.py"),
        ("./tests/shop.py", "web/tests/shop.py"),
        ("tests\\shop.py", "web/tests/shop.py"),
        ("tests/both.py", "web/tests/both.py"),
        ("web/tests/shop.py", "web/tests/shop.py"),
        ("api/tests/pay.py", "api/tests/pay.py"),
        ("com/example/Shop.java", "com/example/Shop.java"),
        ("\x00", "\x00"),
        ("x" * 5_000, "x" * 5_000),
    ],
)
def test_file_of_the_working_directory_is_relative_to_the_root(checkout: Path, file: str, path: str) -> None:
    assert RepositoryPaths.of_checkout({}).find(file, "shop") == path


def test_absolute_file_is_relative_to_the_root(checkout: Path) -> None:
    paths = RepositoryPaths.of_checkout({})
    assert paths.find(f"{checkout}/api/tests/pay.py", "shop") == "api/tests/pay.py"
    assert paths.find("/builds/api/tests/pay.py", "shop") == "/builds/api/tests/pay.py"


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("tests/pay.py", "api/tests/pay.py"),
        ("api/tests/pay.py", "api/tests/pay.py"),
        ("api/nested.py", "api/api/nested.py"),
        ("generated.py", "api/generated.py"),
    ],
)
def test_prefix_is_prepended_unless_the_file_exists_only_at_its_own_path(checkout: Path, file: str, path: str) -> None:
    assert RepositoryPaths.of_checkout({"": "api/"}).find(file, "shop") == path


def test_working_folder_can_start_with_a_dot(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / ".ci" / "tests").mkdir(parents=True)
    (checkout / ".ci" / "tests" / "ci.py").touch()
    monkeypatch.chdir(checkout / ".ci")
    assert RepositoryPaths.of_checkout({}).find("tests/ci.py", "shop") == ".ci/tests/ci.py"


def test_stated_prefix_is_normalized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = select_paths(["./web", "pay=api//"])
    assert paths.find("web/cart.js", "shop") == "web/cart.js"
    assert paths.find("api/pay.js", "pay") == "api/pay.js"


def test_root_is_a_stated_prefix(checkout: Path) -> None:
    assert RepositoryPaths.of_checkout({}).find("tests/both.py", "shop") == "web/tests/both.py"
    assert select_paths(["."]).find("tests/both.py", "shop") == "tests/both.py"


def test_project_has_its_own_prefix(checkout: Path) -> None:
    paths = RepositoryPaths.of_checkout({"": "web", "pay": "api"})
    assert [paths.find("a.py", project) for project in ("pay", "shop")] == ["api/a.py", "web/a.py"]


def test_without_a_checkout_only_the_prefix_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").touch()
    assert RepositoryPaths.of_checkout({}).find("a.py", "shop") == "a.py"
    assert RepositoryPaths.of_checkout({"": "web"}).find("a.py", "shop") == "web/a.py"
    assert RepositoryPaths.of_checkout({"": "web/"}).find("web/a.py", "shop") == "web/a.py"  # as `report` stores it
