"""Untrusted runs: runs that anybody can upload with a key of the role public, which isn't secret.

Such a run has an ID that begins with `untrusted:`, and no other role can create or change it. A trusted job can promote
the run. It then keeps its ID, and no upload can change it.
"""

from datetime import timedelta
from typing import Final

PREFIX: Final = "untrusted:"  # of the run IDs
# A colon can't be part of the name of a branch in Git. So a branch of a fork never equals a branch of the repository,
# and a promoted run never becomes part of the baseline of other runs.
BRANCH_PREFIX: Final = "fork:"
LIFETIME: Final = timedelta(days=14)  # of a run that isn't promoted, since its first upload
MAX_AGE: Final = timedelta(days=1)  # of its completion at the receipt of a report; retention has the same margin
# The same answer for each refused request of a public key, so that it doesn't tell what exists.
REFUSAL: Final = (
    "the untrusted upload was refused. Its run ID must begin with 'untrusted:' (`report --untrusted`), its project must"
    " be that of the key and allow untrusted uploads, and nobody has promoted its run"
)


def is_untrusted_id(run_id: str) -> bool:
    """Return whether only public keys can create a run with this ID."""
    return run_id.startswith(PREFIX)


def branch_of_fork(branch: str) -> str:
    """Return the name of a branch as an untrusted run stores it."""
    return branch if branch.startswith(BRANCH_PREFIX) else BRANCH_PREFIX + branch
