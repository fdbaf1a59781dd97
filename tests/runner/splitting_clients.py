"""A client whose command `split` follows the rules of the real one without a server, and that notes its requests."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from service.splits.model import select_by_name

_PROGRAM: Final = """\
import json, os, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from service.splits.model import select_by_name
arguments = sys.argv[1:]
assert "--expect-results" in arguments
options = dict(argument[2:].split("=", 1) for argument in arguments[1:] if "=" in argument)
items = sys.stdin.read().splitlines()
index, total = options.get("index", 1), options.get("total", 2)
request = {{"command": arguments[0], "options": options, "items": items, "folder": os.getcwd()}}
Path({folder!r}, f"request-{{os.getpid()}}.json").write_text(json.dumps(request))
sys.stderr.write({message!r})
if not items:
    sys.exit("stdin: must contain at least one item, one per line")
if {code}:
    sys.exit({code})
print({printed!r}, end="")
for item in select_by_name(items, int(total), int(index)):
    print(item)
"""
ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True)
class SplittingClient:
    """A client in a folder."""

    folder: Path
    message: str = ""
    code: int = 0
    printed: str = ""

    def variables(self) -> dict[str, Any]:
        """Write the program, and return the variables with which tools start it."""
        self.folder.mkdir()
        program = self.folder / "the client.py"
        program.write_text(
            _PROGRAM.format(
                root=str(ROOT), folder=str(self.folder), message=self.message, code=self.code, printed=self.printed
            )
        )
        return {"RESULTS_CLIENT": json.dumps([sys.executable, str(program)])}

    @property
    def requests(self) -> list[Any]:
        return [json.loads(path.read_text()) for path in self.folder.glob("request-*.json")]


def part_of(items: list[str], number: int, total: int = 2) -> list[str]:
    """Return the items of a part, of which at least one must exist."""
    part = select_by_name(items, total, number)
    assert part
    return part
