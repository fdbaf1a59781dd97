"""Tests that the generated documents are current."""

import subprocess
import sys

from tests.docs.blocks import ROOT


def test_generated_documents_are_current() -> None:
    subprocess.run([sys.executable, str(ROOT / "scripts" / "write-docs"), "--check"], cwd=ROOT, check=True)
