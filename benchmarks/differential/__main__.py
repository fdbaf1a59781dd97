"""Compare the responses of this checkout with those of another revision.

    python -m benchmarks.differential [--revision HEAD] [--walks 5000] [--seed 1]

Both versions serve the same data, each from its own copy of the database with its own schema. Random walks read single
objects, and lists to their end, with keys of the organization and of one project. A third walk alternates between the
versions, so that each continues at the cursors of the other. Items, their order, errors, and headers must be equal; a
page can end at another item. Prints the first differences, and exits with 1 if there are any.
"""

import argparse
import asyncio
import time
from collections import Counter
from contextlib import ExitStack
from typing import Final

from benchmarks.differential.data import fill
from benchmarks.differential.requests import read_known
from benchmarks.differential.walks import Difference, compare_walks
from benchmarks.query_load import serving
from benchmarks.revisions import code_of, copy_for_checkout, create_version
from benchmarks.servers import servers

_SHOWN: Final = 5


def main() -> None:
    """Fill the databases, walk, and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--revision", default="HEAD", help="default: HEAD, to compare uncommitted changes with it")
    parser.add_argument("--walks", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with servers() as running, code_of(chosen.revision) as code, ExitStack() as stack:
        old = create_version(chosen.revision, code, running.database_url)
        settings = {
            "RESULTS_AMQP_URL": running.amqp_url,
            "RESULTS_ARTIFACTS_URL": (running.folder / "artifacts").as_uri(),
            "RESULTS_PUBLIC_URL": "http://results.example",
            "RESULTS_LOG_LEVEL": "error",
        }
        started = time.monotonic()
        keys = fill(old, settings)
        new = copy_for_checkout(old)
        known = asyncio.run(read_known(old.database_url))
        print(f"filled {known.describe()} in {time.monotonic() - started:.0f} s", flush=True)
        sides = [stack.enter_context(serving(each.database_url, "", code=each.code, **settings)) for each in (old, new)]
        started = time.monotonic()
        walked = asyncio.run(compare_walks(sides, keys, known, chosen.walks, chosen.seed))
        print(f"{walked.describe()} in {time.monotonic() - started:.0f} s")
    _report(walked.differences)


def _report(differences: list[Difference]) -> None:
    """Print the first differences, and exit with 1 if there are any."""
    for difference in differences[:_SHOWN]:
        print(difference.describe())
    print(f"{len(differences)} differences")
    for kind, count in Counter(difference.kind for difference in differences).most_common():
        print(f"  {kind}: {count}")
    if differences:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
