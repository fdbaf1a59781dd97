"""Tests that the generated documents are current."""

import re
import subprocess
import sys

from tests.docs.blocks import PAGES, ROOT

GENERATED = re.compile(r"<!-- (figures[^:]*): written by `make docs` -->.*?<!-- end of \1 -->", re.DOTALL)


def test_generated_documents_are_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "write-docs"), "--check"], cwd=ROOT, check=True)


def test_measurements_with_a_budget_are_written_from_the_figures() -> None:
    pages = [page for page in PAGES if "adr" not in page.parts]
    written_by_hand = {page: GENERATED.sub("", page.read_text()) for page in pages}
    assert [page for page, text in written_by_hand.items() if re.search(r"^\|.*\| Budget \|", text, re.MULTILINE)] == []
