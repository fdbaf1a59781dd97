"""SQLSTATE codes and classes, grouped by how a caller can respond.

A code that no group contains is an error of the server, not of the data: it is read-only, has another password, lacks a
table, reports a damaged disk or a lost node (58), or an error that it can't classify (XX000).
"""

from typing import Final

UNCLASSIFIED: Final = "XX000"
LOCK_TIMEOUT: Final = "55P03"
CONFLICTS: Final = ("40001", "40P01", LOCK_TIMEOUT)
CONNECTION_FAILURES: Final = "08"
UNREACHABLE: Final = (CONNECTION_FAILURES, "57")  # the server closes the connection, starts, or stops
REFUSED: Final = ("28", "53")  # it rejects the login, or has no resources
CONNECTION_ERRORS: Final = (*UNREACHABLE, *REFUSED)
DATA_ERRORS: Final = (
    "22000",  # raised by the driver itself, for a value that it can't encode
    "22001", "22003", "22007", "22008", "22021", "22P02", "22P05",  # values that a column can't store
    "23",  # violated constraints
    "54",  # values that exceed a limit of PostgreSQL, such as the size of an index entry
)  # fmt: skip
UNSUPPORTED: Final = "0A000"  # a statement that PostgreSQL, or Citus on distributed tables, never executes

# Errors that an operator must fix
LOGINS: Final = ("28000", "28P01")
MISSING_DATABASE: Final = "3D000"
MISSING_ROLE: Final = "22023"
MISSING_TABLE: Final = "42P01"
MISSING_RIGHT: Final = "42501"
