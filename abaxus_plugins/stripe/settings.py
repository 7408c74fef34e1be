"""What an operator says of a Stripe account, and how each setting is known to be malformed."""

import re
from typing import Final, Literal, Self

import msgspec

from abaxus_core.plugin.settings import Secret

API_VERSION: Final = "2026-10-28.endive"
"""The version that wire.py and outcomes.py were written for."""

_KEY: Final = re.compile(r"(?:sk|rk)_(test|live)_[A-Za-z0-9_]{1,247}")
_WEBHOOK_SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]{8,250}")
_VERSION: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:\.[a-z]{1,32})?")


class SecretKey(Secret):
    """`sk_live_…`, `sk_test_…`, or a restricted key, `rk_…`; it tells its mode."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if _KEY.fullmatch(text) is None:
            raise ValueError("must be a secret or restricted key of Stripe, sk_… or rk_…")
        super().__init__(text)

    @property
    def live(self) -> bool:
        return self.reveal().split("_")[1] == "live"


class WebhookSecret(Secret):
    """`whsec_…`: of one endpoint, under Developers, Webhooks."""

    __slots__ = ()

    def __init__(self, text: str) -> None:
        if _WEBHOOK_SECRET.fullmatch(text) is None:
            raise ValueError("must be the signing secret of a webhook endpoint, whsec_…")
        super().__init__(text)


class ApiVersion(str):
    """`2026-10-28.endive`"""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if _VERSION.fullmatch(text) is None:
            raise ValueError(f"must be a version of Stripe's API such as {API_VERSION}")
        return super().__new__(cls, text)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`environment`: what the key is meant to be of; unset, the key alone decides. Without
    `webhook_secret` no webhook is taken.
    """

    secret_key: SecretKey
    environment: Literal["live", "test"] | None = None
    api_version: ApiVersion = ApiVersion(API_VERSION)
    webhook_secret: WebhookSecret | None = None

    def __post_init__(self) -> None:
        wanted = self.environment
        if wanted is not None and self.secret_key.live is not (wanted == "live"):
            other = "live" if self.secret_key.live else "test"
            raise ValueError(
                f"STRIPE_SECRET_KEY is of Stripe's {other} mode, and STRIPE_ENVIRONMENT is {wanted}"
            )
