"""What a line of the log holds."""

import json
import subprocess
import sys


def test_a_text_that_is_none_costs_no_line() -> None:
    """A header may be any bytes, and an error that repeats them is logged."""
    said = "log.info('seen', header=b'a\\xff'.decode('ascii', 'surrogateescape'))"
    code = f"from service.log import log, set_up; set_up(); {said}"
    logged = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stderr
    assert json.loads(logged)["header"] == "a\udcff"
