"""Writes more into a folder than it takes, and prints the reason and what is left there."""

import asyncio
import sys
from pathlib import Path

from service.domain.errors import Unavailable
from service.storage import Storage
from tests.storing import write


def main(folder: Path) -> None:
    try:
        asyncio.run(write(Storage(folder.as_uri()), "exports/7/exp_1.csv", bytes(20 * 2**20)))
    except Unavailable as error:
        print(f"{error}; left: {[path for path in folder.rglob('*') if path.is_file()]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
