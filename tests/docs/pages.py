"""The pages whose commands tests execute, in the order of a reader."""

from typing import Final

# With a local stack.
PAGES_OF_USERS: Final = (
    "README.md",
    "docs/tutorial.md",
    "docs/reports.md",
    "docs/guides/ci.md",
    "docs/guides/matrix-and-shards.md",
    "docs/guides/command-line.md",
    "docs/guides/files.md",
    "docs/guides/webhooks.md",
    "docs/guides/trusted-publishers.md",
    "docs/gates.md",
    "docs/reference/api.md",
)
# With the servers of an operator, in one shell.
PAGES_OF_OPERATORS: Final = (
    "docs/guides/production.md",
    "docs/guides/sign-in.md",
    "docs/guides/broker.md",
    "docs/operations/monitoring.md",
    "docs/operations/alerts.md",
    "docs/operations/dead-letters.md",
    "docs/operations/keys-and-members.md",
    "docs/operations/retention.md",
    "docs/guides/upgrade.md",
    "docs/guides/backup-and-restore.md",
)
