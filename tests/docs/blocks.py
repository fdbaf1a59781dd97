"""Code blocks of Markdown pages: the commands in them, with the output that the page shows.

Blocks of the language `console` contain commands after `$ ` and their output, in which `…` replaces any text. Blocks of
the language `sh` are scripts. The comment `<!-- not run: reason -->` before a block excludes it. After
`<!-- file: name -->`, the reader saves the block as this file.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

_BLOCK = re.compile(
    r"^(?:<!-- (?P<kind>not run|file): (?P<note>.*?) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)^```$", re.M | re.S
)
_HEREDOC = re.compile(r"<<'?(\w+)'?$")


class Block(NamedTuple):
    """A code block. `kind` is the kind of the comment before it, and `note` the text of the comment."""

    language: str
    code: str
    kind: str | None = None
    note: str = ""

    @property
    def is_run(self) -> bool:
        return self.language in ("console", "sh") and self.kind != "not run"


class Command(NamedTuple):
    """A command, and the output that the page shows. An empty output means any output."""

    text: str
    output: str = ""


def blocks(page: str) -> Iterator[Block]:
    """Yield the code blocks of a page."""
    for found in _BLOCK.finditer(page):
        yield Block(found["language"], found["code"], found["kind"], found["note"] or "")


def commands(page: str) -> Iterator[Command]:
    """Yield the commands of all blocks that are run, and a command that writes each file of the page."""
    for block in blocks(page):
        if block.kind == "file":
            yield Command(f"cat > {block.note} <<'END OF FILE'\n{block.code}END OF FILE")
        elif block.is_run:
            yield from (
                _console(block.code.splitlines()) if block.language == "console" else [Command(block.code.strip())]
            )


def _console(lines: list[str]) -> Iterator[Command]:
    text, terminator = "", None
    output: list[str] = []
    for line in lines:
        is_continued = terminator is not None or text.endswith("\\")
        if not is_continued and line.startswith("$ "):
            if text:
                yield Command(text, "\n".join(output).strip())
            text, output = line.removeprefix("$ "), []
        elif is_continued:
            text += f"\n{line}"
        else:
            output.append(line)
            continue
        if terminator is None and (heredoc := _HEREDOC.search(line)):
            terminator = heredoc[1]
        elif line == terminator:
            terminator = None
    yield Command(text, "\n".join(output).strip())


_VOLATILE = (
    (re.compile(r"\b(res|rcp|exp|evt|whk|dlv|rcv|qua|dec|art|case|key)_[0-9a-f]{16,}"), r"\1_ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "DATE"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"[\d,]+ bytes, sha256 [0-9a-f]+"), "SIZE"),
    (re.compile(r"\s+"), ""),
)


def is_like(shown: str, actual: str) -> bool:
    """Return whether the actual output is the one that the page shows, except for spaces, IDs, and times."""
    parts = (re.escape(_normalize(part)) for part in shown.split("…"))
    return re.fullmatch(".*".join(parts), _normalize(actual), re.DOTALL) is not None


def _normalize(text: str) -> str:
    for pattern, replacement in _VOLATILE:
        text = pattern.sub(replacement, text)
    return text
