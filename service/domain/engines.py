"""The names of the database engines."""

from typing import Literal

EngineName = Literal["postgresql", "citus"]
