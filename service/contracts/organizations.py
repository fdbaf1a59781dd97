"""The slug of an organization."""

from typing import Annotated

from pydantic import StringConstraints

from service.contracts.validation import SLUG

Slug = Annotated[str, StringConstraints(pattern=SLUG)]
