"""`make test-compose`: run compose.yaml with an engine of its own, and the first requests of README against it.

By hand only, because it needs root, and takes minutes. The images are pulled, or made from Debian packages.
"""

import os
import sys

from tests.compose.engine import EngineUnavailable, missing_packages, run_in_namespaces


def main() -> None:
    if missing := missing_packages():
        sys.exit(f"test-compose: not run, because these Debian packages are missing: {' '.join(missing)}")
    if os.geteuid() != 0:
        sys.exit("test-compose: not run, because it needs root")
    try:
        sys.exit(run_in_namespaces("tests.compose.isolated"))
    except EngineUnavailable as error:
        sys.exit(f"test-compose: not run: {error}")


if __name__ == "__main__":
    main()
