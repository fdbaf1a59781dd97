"""The base of the bodies that change some fields of an object."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator


class Patch(BaseModel):
    """At least one field to change. Absent fields keep their values."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="after")
    def _require_a_field(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("the body must contain at least one field to change")
        return self

    def changes(self) -> dict[str, Any]:
        """Return the fields that the request contains."""
        return self.model_dump(include=self.model_fields_set)
