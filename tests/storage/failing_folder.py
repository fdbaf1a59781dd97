"""Write more bytes than a folder can store, and print the error and the remaining files."""

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
        print(f"{error}; remaining: {[path for path in folder.rglob('*') if path.is_file()]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
