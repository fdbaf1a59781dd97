"""Tests of `make prose`: it rejects other words for a term of the glossary, and passes ordinary English."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

AVOIDED = (ROOT / ".codespell" / "avoid.txt").read_text().splitlines()
WORDS = [line.partition("->")[0] for line in AVOIDED]
ORDINARY = """\
We hold the lock for a moment, look at the whole page, and take the next piece if the reader wants it. A worker that
died may come back at once: it asks again, gets the same answer, and goes on. Nobody else is told, and whatever is left
over stays in its place.
"""


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    return tmp_path / "page.md"


def prose(path: Path) -> str:
    """Return the findings of the command of `make prose` in a file."""
    recipe = (ROOT / "Makefile").read_text().partition("\nprose:")[2].splitlines()[1]
    _, command, arguments = recipe.partition("/codespell ")
    assert command, recipe
    options = arguments.replace("$(PATHS)", str(path)).split()
    done = subprocess.run(
        [Path(sys.executable).with_name("codespell"), *options], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not done.stderr, done.stderr
    return done.stdout


def test_ordinary_paragraph_passes(text_file: Path) -> None:
    text_file.write_text(ORDINARY)
    assert prose(text_file) == ""


def test_each_avoided_word_is_found_with_its_replacement(text_file: Path) -> None:
    text_file.write_text("".join(f"The {word} of a run\n" for word in WORDS))
    findings = prose(text_file).splitlines()
    assert [finding.partition(" ==> ")[0] for finding in findings] == [
        f"{text_file}:{number}: {word}" for number, word in enumerate(WORDS, 1)
    ]
    assert all(finding.partition(" ==> ")[2] for finding in findings)


def test_parts_of_names_are_words(text_file: Path) -> None:
    word = next(word for word in WORDS if word.isalpha())
    text_file.write_text(f"{word}_of_run = {word.title()}OfRun\n")
    assert len(prose(text_file).splitlines()) == 2


def test_british_spelling_is_found(text_file: Path) -> None:
    text_file.write_text("the colour of a run\n")  # codespell:ignore colour - the input of the test
    assert "color" in prose(text_file)
