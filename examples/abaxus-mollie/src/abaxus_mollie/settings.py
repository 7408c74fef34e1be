"""What an operator says of a Mollie profile, and how each setting is known to be malformed."""

import re
from typing import Final, Literal

import msgspec

from abaxus_core.plugin.settings import Token

DESCRIPTION_LENGTH_MAX: Final = 255

_KEY: Final = re.compile(r"(?:live|test)_[A-Za-z0-9]{30,}")
_PROFILE: Final = re.compile(r"pfl_[A-Za-z0-9]{1,64}")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """MOLLIE_API_KEY, MOLLIE_PROFILE_ID, MOLLIE_DESCRIPTION."""

    api_key: Token
    profile_id: str
    description: str = "Invoice"

    def __post_init__(self) -> None:
        if _KEY.fullmatch(self.api_key.reveal()) is None:
            raise ValueError("MOLLIE_API_KEY must be an API key of Mollie, live_… or test_…")
        if _PROFILE.fullmatch(self.profile_id) is None:
            raise ValueError("MOLLIE_PROFILE_ID must be the id of a profile of Mollie, pfl_…")
        if not 0 < len(self.description) <= DESCRIPTION_LENGTH_MAX:
            raise ValueError(
                f"MOLLIE_DESCRIPTION must have 1 to {DESCRIPTION_LENGTH_MAX} characters"
            )

    @property
    def mode(self) -> Literal["live", "test"]:
        """The key is of one mode; Mollie has no other host for tests."""
        return "live" if self.api_key.reveal().startswith("live_") else "test"
