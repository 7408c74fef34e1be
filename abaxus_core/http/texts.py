"""How long the texts of the catalogue may be, once for all resources."""

from typing import Annotated, TypeAlias

import msgspec

from abaxus_core.http import codec

Name: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Description: TypeAlias = Annotated[str, msgspec.Meta(max_length=2_000)]
Reference: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
"""A name that somebody else gave: a provider's id, a property of an event."""
Value: TypeAlias = Annotated[str, msgspec.Meta(max_length=500)]
Key: TypeAlias = Annotated[str, msgspec.Meta(pattern=codec.CALLER_ID_PATTERN)]
"""What the caller calls a metric or a feature."""
