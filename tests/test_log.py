"""Tests of log lines."""

import json
import subprocess
import sys


def test_text_with_invalid_characters_is_logged() -> None:
    """A header can contain any bytes, and an error message can repeat them."""
    call = "log.info('seen', header=b'a\\xff'.decode('ascii', 'surrogateescape'))"
    code = f"from service.log import log, set_up; set_up(); {call}"
    logged = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr
    assert json.loads(logged)["header"] == "a\udcff"
